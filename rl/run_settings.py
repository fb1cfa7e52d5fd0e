"""The settings and objects of one run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rewards.types import Reward
from rl.algorithms import Algorithm
from rl.settings import (
    ClusterSettings,
    EvaluationSettings,
    LearnerSettings,
    LoggerSettings,
    LoopSettings,
    PolicySettings,
    RolloutSettings,
)
from rl.tasks import Task


@dataclass(frozen=True)
class RunSettings:
    """The checked settings of one run, as the loop receives them.

    `algorithm` and `task` are ready to use. `reward` was built to check it (it has loaded no weights); `reward_config`
    is the plain nested dict it was built from (`_target_` and keyword arguments), for the actors that score to
    build their own. `task_config` is the task's, which a resumed run compares. `watched` are, by name, the configs of
    rewards that score every rollout and are never optimised.
    """

    loop: LoopSettings
    policy: PolicySettings
    rollout: RolloutSettings
    learner: LearnerSettings
    cluster: ClusterSettings
    logger: LoggerSettings
    algorithm: Algorithm
    task: Task
    reward: Reward
    reward_config: dict[str, Any]
    task_config: dict[str, Any] = field(default_factory=dict)
    evaluate: EvaluationSettings = field(default_factory=EvaluationSettings)
    watched: dict[str, dict[str, Any]] = field(default_factory=dict)
