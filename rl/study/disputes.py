"""Responses that rewards rank most differently.

Runs with one seed begin with the same policy and draw the same responses in their first rollout. So the responses that
several rewards have scored are there, and a rank within the rollout makes their scores comparable.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from rl.study.samples import Drawn, varied


@dataclass(frozen=True)
class Dispute:
    """A response of a first rollout, and its rank by reward: 0 is the lowest score of that rollout, 1 the highest."""

    sample: Drawn
    ranks: Mapping[str, float]

    @property
    def width(self) -> float:
        """The distance between the highest and the lowest rank."""
        return max(self.ranks.values()) - min(self.ranks.values())


def disputes(rollouts: Mapping[str, Sequence[Drawn]]) -> list[Dispute]:
    """The responses that two or more rewards scored, the widest dispute first, problems in turn.

    `rollouts` are the first rollouts of runs with one seed, by reward.
    """
    ranks: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    samples: dict[tuple[str, str], Drawn] = {}
    for reward, rollout in rollouts.items():
        scored = [one for one in rollout if one.value is not None]
        places = rankdata([one.value for one in scored]) if scored else np.array([])
        for one, place in zip(scored, places, strict=True):
            key = (one.problem_id, one.response)
            ranks[key][reward] = float((place - 1) / max(1, len(scored) - 1))
            samples.setdefault(key, one)
    found = [Dispute(samples[key], of_key) for key, of_key in ranks.items() if len(of_key) > 1]
    widest = sorted((one for one in found if one.width > 0), key=lambda one: -one.width)
    return varied(widest, lambda one: one.sample.problem_id)
