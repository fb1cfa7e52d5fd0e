"""The rows of a file to evaluate on, good and bad: a bad one is set aside with its line and reason, never fatal.

Best-of-N rows are RLHFlow's (`prompt`, `answers`, `label` or `labels`: 1 right, 0 wrong; or the reference `answer`, by
which the verifier grades), ProcessBench's have `problem`, `steps`, `label`, RewardBench's `prompt`, `chosen`,
`rejected`, `subset`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rewards.files.responses import group_of
from rewards.types import Group, Problem, Response

STEP_END = "\ue000\n"
"""Stands between two steps that are given apart: a character of private use."""


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
