"""How a policy learns from scored groups: one short file per algorithm.

An algorithm turns a scored rollout into training data for the learner and chooses the loss. The loop and the learner
know no algorithm by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from rl.learner.losses import PolicyLossSettings, PreferenceLossSettings
from rl.settings import CriticSettings
from rl.types import Prepared, Scored


class Algorithm(ABC):
    """The interface of an algorithm. Subclasses must define `loss` and `prepare`; the other defaults mean "no".

    A subclass is a frozen dataclass with its options as fields; a field may override a property of the same name.
    """

    @property
    def needs_reference(self) -> bool:
        """Whether the learner must hold a frozen reference (the starting policy unless `refresh_every` is set)."""
        return False

    @property
    def refresh_every(self) -> int:
        """Every how many updates the reference becomes a copy of the current policy; 0: never."""
        return 0

    @property
    def critic(self) -> CriticSettings | None:
        """The value model to train along with the policy."""
        return None

    @property
    def group_relative(self) -> bool:
        """Whether it compares responses to the same problem, so that a group needs at least two."""
        return False

    @property
    def needs_steps(self) -> bool:
        """Whether it reads step scores, which only some rewards give."""
        return False

    @property
    def needs_matches(self) -> bool:
        """Whether it reads match results, which only a pairwise judge gives."""
        return False

    @property
    def objectives(self) -> Mapping[str, float] | None:
        """The parts of a score that it reads, with their weights; None if it reads the value."""
        return None

    def rows_per_group(self, responses: int) -> int:
        """The largest number of sequences the learner trains on per group of `responses` responses."""
        return responses

    def pairs_per_group(self, responses: int) -> int | None:
        """How many preference pairs a group of as many responses can give at most; None if it trains on responses."""
        return None

    @property
    def needs_old_logprobs(self) -> bool:
        """Whether `prepare` reads log-probabilities: those of the policy before the update, or of the reference."""
        return False

    @property
    def corrects_age(self) -> bool:
        """Whether its loss corrects for samples drawn with older weights (importance sampling)."""
        return False

    @property
    def dynamic_sampling(self) -> int:
        """How many extra draws an update may make to replace groups whose scores are all equal; 0: none."""
        return 0

    @abstractmethod
    def loss(self) -> PolicyLossSettings | PreferenceLossSettings:
        """The loss that the learner minimises."""

    @abstractmethod
    def prepare(self, scored: Scored) -> Prepared:
        """The data to train on: usable rows with advantages, or preference pairs; perhaps no rows.

        Scores may be failures, which must not count as any number. At least one score of the rollout is successful.
        """

    def state(self) -> dict[str, Any]:
        """The algorithm's own state, as JSON, for a checkpoint."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned. Raises ValueError if the state is not this algorithm's."""
        if state:
            raise ValueError(f"the checkpoint holds a state of {sorted(state)}, but {type(self).__name__} keeps none")
