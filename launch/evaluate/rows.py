"""The rows of a file to evaluate on, good and bad: a bad one is set aside with its line and reason, never fatal.

Best-of-N rows are RLHFlow's (`prompt`, `answers`, `label` or `labels`: 1 right, 0 wrong; or the reference `answer`, by
which the verifier grades), ProcessBench's have `problem`, `steps`, `label`, RewardBench's `prompt`, `chosen`,
`rejected`, `subset`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from rewards.files.lines import lines_of
from rewards.files.responses import group_of
from rewards.types import Group, Problem, Response

Row = TypeVar("Row")
REASON_CHARACTERS = 300

STEP_END = "\ue000\n"
"""Stands between two steps that are given apart: a character of private use."""


@dataclass(frozen=True)
class Reject:
    """A row that could not be used: where it stands, why, and what it holds."""

    line: int
    reason: str
    row: Any


@dataclass
class Rows(Generic[Row]):
    """The rows of a file that can be used, those that cannot, and fields that nothing reads, by name.

    `unknown_first` holds the first line that such a field stands in.
    """

    path: Path
    rows: list[Row] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)
    unknown_first: dict[str, int] = field(default_factory=dict)

    def notes(self) -> Iterator[str]:
        """What a person should know of the file, in plain lines."""
        for reason, count in Counter(reject.reason for reject in self.rejects).most_common(5):
            first = next(reject.line for reject in self.rejects if reject.reason == reason)
            rows = f"{count} rows were" if count > 1 else "1 row was"
            yield f"{rows} left out: {self.path}, line {first}{' (the first)' if count > 1 else ''}: {reason}"
        others = len({reject.reason for reject in self.rejects}) - 5
        if others > 0:
            yield f"{others} more kinds of bad rows: see rejects.jsonl"
        if self.unknown:
            named = ", ".join(
                f"{name} ({count} rows) first in line {self.unknown_first[name]}"
                for name, count in self.unknown.most_common(8)
            )
            yield f"fields that nothing reads: {named}; in {self.path}"


@dataclass(frozen=True)
class Solutions:
    """A problem with its responses: `labels[j]` says whether response j is right, None where the file has no labels.

    `steps[j]` says the same of each of its steps; None where that is not known.
    """

    line: int
    group: Group
    labels: tuple[bool, ...] | None
    steps: tuple[tuple[bool, ...], ...] | None

    @property
    def texts(self) -> list[str]:
        """The responses' texts."""
        return [response.text for response in self.group.responses]


@dataclass(frozen=True)
class Steps:
    """A solution in steps and its first wrong one (-1: none)."""

    line: int
    problem: Problem
    steps: tuple[str, ...]
    label: int


@dataclass(frozen=True)
class Pair:
    """A problem with a response that should score higher, the first of the group, and one that should score lower."""

    line: int
    group: Group
    subset: str


def read_rows(path: Path, parse: Callable[[Mapping[str, Any], int], Row], known: frozenset[str]) -> Rows[Row]:
    """Every row of a JSONL file or a JSON list; `parse` makes a row of an object and its line, or raises ValueError."""
    found: Rows[Row] = Rows(path)
    for line in lines_of(path):
        if line.fault is not None:
            found.rejects.append(Reject(line.number, line.fault, line.value))
            continue
        try:
            if not isinstance(line.value, dict):
                raise ValueError(f"a row must be a JSON object, not {type(line.value).__name__}")
            for name in (name for name in line.value if name not in known):
                found.unknown[name] += 1
                found.unknown_first.setdefault(name, line.number)
            found.rows.append(parse(line.value, line.number))
        except OverflowError:
            found.rejects.append(Reject(line.number, "a number is too large", line.value))
        except ValueError as error:
            found.rejects.append(Reject(line.number, str(error)[:REASON_CHARACTERS], line.value))
    return found


SOLUTION_FIELDS = frozenset(
    {"id", "problem", "prompt", "question", "answers", "responses", "label", "labels", "answer", "step_labels"}
)
STEP_FIELDS = frozenset({"id", "problem", "steps", "label", "final_answer_correct", "generator"})
PAIR_FIELDS = frozenset({"id", "prompt", "chosen", "rejected", "subset", "chosen_model", "rejected_model"})


