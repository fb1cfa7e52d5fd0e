"""Parsers for the rows of benchmark files; a bad row is set aside with its line and reason and never ends a run.

Best-of-N rows are RLHFlow's: `prompt`, `answers`, and `label` or `labels` (1 correct, 0 incorrect) or the reference
`answer`, which the verifier then grades against. ProcessBench's rows have `problem`, `steps` and `label`, RewardBench's
`prompt`, `chosen`, `rejected` and `subset`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rewards.conversation import messages_of
from rewards.files.fields import id_of, metadata_of, prompt_of
from rewards.files.responses import group_of
from rewards.types import Group, Problem, Response

STEP_END = "\ue000\n"
"""Separates steps that a file gives as a list: a private-use character and a line break."""


@dataclass(frozen=True)
class Solutions:
    """A problem with its responses.

    `labels[j]` says whether response j is correct; None if the file has no labels. `steps[j]` says whether each of its
    steps is correct; None if that is unknown.
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
    """A solution in steps; `label` is the index of its first wrong step, -1 if it has none."""

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
    """A row of a best-of-N file. Raises ValueError with the reason if it cannot be used."""
    group = group_of(record, line)
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
        raise ValueError("neither labels nor a reference answer: nothing says which responses are correct")
    return Solutions(line, group, labels, _step_labels(record.get("step_labels"), len(group.responses)))


def parse_steps(record: Mapping[str, Any], line: int) -> Steps:
    """A row of ProcessBench. Raises ValueError with the reason if it cannot be used."""
    steps, label = record.get("steps"), record.get("label")
    if record.get("problem") is None:
        raise ValueError("there is no problem")
    prompt = prompt_of(record["problem"], "the problem")
    if not isinstance(steps, list) or not steps or not all(isinstance(step, str) for step in steps):
        raise ValueError("steps must be a list of texts that is not empty")
    empty = next((index for index, step in enumerate(steps) if not step.strip()), None)
    if empty is not None:
        raise ValueError(f"step {empty} is empty")
    if any(STEP_END in step for step in steps):
        raise ValueError("a step contains the character U+E000, which separates steps here")
    if isinstance(label, bool) or not isinstance(label, int) or not -1 <= label < len(steps):
        raise ValueError(
            f"label must be the index of a step or -1, not {label!r} (the solution has {len(steps)} steps)"
        )
    problem = Problem(id_of(record, line), prompt, metadata=metadata_of(record, STEP_FIELDS))
    return Steps(line, problem, tuple(steps), label)


def parse_pair(record: Mapping[str, Any], line: int) -> Pair:
    """A row of RewardBench. Raises ValueError with the reason if it cannot be used."""
    subset = record.get("subset")
    if not isinstance(subset, str) or not subset:
        raise ValueError("there is no subset")
    texts = []
    for name in ("chosen", "rejected"):
        value = record.get(name)
        if isinstance(value, list) and value and isinstance(value[-1], dict) and "role" in value[-1]:
            value = messages_of(value)[-1]["content"]  # a conversation: its last turn is the response
        if not isinstance(value, str):
            raise ValueError(f"{name} must be a text, or messages that end with one")
        texts.append(Response(value))
    prompt = prompt_of(record.get("prompt") or "")
    problem = Problem(id_of(record, line), prompt, metadata=metadata_of(record, PAIR_FIELDS))
    return Pair(line, Group(problem, tuple(texts)), subset)


def _flags(value: Any, name: str) -> tuple[bool, ...]:
    if not isinstance(value, list) or not all(isinstance(flag, int | float) and flag in (0, 1) for flag in value):
        raise ValueError(f"{name} must be a list of 0 and 1")
    return tuple(bool(flag) for flag in value)


def _step_labels(value: Any, responses: int) -> tuple[tuple[bool, ...], ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != responses:
        raise ValueError("step_labels must have one list per answer")
    return tuple(_flags(one, "step_labels") for one in value)
