"""How a policy learns from scored groups: one short file an algorithm.

An algorithm turns a rollout with its scores into what the learner trains on and says which loss to minimise. The loop
and the learner know none of them by name.
"""

from __future__ import annotations

from typing import Protocol

from rl.learner.losses import PolicyLossSettings
from rl.types import Prepared, Scored


class Algorithm(Protocol):
    """What the loop asks of an algorithm."""

    @property
    def needs_reference(self) -> bool:
        """Whether the learner must hold the frozen starting policy."""
        ...

    @property
    def group_relative(self) -> bool:
        """Whether it compares responses to the same problem, so that a group needs at least two."""
        ...

    def loss(self) -> PolicyLossSettings:
        """The loss that the learner minimises."""
        ...

    def prepare(self, scored: Scored) -> Prepared:
        """What to train on: the usable rows with their advantages, or preference pairs.

        Raises RuntimeError where nothing is left to learn from.
        """
        ...