def parse_solutions(record: Mapping[str, Any], line: int) -> Solutions:
    """A row of a best-of-N file. Raises ValueError with the reason where it cannot be used."""
    group = group_of(record, line)
    check_prompt(group.problem)
    if not group.responses:
        raise ValueError("the list of answers is empty")
    both = [record[name] for name in ("label", "labels") if record.get(name) is not None]
    if len(both) == 2 and both[0] != both[1]:
        raise ValueError("label and labels differ")
    labels = None
    if both:
        labels = _flags(both[0], "label")
        if len(labels) != len(group.responses):
            raise ValueError(f"{len(group.responses)} answers but {len(labels)} labels")
    elif not (group.problem.answer or "").strip():
        raise ValueError("neither labels nor a reference answer: nothing says which responses are right")
    return Solutions(line, group, labels, _step_labels(record.get("step_labels"), len(group.responses)))


def parse_steps(record: Mapping[str, Any], line: int) -> Steps:
    """A row of ProcessBench. Raises ValueError with the reason where it cannot be used."""
    problem, steps, label = record.get("problem"), record.get("steps"), record.get("label")
    if not isinstance(problem, str) or not problem.strip():
        raise ValueError("there is no problem")
    if not isinstance(steps, list) or not steps or not all(isinstance(step, str) for step in steps):
        raise ValueError("steps must be a list of texts that is not empty")
    empty = next((index for index, step in enumerate(steps) if not step.strip()), None)
    if empty is not None:
        raise ValueError(f"step {empty} is empty")
    if any(STEP_END in step for step in steps):
        raise ValueError("a step holds the character U+E000, which stands between steps here")
    if isinstance(label, bool) or not isinstance(label, int) or not -1 <= label < len(steps):
        raise ValueError(
            f"label must be the index of a step or -1, not {label!r} (the solution has {len(steps)} steps)"
        )
    return Steps(line, Problem(str(record.get("id", line)), problem), tuple(steps), label)


def parse_pair(record: Mapping[str, Any], line: int) -> Pair:
    """A row of RewardBench. Raises ValueError with the reason where it cannot be used."""
    subset = record.get("subset")
    if not isinstance(subset, str) or not subset:
        raise ValueError("there is no subset")
    texts = []
    for name in ("chosen", "rejected"):
        value = record.get(name)
        if isinstance(value, list) and value and isinstance(value[-1], dict):
            value = value[-1].get("content")  # a conversation: its last turn is the response
        if not isinstance(value, str):
            raise ValueError(f"{name} must be a text, or messages that end with one")
        texts.append(Response(value))
    prompt = record.get("prompt") or ""
    if not isinstance(prompt, str | list):
        raise ValueError(f"the prompt must be a text or messages, not {type(prompt).__name__}")
    problem = Problem(str(record.get("id", line)), tuple(prompt) if isinstance(prompt, list) else prompt)
    check_prompt(problem)
    return Pair(line, Group(problem, tuple(texts)), subset)


def check_prompt(problem: Problem) -> None:
    """Raise ValueError for an empty prompt and for messages that are none."""
    if isinstance(problem.prompt, str):
        if not problem.prompt.strip():
            raise ValueError("the prompt is empty")
        return
    for message in problem.prompt:
        if not (isinstance(message, dict) and all(isinstance(message.get(key), str) for key in ("role", "content"))):
            raise ValueError("the prompt is a list, but not of messages with role and content")
    if not problem.prompt or problem.prompt[-1]["role"] != "user":
        raise ValueError("the messages of the prompt must end with a user turn")


def _flags(value: Any, name: str) -> tuple[bool, ...]:
    if not isinstance(value, list) or not all(isinstance(flag, int | float) and flag in (0, 1) for flag in value):
        raise ValueError(f"{name} must be a list of 0 and 1")
    return tuple(bool(flag) for flag in value)


def _step_labels(value: Any, responses: int) -> tuple[tuple[bool, ...], ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != responses:
        raise ValueError("step_labels must hold a list for each answer")
    return tuple(_flags(one, "step_labels") for one in value)


def write_rejects(path: Path, found: Rows[Any]) -> None:
    """The rows left out, a line each with its place and reason; no file where there are none."""
    path.unlink(missing_ok=True)
    if found.rejects:
        rows = ({"file": str(found.path), "line": r.line, "reason": r.reason, "row": r.row} for r in found.rejects)
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        # What UTF-8 cannot hold, half a character, is written as JSON's own escape.
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
