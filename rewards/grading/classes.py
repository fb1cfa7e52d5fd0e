"""Partition answers into classes of equal ones, independently of their order; used for votes and teams.

Answers that are the same share a class. A class with less specific answers (a number without a unit) joins others only
if all of them are alike: 5 votes with 5 apples, but if there are also answers of 5 pears, all three vote separately.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from rewards.grading.comparison import Undecided, Verdict, compare, form, formulas
from rewards.grading.forms import Reading
from rewards.grading.reading import read_answer
from rewards.symbolic import SymbolicComparer

Class = int | None
"""The number of an answer's class; None if there is no answer."""


def answer_classes(
    answers: Sequence[str | None], comparer: SymbolicComparer, undecided: list[str] | None = None
) -> list[Class]:
    """One class number per answer, the same for equal answers, numbered by first appearance.

    Two answers that could not be compared are not joined; the reason is added to `undecided`.
    """
    texts = sorted({answer for answer in answers if answer is not None})
    first: dict[Reading, str] = {}
    home = {text: first.setdefault(form(read_answer(text)), text) for text in texts}
    kinds = list(first.items())
    parent = {text: text for text in first.values()}
    verdicts: dict[tuple[str, str], Verdict] = {}
    for (one, left), (other, right) in combinations(kinds, 2):
        try:
            verdicts[left, right] = compare(read_answer(left), read_answer(right), comparer.compare)
        except Undecided as reason:
            verdicts[left, right] = "different"
            if undecided is not None:
                undecided.append(str(reason))
        if verdicts[left, right] == "same" and (formulas(one) or formulas(other)):
            _join(parent, left, right)
    _join_alike(parent, verdicts)
    numbers: dict[str, int] = {}
    return [
        None if answer is None else numbers.setdefault(_root(parent, home[answer]), len(numbers)) for answer in answers
    ]


def _join_alike(parent: dict[str, str], verdicts: dict[tuple[str, str], Verdict]) -> None:
    """Join each connected component of alike classes in which all pairs are alike."""
    roots = {text: _root(parent, text) for text in parent}
    neighbours: dict[str, set[str]] = {root: set() for root in roots.values()}
    apart: set[frozenset[str]] = set()
    for (left, right), verdict in verdicts.items():
        if roots[left] == roots[right]:
            continue
        if verdict == "different":
            apart.add(frozenset((roots[left], roots[right])))
        else:
            neighbours[roots[left]].add(roots[right])
            neighbours[roots[right]].add(roots[left])
    seen: set[str] = set()
    for start in sorted(neighbours):
        if start in seen:
            continue
        component, queue = {start}, [start]
        while queue:
            new = neighbours[queue.pop()] - component
            component |= new
            queue += new
        seen |= component
        pairs = [frozenset(pair) for pair in combinations(component, 2)]
        if not any(pair in apart for pair in pairs):
            for other in component - {start}:
                _join(parent, start, other)


def _root(parent: dict[str, str], text: str) -> str:
    while parent[text] != text:
        text = parent[text]
    return text


def _join(parent: dict[str, str], left: str, right: str) -> None:
    one, other = sorted((_root(parent, left), _root(parent, right)))
    parent[other] = one
