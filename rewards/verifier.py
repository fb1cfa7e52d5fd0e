"""The verifiable reward: 1 where a response's final answer equals the reference answer, else 0.

The final answer must be announced: `The answer is: X`, `#### X`, a line `A: X`, or `\\boxed{X}`; the last one counts.
Plain numbers are compared exactly, everything else by math-verify (github.com/huggingface/Math-Verify).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from functools import cache

from rewards.protocol import Pair, ResponseReward
from rewards.symbolic import SymbolicComparer
from rewards.types import Problem, Response, Score

_ANNOUNCEMENT = re.compile(
    r"####|\banswer(?:[ \t]+is[ \t]*:?|[ \t]*:)|^[ \t]*A:|\\f?boxed[ \t]*(?P<box>\{)", re.IGNORECASE | re.MULTILINE
)
_SENTENCE_END = re.compile(r"[.!?](?:\s|$)")
_NUMBER = re.compile(r"(?P<number>[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?)\.?(?:\s+[A-Za-z]{2,})*")
_TRIMMINGS = " \t\r$*`"


class VerifierReward(ResponseReward):
    """1.0 for a right final answer, 0.0 for a wrong one, with the part `extracted`: 1 where there was an answer at all.

    A response that announces no answer is wrong: 0.0, and `extracted` is 0. A problem without a reference answer, and a
    comparison that takes longer than `timeout_s` seconds, fail with their reason.
    """

    part_names = frozenset({"extracted"})

    def __init__(self, timeout_s: float = 5.0) -> None:
        self.comparer = SymbolicComparer(timeout_s)

    def score_responses(self, pairs: Sequence[Pair]) -> list[Score]:
        """A score for each response, in order."""
        return [self._score(problem, response) for problem, response in pairs]

    def _score(self, problem: Problem, response: Response) -> Score:
        if problem.answer is None or not problem.answer.strip():
            return Score.failed("the problem has no reference answer")
        answer = extract_answer(response.text)
        if answer is None:
            return Score.of(0.0, parts={"extracted": 0.0})
        try:
            right = equal_answers(answer, problem.answer, self.comparer)
        except TimeoutError:
            return Score.failed(f"the answers could not be compared within {self.comparer.timeout_s:g} s")
        return Score.of(float(right), parts={"extracted": 1.0})


def grade(text: str, answer: str) -> bool:
    """Whether the final answer of the solution `text` equals `answer` (itself an answer or a worked solution).

    False where the text announces no answer. Raises TimeoutError when the two cannot be compared within 5 seconds.
    """
    found = extract_answer(text)
    return found is not None and equal_answers(found, answer)


def extract_answer(text: str) -> str | None:
    """The last announced answer of a solution, bare of `$`, full stop and bold marks; None where there is none."""
    answer = None
    for match in _ANNOUNCEMENT.finditer(text):
        found = _braced(text, match.start("box")) if match["box"] else _first_sentence(text, match.end())
        found = found.removesuffix("ки").strip(_TRIMMINGS)
        answer = found or answer
    return answer


def equal_answers(answer: str, reference: str, comparer: SymbolicComparer | None = None) -> bool:
    """Whether two answers are equal: as text, as plain numbers, or else by math-verify.

    A `reference` that is a worked solution stands for its final answer. Raises TimeoutError when math-verify takes too
    long.
    """
    answer, reference = (_bare(text) for text in (answer, extract_answer(reference) or reference))
    if answer.casefold() == reference.casefold():
        return True
    left, right = _number(answer), _number(reference)
    if left is not None and right is not None:
        return left == right
    return (comparer or _default_comparer()).equal(answer, reference)


@cache
def _default_comparer() -> SymbolicComparer:
    return SymbolicComparer()


def _bare(text: str) -> str:
    """An answer without the marks round it: `$18`, `**18**` and `\\$18.` are 18."""
    text = text.strip(_TRIMMINGS + "\n").removeprefix("\\$").strip(_TRIMMINGS)
    return text.removesuffix(".") if text.count(".") == 1 else text


def _number(text: str) -> Decimal | None:
    """A plain decimal number, perhaps with thousands separators and a unit in words; None for anything else."""
    match = _NUMBER.fullmatch(text)
    digits = match["number"].replace(",", "") if match else ""
    return Decimal(digits) if digits.strip("+-") else None


def _first_sentence(text: str, start: int) -> str:
    """What stands after an announcement in words, up to the end of its sentence or line."""
    said = text[start:].partition("\n")[0]
    end = _SENTENCE_END.search(said)
    return said[: end.start()] if end else said


def _braced(text: str, start: int) -> str:
    """What stands between the brace at `start` and its partner; empty where that is missing."""
    depth = 0
    for place in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[start + 1 : place]
    return ""
