"""The parts of one run: settings, processes, folder and display."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field

from rewards.actors import RewardGroup
from rl.cluster import actor_options
from rl.learner.group import LearnerGroup
from rl.metrics import Stopwatch
from rl.progress import Display
from rl.run.folder import RunFolder
from rl.run_settings import RunSettings
from rl.sampler import SamplerGroup


@dataclass
class Parts:
    """The parts of one run, passed around together.

    `watch.stage(name)` announces a stage on the display and counts its seconds.
    """

    settings: RunSettings
    sampler: SamplerGroup
    learner: LearnerGroup
    reward: RewardGroup
    run: RunFolder
    display: Display
    watch: Stopwatch
    ends: ExitStack = field(default_factory=ExitStack)
    """Other things to close once the processes have ended."""

    @classmethod
    def start(cls, settings: RunSettings, run: RunFolder, display: Display, watch: Stopwatch) -> Parts:
        """Start all actors at once and wait until each is ready, with reward models loaded."""
        sampler = SamplerGroup(settings.policy, settings.rollout, settings.cluster, log_folder=run.logs)
        learner = LearnerGroup(
            settings.policy,
            settings.learner,
            settings.cluster,
            loss=settings.algorithm.loss(),
            temperature=settings.rollout.temperature,
            truncation=settings.rollout.truncation,
            total_updates=settings.loop.updates,
            seed=settings.loop.seed,
            log_folder=run.logs,
            with_reference=settings.algorithm.needs_reference,
            critic=settings.algorithm.critic,
        )
        replicas, cluster = settings.loop.reward_replicas, settings.cluster
        reward = RewardGroup(
            settings.reward_config,
            replicas=replicas,
            ray_options=actor_options(cluster, "reward", actors=replicas),
            threads=cluster.threads_of(replicas) if cluster.device == "cpu" else None,
            timeout_s=settings.cluster.timeout_s,
            log_folder=str(run.logs),
            event=display.event,
        )
        sampler.wait()
        learner.wait()
        if learner.not_shared_because and settings.learner.share_prompts:
            display.event(
                f"each prompt is computed once per response, not once per group: {learner.not_shared_because}"
            )
        reward.wait()
        return cls(settings, sampler, learner, reward, run, display, watch)

    def shutdown(self) -> None:
        """End every process."""
        for end in (self.sampler.shutdown, self.learner.shutdown, self.reward.close):
            end()
        self.ends.close()
