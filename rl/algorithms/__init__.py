"""How a policy learns from scored groups: one short file an algorithm.

An algorithm turns a rollout with its scores into what the learner trains on and says which loss to minimise. The loop
and the learner know none of them by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from rl.learner.losses import PolicyLossSettings
from rl.types import Prepared, Scored


class Algorithm(ABC):
    """What the loop asks of an algorithm. Only `loss` and `prepare` must be written; the rest says "no" by default."""

    @property
    def needs_reference(self) -> bool:
        """Whether the learner must hold the frozen starting policy."""
        return False

    @property
    def group_relative(self) -> bool:
        """Whether it compares responses to the same problem, so that a group needs at least two."""
        return False

    @property
    def needs_steps(self) -> bool:
        """Whether it reads the scores of single steps, which only some rewards give."""
        return False

    @abstractmethod
    def loss(self) -> PolicyLossSettings:
        """The loss that the learner minimises."""

    @abstractmethod
    def prepare(self, scored: Scored) -> Prepared:
        """What to train on: the usable rows with their advantages, or preference pairs; no rows where nothing is left.

        Scores may be failures: they must not count as any number. At least one score of the rollout is there.
        """

    def state(self) -> dict[str, Any]:
        """What it has learnt itself during the run, as JSON, for a checkpoint."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave. Raises ValueError for a state that is not this algorithm's."""
        if state:
            raise ValueError(f"the checkpoint holds a state of {sorted(state)}, but {type(self).__name__} keeps none")
