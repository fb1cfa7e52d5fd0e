"""Read the problems to annotate, with their solutions if the file has them. Bad rows are set aside, never fatal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from rewards.files.fields import answer_of
from rewards.files.responses import SEVERAL, group_of
from rewards.files.rows import Reject, Rows, read_rows
from rewards.types import Problem
from rl.policy import prompt_ids
from rl.settings import RolloutSettings
from rl.tasks import Task
from rl.tasks.math import last_boxed

TASK_PROBLEMS = 200
"""How many of a task's problems are annotated by default; a task has no end of them."""

FIELDS = frozenset(
    {"id", "problem", "prompt", "question", "answers", "responses", "response", "steps", "answer", "solution"}
)
"""The fields read from a row. Labels are not: the reference answer grades solutions and continuations alike."""


@dataclass(frozen=True)
class Source:
    """A problem to annotate: its line in the file (or number in the task) and its solutions (None: to be drawn)."""

    line: int
    problem: Problem
    solutions: tuple[str, ...] | None


@dataclass
class Sources(Rows[Source]):
    """The problems to annotate, and how many usable ones there were before `problems` limited them."""

    usable: int = 0

    @property
    def cut(self) -> list[str]:
        """A message if not every usable problem of the file is annotated, else an empty list."""
        kept = len(self.rows)
        if kept == self.usable:
            return []
        return [f"problems={kept}: {kept} of the {self.usable} usable problems of {self.path} are annotated"]


def parse_source(record: Mapping[str, Any], line: int) -> Source:
    """Parse a row of the input. Raises ValueError with the reason if it cannot be used."""
    given = any(record.get(name) is not None for name in (*SEVERAL, "response", "steps"))
    group = group_of(record if given else {**record, "responses": []}, line)
    problem = replace(group.problem, answer=_reference(record))
    for index, step in enumerate(record["steps"] if isinstance(record.get("steps"), list) else ()):
        if isinstance(step, str) and not step.strip():
            raise ValueError(f"step {index} is empty")
    if given and not group.responses:
        raise ValueError("the list of answers is empty")
    if any(record.get(name) is not None for name in SEVERAL):
        _check_labels(record, len(group.responses))
    return Source(line, problem, tuple(response.text for response in group.responses) if given else None)


def sources_of(
    path: Path | None,
    task: Task | None,
    rollout: RolloutSettings,
    tokenizer: Any,
    *,
    fields: Mapping[str, str] | None = None,
    problems: int | None = None,
    seed: int = 1,
) -> Sources:
    """The first `problems` usable problems of a file (None: all), or of the task's training split if `path` is None.

    `fields` maps the fields that are read to the file's names (see `read_rows`). A prompt that the policy's template
    refuses, or that leaves too little room for an answer, is also set aside.
    """
    if path is not None:
        found = Sources(**vars(read_rows(path, parse_source, FIELDS, fields)))
    else:
        assert task is not None
        drawn = islice(task.train_problems(seed), problems or TASK_PROBLEMS)
        found = Sources(Path("task"), [Source(number, problem, None) for number, problem in enumerate(drawn, start=1)])
    kept = []
    for source in found.rows:
        reason = _unusable(source, rollout, tokenizer)
        if reason is None:
            kept.append(source)
        else:
            found.rejects.append(
                Reject(source.line, reason, {"id": source.problem.id, "prompt": source.problem.prompt})
            )
    found.rows, found.usable = kept[:problems], len(kept)
    found.rejects.sort(key=lambda reject: reject.line)
    return found


def _unusable(source: Source, rollout: RolloutSettings, tokenizer: Any) -> str | None:
    """Why the policy cannot answer this problem, or its answers cannot be graded; None if all is well."""
    if not (source.problem.answer or "").strip():
        return "no reference answer: continuations cannot be graded"
    try:
        length = len(prompt_ids(tokenizer, source.problem))
    except ValueError as error:
        return str(error)
    room = rollout.max_model_len - rollout.max_new_tokens
    if length > room:
        return f"the prompt has {length} tokens, but rollout.max_model_len - rollout.max_new_tokens leaves {room}"
    return None


def _check_labels(record: Mapping[str, Any], answers: int) -> None:
    """Raise ValueError unless there is one label per answer: otherwise one of the lists is incomplete."""
    for name in ("label", "labels"):
        if isinstance(record.get(name), list) and len(record[name]) != answers:
            raise ValueError(f"{answers} answers but {len(record[name])} labels")


def _reference(record: Mapping[str, Any]) -> str:
    """The reference answer: `answer`, or the content of the last box in `solution`."""
    answer = record.get("answer")
    if answer is None and isinstance(record.get("solution"), str):
        answer = last_boxed(record["solution"])
    text = answer_of(answer)
    if text is None or not text.strip():
        raise ValueError("no reference answer: continuations cannot be graded")
    return text


def batches_of(sources: Sequence[Source], size: int) -> list[list[Source]]:
    """The problems in the batches that are sampled and continued together."""
    return [list(sources[start : start + size]) for start in range(0, len(sources), size)]
