"""Write a policy's samples to a best-of-N file: `prompt`, `answers`, `label` from the task's verifier, `answer`.

Each batch of `rollout.problems` problems has its own seed, so that an incomplete file is continued after its last
complete batch. If the task can verify steps, `step_labels` says which ones are right.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rewards.files.journal import whole_batches
from rl.cluster import start_cluster, stop_cluster
from rl.sampler import SamplerGroup
from rl.scoring import graded
from rl.settings import ClusterSettings, PolicySettings, RolloutSettings
from rl.tasks import Task
from rl.types import AnswerGroup


@contextmanager
def sampler_alone(
    policy: PolicySettings, rollout: RolloutSettings, cluster: ClusterSettings, logs: Path
) -> Iterator[SamplerGroup]:
    """Start a cluster with only a sampler on it, and stop both at the end of the context."""
    start_cluster(cluster, logs)
    try:
        sampler = SamplerGroup(policy, rollout, cluster, log_folder=logs)
        try:
            yield sampler
        finally:
            sampler.shutdown()
    finally:
        stop_cluster()


def sample_to_file(
    policy: PolicySettings,
    task: Task,
    rollout: RolloutSettings,
    cluster: ClusterSettings,
    output: Path,
    report: Callable[[str], None],
    *,
    problems: int,
    seed: int,
) -> None:
    """Write the samples of `problems` held-out problems to `output`, except those that it already has."""
    held_out = task.held_out_problems(problems)
    batches = [held_out[start : start + rollout.problems] for start in range(0, len(held_out), rollout.problems)]
    done = whole_batches(output, [len(batch) for batch in batches])
    if done == len(batches):
        return
    with (
        sampler_alone(policy, rollout, cluster, output.parent / "logs") as sampler,
        output.open("a", encoding="utf-8") as file,
    ):
        for number in range(done, len(batches)):
            drawn = sampler.sample(
                batches[number], rollout.responses, **rollout.sampling, seed=seed * 1_000_003 + number
            )
            drawn = graded(drawn, task)
            undecided = sum(answer.correct is None for group in drawn for answer in group.answers)
            if undecided:
                report(f"{undecided} responses could not be graded and count as wrong")
            for record in _records(task, drawn):
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
            file.flush()
            sampled = sum(len(batch) for batch in batches[: number + 1])
            report(f"drawn: {sampled}/{len(held_out)} problems x {rollout.responses}")


def _records(task: Task, groups: Sequence[AnswerGroup]) -> Iterator[dict[str, Any]]:
    grade_steps = task.grade_steps if task.grades_steps else None
    for group in groups:
        problem, samples = group.problem, group.samples
        record: dict[str, Any] = {
            "id": problem.id,
            "prompt": problem.prompt,
            "answers": [sample.text for sample in samples],
            "label": [int(bool(answer.correct)) for answer in group.answers],
            "answer": problem.answer,
        }
        if grade_steps is not None:
            record["step_labels"] = [[int(right) for right in grade_steps(problem, sample.text)] for sample in samples]
        yield record
