"""How a policy learns from scored groups: one short file per algorithm.

An algorithm turns a rollout with its scores into what the learner trains on and says which loss to minimise. The loop
and the learner know none of them by name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from rl.learner.losses import PolicyLossSettings, PreferenceLossSettings
from rl.settings import CriticSettings
from rl.types import Prepared, Scored


class Algorithm(ABC):
    """What the loop asks of an algorithm. Only `loss` and `prepare` must be written; the rest says "no" by default.

    A subclass is a frozen dataclass whose fields are its options; a field may replace a property of the same name.
    """

    @property
    def needs_reference(self) -> bool:
        """Whether the learner must hold a frozen reference: the starting policy, or see `refresh_every`."""
        return False

    @property
    def refresh_every(self) -> int:
        """After how many updates the reference becomes a copy of the present policy; 0: never."""
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
        """Whether it reads the scores of single steps, which only some rewards give."""
        return False

    @property
    def needs_matches(self) -> bool:
        """Whether it reads who won against whom, which only a pairwise judge says."""
        return False

    @property
    def objectives(self) -> Mapping[str, float] | None:
        """The parts of a score that it reads, with their weights; None where it reads the value."""
        return None

    def rows_per_group(self, responses: int) -> int:
        """How many sequences the learner trains on for a group of as many responses, at most."""
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
        """Whether its loss weighs samples of older weights by what the learner makes of them (importance sampling)."""
        return False

    @property
    def dynamic_sampling(self) -> int:
        """How many further draws that an update may take to replace groups whose scores are all equal; 0: none."""
        return 0

    @abstractmethod
    def loss(self) -> PolicyLossSettings | PreferenceLossSettings:
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
