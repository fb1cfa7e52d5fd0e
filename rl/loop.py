"""The story, readable in one go: sample, score, learn, sync, round and round, and tell the truth about it.

    problems -> sampler -> responses -> reward -> scores -> algorithm -> advantages -> learner -> weights -> sampler

The reward is what the policy is trained on; the task's verifier says what is true. Every update reports both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import fmean

import torch

from rewards.actors import RewardGroup
from rewards.types import Group, Problem, Response, Score
from rl.alignment import pad_rollout
from rl.cluster import actor_options, start_cluster, stop_cluster
from rl.learner.group import LearnerGroup
from rl.metrics import Metrics, Stopwatch, failures, rollout_metrics, throughput
from rl.progress import Display, Evaluation, Summary
from rl.run_folder import RunFolder
from rl.sampler import SamplerGroup
from rl.settings import RunSettings
from rl.types import Rollout, TrainBatch
from rl.weights import WeightsDidNotArrive, check_gap, gap, sync

EVALUATION_SEED = 7
"""Evaluations draw with the same seed, so that two policies are compared on the same luck."""


def train(settings: RunSettings, run: RunFolder, display: Display) -> Summary:
    """Run the whole loop and return what came of it. The trained policy lies in `run.policy` afterwards.

    Raises RuntimeError, ValueError or OSError in one clear line; what was written until then stays in the run's folder.
    """
    watch = Stopwatch()
    display.stage("start")
    with watch.stage("start"):
        start_cluster(settings.cluster, run.logs)
    parts = None
    try:
        with watch.stage("start"):
            parts = Parts.start(settings, run)
        return _rounds(settings, parts, run, display, watch)
    finally:
        if parts is not None:
            parts.shutdown()
        stop_cluster()


@dataclass
class Parts:
    """The running processes of one run."""

    sampler: SamplerGroup
    learner: LearnerGroup
    reward: RewardGroup

    @classmethod
    def start(cls, settings: RunSettings, run: RunFolder) -> Parts:
        """Start all actors at the same time and wait until each is ready."""
        sampler = SamplerGroup(settings.policy, settings.rollout, settings.cluster, log_folder=run.logs)
        learner = LearnerGroup(
            settings.policy,
            settings.learner,
            settings.cluster,
            loss=settings.algorithm.loss(),
            temperature=settings.rollout.temperature,
            total_updates=settings.loop.updates,
            seed=settings.loop.seed,
            log_folder=run.logs,
            with_reference=settings.algorithm.needs_reference,
        )
        reward = RewardGroup(
            settings.reward_config,
            replicas=settings.loop.reward_replicas,
            ray_options=actor_options(settings.cluster, "reward"),
            threads=settings.cluster.threads if settings.cluster.device == "cpu" else None,
            timeout_s=settings.cluster.timeout_s,
            log_folder=str(run.logs),
        )
        sampler.wait()
        learner.wait()
        return cls(sampler, learner, reward)

    def shutdown(self) -> None:
        """End every process."""
        for part in (self.sampler.shutdown, self.learner.shutdown, self.reward.close):
            part()


def _rounds(settings: RunSettings, parts: Parts, run: RunFolder, display: Display, watch: Stopwatch) -> Summary:
    loop, rollout_settings = settings.loop, settings.rollout
    stream: Iterator[Problem] = settings.task.train_problems(loop.seed)
    held_out = settings.task.held_out_problems(loop.evaluate_problems)
    failed: Counter[str] = Counter()
    before = last = _evaluate(0, held_out, settings, parts, run, display, watch)
    for update in range(1, loop.updates + 1):
        display.stage("sample")
        with watch.stage("sample"):
            rollout = parts.sampler.sample(
                list(islice(stream, rollout_settings.problems)),
                rollout_settings.responses,
                temperature=rollout_settings.temperature,
                top_p=rollout_settings.top_p,
                seed=loop.seed * 1_000_003 + update,
            )
        display.stage("score")
        with watch.stage("score"):
            scores = parts.reward.score(as_groups(rollout))
        reasons = failures(scores)
        failed.update(reasons)
        report_failures(reasons, loop.failed_scores, display)
        display.stage("learn")
        with watch.stage("learn"):
            learned = learn(settings, parts.learner, rollout, scores, update)
        display.stage("sync")
        with watch.stage("sync"):
            sync(parts.learner, parts.sampler, version=update)
        verdicts = truth(settings, rollout)
        lap = watch.lap()
        metrics = rollout_metrics(rollout, scores, verdicts) | throughput(rollout, lap["time/sample"]) | learned | lap
        run.log_samples(update, rollout, scores, verdicts)
        run.log_metrics(update, metrics, reasons)
        display.update(update, metrics)
        due = loop.evaluate_every and update % loop.evaluate_every == 0
        if due or update == loop.updates:
            last = _evaluate(update, held_out, settings, parts, run, display, watch)
    display.stage("save")
    with watch.stage("save"):
        parts.learner.save_policy(run.policy)
    return Summary(before, last, loop.updates, watch.seconds, watch.totals, run.path, failed)


def learn(
    settings: RunSettings, learner: LearnerGroup, rollout: Rollout, scores: list[list[Score]], update: int
) -> Metrics:
    """One learner update from a scored rollout, after making sure that sampler and learner hold the same weights.

    Raises WeightsDidNotArrive when they do not, and RuntimeError when no score of the rollout can be used.
    """
    check_versions(rollout, update - 1)
    batch = pad_rollout(rollout, pad_id=0)
    logprobs = learner.logprobs(batch)
    measured = gap(batch, logprobs.policy)
    check_gap(measured, settings.policy.dtype, settings.loop.logprob_gap(settings.policy.dtype))
    usable = usable_scores(scores, settings.loop.failed_scores)
    batch.advantages = settings.algorithm.advantages(usable, batch)
    batch.reference_logprobs = logprobs.reference
    batch.old_logprobs = logprobs.policy
    batch, kept = without_failed(batch, usable)
    report = learner.update(batch, seed=settings.loop.seed * 1_000_003 + update)
    named = {f"learner/{name}": value for name, value in report.metrics.items()}
    return named | {
        "sync/gap_mean": measured["mean"],
        "sync/gap_max": measured["max"],
        "learner/sequences": float(kept),
    }


def check_versions(rollout: Rollout, expected: int) -> None:
    """Raise WeightsDidNotArrive unless every sample was drawn with the weights of the last sync."""
    versions = {sample.weight_version for samples in rollout.samples for sample in samples}
    if versions - {expected}:
        raise WeightsDidNotArrive(f"samples were drawn with weights {sorted(versions)}, expected version {expected}")


def as_groups(rollout: Rollout) -> list[Group]:
    """The rollout as rewards know it: problems with the texts of their responses."""
    return [
        Group(problem, tuple(Response(sample.text, sample.finish_reason) for sample in samples))
        for problem, samples in zip(rollout.problems, rollout.samples, strict=True)
    ]


def truth(settings: RunSettings, rollout: Rollout) -> list[list[bool]]:
    """The task's verdict on every response: what is true, whatever the reward says."""
    return [
        [settings.task.grade(problem, sample.text) for sample in samples]
        for problem, samples in zip(rollout.problems, rollout.samples, strict=True)
    ]


