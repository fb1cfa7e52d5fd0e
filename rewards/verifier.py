"""The verifiable reward: 1 if a response's final answer equals the reference answer, else 0.

docs/grading.md explains how the final answer is found and compared. If a comparison cannot be decided, the score fails
with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rewards.grading.announcements import extract_answer
from rewards.grading.comparison import Undecided, compare, formulas
from rewards.grading.forms import Words
from rewards.grading.reading import read_answer
from rewards.protocol import Pair, ResponseReward
from rewards.symbolic import SymbolicComparer, UnreadableError, default_comparer
from rewards.types import Problem, Response, Score

__all__ = ["Undecided", "VerifierReward", "equal_answers", "extract_answer", "grade"]

_PLAIN = re.compile(r"-?[0-9]{1,100}")


class VerifierReward(ResponseReward):
    """1.0 for a correct final answer, 0.0 for a wrong one. The part `extracted` is 1 if there was an answer at all.

    A response without a final answer is wrong: 0.0, and `extracted` is 0. The score fails, with the reason, if the
    problem has no reference answer, if it cannot be read, or if a comparison takes longer than `timeout_s` seconds.
    """

    part_names = frozenset({"extracted"})

    def __init__(self, timeout_s: float = 5.0) -> None:
        self.comparer = SymbolicComparer(timeout_s)

    def score_responses(self, pairs: Sequence[Pair]) -> list[Score]:
        """One score per response, in order."""
        return [self._score(problem, response) for problem, response in pairs]

    def _score(self, problem: Problem, response: Response) -> Score:
        if problem.answer is None or not problem.answer.strip():
            return Score.failed("the problem has no reference answer")
        answer = extract_answer(response.text)
        if answer is None:
            return Score.of(0.0, parts={"extracted": 0.0})
        try:
            right = equal_answers(answer, problem.answer, self.comparer)
        except Undecided as reason:
            return Score.failed(str(reason))
        return Score.of(float(right), parts={"extracted": 1.0})


def grade(text: str, answer: str) -> bool:
    """Whether the final answer of the solution `text` equals `answer` (an answer or a worked solution).

    False if the text has no final answer. Raises `Undecided` if the two cannot be compared.
    """
    found = extract_answer(text)
    return found is not None and equal_answers(found, answer)


def equal_answers(answer: str, reference: str, comparer: SymbolicComparer | None = None) -> bool:
    """Whether two answers are equal, whichever one is the reference.

    If `reference` is a worked solution, its final answer is used. Raises `Undecided` if the comparison takes too long
    or the reference cannot be read. An unreadable answer is not equal to a readable reference.
    """
    if _PLAIN.fullmatch(answer) and _PLAIN.fullmatch(reference):
        return int(answer) == int(reference)
    left, right = read_answer(answer), read_answer(extract_answer(reference) or reference)
    comparer = comparer or default_comparer()
    try:
        verdict = compare(left, right, comparer.compare)
    except UnreadableError as error:
        if set(error.formulas) & set(formulas(right)):
            raise Undecided(f"the reference answer cannot be read: {error}") from error
        return False
    if verdict == "different" and type(left) is not type(right) and not isinstance(left, Words):
        for formula in formulas(right):
            if not comparer.readable(formula):
                raise Undecided(f"the reference answer cannot be read: math-verify cannot read {formula}")
    return verdict != "different"
