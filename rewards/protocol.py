"""Shared by all per-response rewards: flatten the groups, score each distinct response once, regroup."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Sequence

from rewards.types import Group, Problem, Response, Reward, Score

Pair = tuple[Problem, Response]


class ResponseReward(Reward):
    """A reward that looks at one response at a time."""

    has_steps = False
    has_matches = False
    compares_responses = False

    @abstractmethod
    def score_responses(self, pairs: Sequence[Pair]) -> list[Score]:
        """One score per (problem, response) pair, in order; a response that cannot be scored gets a failed score."""

    def score(self, groups: Sequence[Group]) -> list[list[Score]]:
        """Score the whole rollout at once; equal responses to equal problems are scored once and share the score."""
        pairs = [(group.problem, response) for group in groups for response in group.responses]
        unique: dict[Hashable, Pair] = {}
        for pair in pairs:
            unique.setdefault(_key(pair), pair)
        scores = dict(zip(unique, self.score_responses(list(unique.values())), strict=True))
        found = iter([scores[_key(pair)] for pair in pairs])
        return [[next(found) for _ in group.responses] for group in groups]


def _key(pair: Pair) -> Hashable:
    problem, response = pair
    return repr(problem.prompt), problem.answer, repr(problem.metadata), response