def usable_scores(scores: Sequence[Sequence[Score]], failed_scores: str) -> list[list[Score]]:
    """The scores to learn from: with `drop_group`, one failure fails its whole group.

    Raises RuntimeError when the choice is `stop` and one failed, and when none is left.
    """
    reasons = failures(scores)
    if reasons and failed_scores == "stop":
        raise RuntimeError(f"failed_scores=stop: {describe(reasons)}")
    if failed_scores == "drop_group":
        dropped = Score.failed("another response of the group could not be scored")
        usable = [list(group) if all(score.ok for score in group) else [dropped] * len(group) for group in scores]
    else:
        usable = [list(group) for group in scores]
    if not any(score.ok for group in usable for score in group):
        raise RuntimeError(f"no score of this rollout can be used: {describe(reasons)}")
    return usable


def without_failed(batch: TrainBatch, scores: Sequence[Sequence[Score]]) -> tuple[TrainBatch, int]:
    """The rows whose score is there (B rows in the order of the scores), and how many they are."""
    rows = [row for row, score in enumerate(score for group in scores for score in group) if score.ok]
    return (batch if len(rows) == len(batch) else batch.select(torch.tensor(rows))), len(rows)


def report_failures(reasons: Counter[str], failed_scores: str, display: Display) -> None:
    """Say on the display which scores failed, and what becomes of them."""
    if reasons:
        fate = {"drop_sample": "left out", "drop_group": "left out with their groups", "stop": "the run stops"}
        display.event(f"{describe(reasons)}: {fate[failed_scores]}")


def describe(reasons: Counter[str]) -> str:
    """Failure counts in words, the most frequent first."""
    listed = "; ".join(f"{count} x {reason}" for reason, count in reasons.most_common(3))
    return f"{sum(reasons.values())} scores failed ({listed})"


def _evaluate(
    update: int,
    held_out: list[Problem],
    settings: RunSettings,
    parts: Parts,
    run: RunFolder,
    display: Display,
    watch: Stopwatch,
) -> Evaluation:
    """One response to every held-out problem at the training temperature: the verifier's accuracy and the reward."""
    display.stage("evaluate")
    with watch.stage("evaluate"):
        rollout = parts.sampler.sample(
            held_out, 1, temperature=settings.rollout.temperature, top_p=settings.rollout.top_p, seed=EVALUATION_SEED
        )
        scores = parts.reward.score(as_groups(rollout))
    verdicts = truth(settings, rollout)
    values = [score.value for group in scores for score in group if score.ok]
    evaluation = Evaluation(
        update=update,
        accuracy=fmean(float(right) for group in verdicts for right in group),
        reward=fmean(values) if values else None,
        tokens=fmean(len(sample.response_ids) for group in rollout.samples for sample in group),
        problems=len(held_out),
    )
    run.log_samples(update, rollout, scores, verdicts, stage="evaluate")
    run.log_metrics(update, evaluation.metrics(), failures(scores))
    display.evaluation(evaluation)
    return evaluation
