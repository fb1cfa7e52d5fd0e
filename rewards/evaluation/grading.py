"""Grade responses by the file's labels or the verifier, and find those with the same final answer."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rewards.evaluation.benchmark_rows import Solutions
from rewards.evaluation.best_of_n_report import GradedProblems
from rewards.grading.announcements import extract_answer
from rewards.grading.classes import answer_classes
from rewards.grading.comparison import Undecided
from rewards.symbolic import SymbolicComparer
from rewards.verifier import equal_answers


class Grader:
    """Grades and groups final answers as `rewards.verifier` does; records the comparisons without a verdict."""

    def __init__(self, timeout_s: float = 5.0) -> None:
        self.comparer = SymbolicComparer(timeout_s)
        self.undecided: list[str] = []
        self.regraded = 0
        self.disagreements: list[dict[str, Any]] = []

    def grade(self, rows: Sequence[Solutions]) -> GradedProblems:
        """Grade the rows: by their labels if they have them, else by the verifier.

        If a row has both labels and a reference answer, the verifier's verdicts are compared with the labels.
        """
        graded = GradedProblems([], [], [])
        for row in rows:
            answers = [extract_answer(text) for text in row.texts]
            verdicts = self._verdicts(row, answers)
            if row.labels is not None and verdicts is not None:
                self._compare(row, answers, verdicts)
            correct = row.labels if row.labels is not None else verdicts
            assert correct is not None, "a row has labels or a reference answer"
            graded.correct.append(np.array(correct, dtype=bool))
            graded.classes.append(answer_classes(answers, self.comparer, self.undecided))
            graded.texts.append(row.texts)
            graded.steps.append(row.steps)
        self.comparer.close()
        return graded

    def notes(self) -> list[str]:
        """Notes on the grading for the user, one per line."""
        lines = []
        if self.regraded:
            alike = self.regraded - len(self.disagreements)
            share = f"{alike} of {self.regraded} labels ({100 * alike / self.regraded:.2f}%)"
            others = ", the others are in disagreements.jsonl" if self.disagreements else ""
            lines.append(f"the verifier agrees with {share}{others}")
        for reason, count in Counter(self.undecided).most_common(3):
            lines.append(f"{count} comparisons of answers count as different: {reason}")
        return lines

    def write(self, path: Path) -> None:
        """Write the labels that the verifier disagrees with, one per line; no file if there are none."""
        path.unlink(missing_ok=True)
        if self.disagreements:
            path.write_text(
                "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in self.disagreements), encoding="utf-8"
            )

    def _verdicts(self, row: Solutions, answers: Sequence[str | None]) -> list[bool] | None:
        reference = row.group.problem.answer
        if reference is None or not reference.strip():
            return None
        return [answer is not None and self._equal(answer, reference) for answer in answers]

    def _compare(self, row: Solutions, answers: Sequence[str | None], verdicts: Sequence[bool]) -> None:
        assert row.labels is not None
        self.regraded += len(verdicts)
        for place, (label, verdict) in enumerate(zip(row.labels, verdicts, strict=True)):
            if label != verdict:
                self.disagreements.append(
                    {
                        "line": row.line,
                        "place": place,
                        "label": int(label),
                        "verifier": int(verdict),
                        "announced": answers[place],
                        "reference": row.group.problem.answer,
                    }
                )

    def _equal(self, answer: str, other: str) -> bool:
        try:
            return equal_answers(answer, other, self.comparer)
        except Undecided as reason:
            self.undecided.append(str(reason))
            return False
