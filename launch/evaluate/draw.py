"""A policy's own samples as a best-of-N file: `prompt`, `answers`, `label` by the task's verifier, `answer`.

`rollout.problems` problems are sampled at a time, each batch with its own seed, so that an incomplete file continues
after its last complete batch. If the task can verify steps, `step_labels` says which are right.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from launch.evaluate.settings import EvaluateSettings
from rewards.files.journal import whole_batches
from rl.cluster import start_cluster, stop_cluster
from rl.sampler import SamplerGroup
from rl.scoring import graded
from rl.settings import ClusterSettings, PolicySettings, RolloutSettings
from rl.tasks import Task
from rl.types import AnswerGroup


def draw(
    settings: EvaluateSettings,
    policy: PolicySettings,
    task: Task,
    rollout: RolloutSettings,
    cluster: ClusterSettings,
    output: Path,
    console: Console,
) -> None:
    """Write the samples of `settings.problems` held-out problems to `output`, or those that are not there yet."""
    problems = task.held_out_problems(settings.problems)
    batches = [problems[start : start + rollout.problems] for start in range(0, len(problems), rollout.problems)]
    done = whole_batches(output, [len(batch) for batch in batches])
    if done == len(batches):
        return
    logs = output.parent / "logs"
    start_cluster(cluster, logs)
    try:
        sampler = SamplerGroup(policy, rollout, cluster, log_folder=logs)
        try:
            with output.open("a", encoding="utf-8") as file:
                for number in range(done, len(batches)):
                    drawn = sampler.sample(
                        batches[number],
                        rollout.responses,
                        **rollout.sampling,
                        seed=settings.seed * 1_000_003 + number,
                    )
                    drawn = graded(drawn, task)
                    undecided = sum(answer.correct is None for group in drawn for answer in group.answers)
                    if undecided:
                        console.print(f"{undecided} responses could not be graded and count as wrong", highlight=False)
                    for record in _records(task, drawn):
                        file.write(json.dumps(record, ensure_ascii=False) + "\n")
                    file.flush()
                    sampled = sum(len(batch) for batch in batches[: number + 1])
                    console.print(f"drawn: {sampled}/{len(problems)} problems x {rollout.responses}", highlight=False)
        finally:
            sampler.shutdown()
    finally:
        stop_cluster()


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
