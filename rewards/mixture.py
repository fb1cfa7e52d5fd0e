"""Combine several rewards into one: a weighted sum, raw or normalised within the group, with optional gates.

_target_: rewards.mixture.MixtureReward
terms:
  verifier: {_target_: rewards.mixture.Term, reward: {_target_: rewards.verifier.VerifierReward}}
  prm: {_target_: rewards.mixture.Term, reward: {...}, weight: 0.1, only_where: verifier}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from rewards.options import require_read
from rewards.standardise import standardised
from rewards.types import Group, Problem, Reward, Score


@dataclass(frozen=True)
class Term:
    """One reward of a mixture.

    `weight` may be 0: the reward is then computed and reported but adds nothing. With `only_where` (the name of another
    term), it counts only if the response's value of that term exceeds `above`; if not, its value is `otherwise`.
    Raises ValueError for `above` or `otherwise` without `only_where`.
    """

    reward: Reward
    weight: float = 1.0
    only_where: str | None = None
    above: float = 0.5
    otherwise: float = 0.0

    def __post_init__(self) -> None:
        for name in ("above", "otherwise"):
            require_read(self, name, self.only_where is not None, "only_where")


class MixtureReward(Reward):
    """Weighted sum of several rewards, as a reward.

    `combine="sum"`: sum_k weight_k * value_k. `combine="normalised"` (GDPO): each term is first normalised to mean 0
    and standard deviation 1 within the group, over the responses it could score, by the formula of
    algorithm.objectives; a term with equal values across the group counts as 0. Summing first would give equal
    advantages to groups that differ in different terms.

    A gate (`only_where`) reads the other term's own value, before normalisation. If the gate is closed, the gated term
    is not needed, so its failure is ignored. Any other failed term fails the score, with the term's name and reason.

    `steps_from` names the term that provides the mixture's step scores, multiplied by its weight. The sum of the other
    terms is added to the last step, as PURE does with its verifiable reward. This requires `combine="sum"`. Without
    `steps_from` the mixture has no steps.

    `parts` contains each term's value under its name (`otherwise` for one that failed behind a closed gate), and that
    score's own parts under `name/part`.
    """

    def __init__(
        self,
        terms: Mapping[str, Term],
        combine: Literal["sum", "normalised"] = "sum",
        steps_from: str | None = None,
    ) -> None:
        if not terms:
            raise ValueError("terms is empty: name at least one reward to mix")
        if combine not in ("sum", "normalised"):
            raise ValueError(f"combine must be sum or normalised, not {combine!r}")
        for name, term in terms.items():
            if not isinstance(term, Term):
                raise ValueError(f"terms.{name} must be a rewards.mixture.Term, not {type(term).__name__}")
            if term.only_where is not None and (term.only_where not in terms or term.only_where == name):
                others = ", ".join(other for other in terms if other != name)
                raise ValueError(f"terms.{name}.only_where={term.only_where} is not another term ({others})")
        if steps_from is not None and steps_from not in terms:
            raise ValueError(f"steps_from={steps_from} is not a term ({', '.join(terms)})")
        if steps_from is not None and combine == "normalised":
            raise ValueError("steps_from needs combine=sum: normalised values no longer match their steps")
        self.has_steps = steps_from is not None
        self.has_matches = False
        self.compares_responses = combine == "normalised" or any(
            term.reward.compares_responses for term in terms.values()
        )
        self.part_names = _part_names(terms)
        self.terms = dict(terms)
        self.combine = combine
        self.steps_from = steps_from

    def load(self) -> None:
        """Load the model weights of every term that has some."""
        for term in self.terms.values():
            if hasattr(term.reward, "load"):
                term.reward.load()

    def refusal(self, problem: Problem) -> str | None:
        """The refusal of a term that is always needed, or None."""
        needed = [term.reward for term in self.terms.values() if term.weight and term.only_where is None]
        return next((reason for reward in needed if (reason := reward.refusal(problem)) is not None), None)

    def score(self, groups: Sequence[Group]) -> list[list[Score]]:
        """Score the whole batch with each term and combine the results."""
        scored = {name: term.reward.score(groups) for name, term in self.terms.items()}
        return [self._group({name: scores[place] for name, scores in scored.items()}) for place in range(len(groups))]

    def _group(self, scores: Mapping[str, list[Score]]) -> list[Score]:
        """Combine the terms' scores of one group."""
        values = {name: self._gated(name, scores) for name in self.terms}
        if self.combine == "normalised":
            values = {name: normalised(column) for name, column in values.items()}
        size = len(next(iter(scores.values())))
        return [self._mixed(place, scores, values) for place in range(size)]

    def _gated(self, name: str, scores: Mapping[str, list[Score]]) -> list[float | None]:
        """A term's values for a group after gating; None if the term or its gate failed."""
        term = self.terms[name]
        own = [score.value if score.ok else None for score in scores[name]]
        if term.only_where is None:
            return own
        opens = [score.value > term.above if score.ok else None for score in scores[term.only_where]]
        return [
            None if opened is None else value if opened else term.otherwise
            for opened, value in zip(opens, own, strict=True)
        ]

    def _mixed(self, place: int, scores: Mapping[str, list[Score]], values: Mapping[str, list[float | None]]) -> Score:
        """The combined score of one response."""
        weighted: dict[str, float] = {}
        for name, term in self.terms.items():
            value = values[name][place]
            if value is None:
                source = name if scores[name][place].failure else term.only_where
                return Score.failed(f"{source}: {scores[source or name][place].failure}")
            weighted[name] = term.weight * value
        parts = {}
        for name in self.terms:
            own = scores[name][place]
            parts[name] = own.value if own.ok else self.terms[name].otherwise
            parts |= {f"{name}/{part}": value for part, value in own.parts.items()}
        total = sum(weighted.values())
        if self.steps_from is None:
            return Score.of(total, parts=parts)
        return self._with_steps(self.steps_from, scores[self.steps_from][place], weighted, parts)

    def _with_steps(self, name: str, source: Score, weighted: Mapping[str, float], parts: Mapping[str, float]) -> Score:
        """The combined score with the steps of term `name`; the sum of the other terms is added to the last step."""
        total = sum(weighted.values())
        if source.steps is None or not source.steps:
            return Score.failed(f"{name}: it has no step scores, which steps_from needs")
        term = self.terms[name]
        closed = term.only_where is not None and parts[term.only_where] <= term.above
        steps = [0.0 if closed else term.weight * step for step in source.steps]
        steps[-1] += total - (0.0 if closed else weighted[name])
        return Score.of(total, steps=steps, spans=source.spans, parts=parts)


def _part_names(terms: Mapping[str, Term]) -> frozenset[str] | None:
    """The part names of mixed scores; None if a term does not declare its parts."""
    own = {name: term.reward.part_names for name, term in terms.items()}
    if any(parts is None for parts in own.values()):
        return None
    return frozenset({*terms, *(f"{name}/{part}" for name, parts in own.items() for part in parts or ())})


def normalised(values: Sequence[float | None]) -> list[float | None]:
    """`rewards.standardise.standardised` of one group's values; None stays None.

    Equal values, or a single one, become 0.
    """
    mask = torch.tensor([[value is not None for value in values]])
    known = torch.tensor([[0.0 if value is None else value for value in values]], dtype=torch.float64)
    found = standardised(known, mask)[0].tolist()
    return [None if value is None else new for value, new in zip(values, found, strict=True)]
