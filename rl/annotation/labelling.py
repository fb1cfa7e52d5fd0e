"""Math-Shepherd's labelling (arXiv 2312.08935): continue a solution k times after each step. The step's value is the
share of continuations that reach the right answer.

The solutions of a batch of problems are drawn in one call, and all their beginnings are continued in a second; equal
beginnings of one problem are continued once. The last step's value is the solution's own grade.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rewards.grading.comparison import Undecided
from rewards.steps import splitter as splitter_of
from rewards.training.annotated import beginnings, empty_steps
from rewards.types import Problem, Span
from rl.annotation.sources import Source
from rl.policy import prompt_ids
from rl.sampler import SamplerGroup
from rl.settings import RolloutSettings

Grade = Callable[[Problem, str], bool]
GradeSteps = Callable[[Problem, str], list[bool]]

_SEEDS_APART = 1_000_003


@dataclass
class _Solutions:
    """The solutions of one problem to label, and the reasons why others are left out."""

    source: Source
    texts: list[str] = field(default_factory=list)
    spans: list[list[Span]] = field(default_factory=list)
    left_out: list[dict[str, Any]] = field(default_factory=list)

    def leave_out(self, solution: int, reason: str) -> None:
        """Record a solution that is not labelled, or a part of it that is not a step."""
        self.left_out.append({"answer": solution, "reason": reason})


class _Beginnings:
    """The distinct beginnings of a batch, as token ids for the engine and as text for the grader."""

    def __init__(self) -> None:
        self.places: dict[tuple[int, str], int] = {}
        self.ids: list[tuple[int, ...]] = []

    def place(self, number: int, text: str, prompt: tuple[int, ...], ids_of: Callable[[str], tuple[int, ...]]) -> int:
        """The index of this beginning of a solution to problem `number`; new beginnings are added."""
        if (number, text) not in self.places:
            self.places[number, text] = len(self.ids)
            self.ids.append(prompt + ids_of(text))
        return self.places[number, text]


class Labeller:
    """Labels whole batches of problems, with `continuations` for every step except the last.

    `splitter` and `pattern` select how solutions are split into steps (`rewards.steps.splitter`). `grade` decides
    whether a solution is right; one that it cannot grade (`Undecided`) counts as wrong. `grade_steps`, if the task can
    verify steps, is compared with the labels.
    """

    def __init__(
        self,
        sampler: SamplerGroup,
        rollout: RolloutSettings,
        grade: Grade,
        grade_steps: GradeSteps | None = None,
        *,
        seed: int = 1,
        continuations: int = 8,
        splitter: str = "line",
        pattern: str | None = None,
        keep_duplicates: bool = False,
    ) -> None:
        self.sampler, self.rollout = sampler, rollout
        self.grade, self.grade_steps = grade, grade_steps
        self.seed, self.continuations, self.keep_duplicates = seed, continuations, keep_duplicates
        self.splitter = splitter
        self.split = splitter_of(splitter, pattern=pattern)
        self.split_all = splitter_of(splitter, pattern=pattern, keep_empty=True)

    def label(self, sources: Sequence[Source], number: int) -> list[dict[str, Any]]:
        """Return a record for each problem of batch `number`; see `rewards.training.annotated`.

        The engines' prefix caches are dropped first and the seeds depend only on the batch, so the records do not
        depend on what was annotated before.
        """
        self.sampler.forget_prefixes()
        seed = self.seed * _SEEDS_APART + 2 * number
        found = self._solutions(sources, seed)
        grades = [_Grades(self.grade, one.source.problem) for one in found]
        asked, places = self._beginnings(found)
        shares = self._shares(found, grades, asked, seed + 1)
        return [
            self._record(one, grade, [[shares[place] for place in row] for row in rows])
            for one, grade, rows in zip(found, grades, places, strict=True)
        ]

    def _solutions(self, sources: Sequence[Source], seed: int) -> list[_Solutions]:
        """The solutions of every problem: from the file if given, otherwise drawn, all in one call."""
        drawn = [source for source in sources if source.solutions is None]
        samples = iter(
            self.sampler.sample(
                [source.problem for source in drawn],
                self.rollout.responses,
                **self.rollout.sampling,
                seed=seed,
            )
            if drawn
            else []
        )
        found = []
        for source in sources:
            if source.solutions is not None:
                solutions: list[tuple[str, str]] = [(text, "stop") for text in source.solutions]
            else:
                solutions = [(sample.text, sample.finish_reason) for sample in next(samples).samples]
            found.append(self._usable(source, solutions))
        return found

    def _usable(self, source: Source, solutions: Sequence[tuple[str, str]]) -> _Solutions:
        found = _Solutions(source)
        room = self.rollout.max_model_len - len(prompt_ids(self.sampler.tokenizer, source.problem))
        for index, (text, reason) in enumerate(solutions):
            spans = self.split(text)
            if reason != "stop":
                found.leave_out(index, "it was cut at rollout.max_new_tokens")
            elif not spans:
                found.leave_out(index, "it has no steps")
            elif text in found.texts and not self.keep_duplicates:
                found.leave_out(index, "another solution of the problem equals it")
            elif len(self._ids(text[: spans[-1][0]])) >= room:
                found.leave_out(index, "prompt and steps do not fit into rollout.max_model_len")
            else:
                if self.splitter != "line" and (empty := empty_steps(self.split_all(text))):
                    found.leave_out(index, f"step {empty[0]} is empty: {len(empty)} empty steps were left out")
                found.texts.append(text)
                found.spans.append(spans)
        return found

    def _beginnings(self, found: Sequence[_Solutions]) -> tuple[_Beginnings, list[list[list[int]]]]:
        """The beginnings to continue, and the index of the beginning for each step of each solution of each problem."""
        asked = _Beginnings()
        places = []
        for number, one in enumerate(found):
            prompt = prompt_ids(self.sampler.tokenizer, one.source.problem)
            places.append(
                [
                    [asked.place(number, start, prompt, self._ids) for start in beginnings(text, spans)]
                    for text, spans in zip(one.texts, one.spans, strict=True)
                ]
            )
        return asked, places

    def _shares(
        self, found: Sequence[_Solutions], grades: Sequence[_Grades], asked: _Beginnings, seed: int
    ) -> list[float]:
        """The share of right continuations for each beginning, all continued in one call."""
        if not asked.ids:
            return []
        continued = self.sampler.continue_from(
            asked.ids,
            self.continuations,
            **self.rollout.sampling,
            seed=seed,
        )
        return [
            sum(grades[number].right(start + sample.text) for sample in samples) / len(samples)
            for (number, start), samples in zip(asked.places, continued, strict=True)
        ]

    def _record(self, found: _Solutions, grades: _Grades, shares: list[list[float]]) -> dict[str, Any]:
        problem = found.source.problem
        labels = [grades.right(text) for text in found.texts]
        record: dict[str, Any] = {
            "id": problem.id,
            "line": found.source.line,
            "prompt": problem.prompt,
            "answers": found.texts,
            "label": [int(label) for label in labels],
            "answer": problem.answer,
            "step_spans": found.spans,
            "step_values": [[*row, float(label)] for row, label in zip(shares, labels, strict=True)],
            "left_out": found.left_out,
            "undecided": grades.undecided,
        }
        if self.grade_steps is not None:
            record["step_labels"] = [[int(right) for right in self.grade_steps(problem, text)] for text in found.texts]
        return record

    def _ids(self, text: str) -> tuple[int, ...]:
        """The policy's token ids of the beginning of a response."""
        return tuple(self.sampler.tokenizer(text, add_special_tokens=False)["input_ids"])


class _Grades:
    """Grades one problem's solutions, each distinct text once."""

    def __init__(self, grade: Grade, problem: Problem) -> None:
        self.grade, self.problem = grade, problem
        self.known: dict[str, bool] = {}
        self.undecided = 0

    def right(self, text: str) -> bool:
        """Whether the solution is right."""
        if text not in self.known:
            try:
                self.known[text] = bool(self.grade(self.problem, text))
            except Undecided:
                self.known[text] = False
                self.undecided += 1
        return self.known[text]
