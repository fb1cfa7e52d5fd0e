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
    watched: dict[str, RewardGroup] = field(default_factory=dict)
    """Rewards that score every rollout and are never optimised, by name."""
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
        for name in settings.watched:
            (run.logs / name).mkdir(parents=True, exist_ok=True)
        rewards = [
            RewardGroup(
                config,
                replicas=replicas,
                ray_options=actor_options(cluster, "reward", actors=replicas),
                threads=cluster.threads_of(replicas) if cluster.device == "cpu" else None,
                timeout_s=settings.cluster.timeout_s,
                log_folder=str(run.logs / name),
                event=display.event,
            )
            for name, config in (("", settings.reward_config), *settings.watched.items())
        ]
        reward, *others = rewards
        sampler.wait()
        learner.wait()
        if learner.not_shared_because and settings.learner.share_prompts:
            display.event(
                f"each prompt is computed once per response, not once per group: {learner.not_shared_because}"
            )
        for each in rewards:
            each.wait()
        watched = dict(zip(settings.watched, others, strict=True))
        return cls(settings, sampler, learner, reward, run, display, watch, watched)

    def shutdown(self) -> None:
        """End every process."""
        closers = [reward.close for reward in (self.reward, *self.watched.values())]
        for end in (self.sampler.shutdown, self.learner.shutdown, *closers):
            end()
        self.ends.close()
