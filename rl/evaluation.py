"""The policy on held-out problems: how often it is right, and what the reward makes of the same responses."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from rewards.types import Problem, Reward
from rl.metrics import failures
from rl.progress import Display, Evaluation
from rl.run_folder import RunFolder
from rl.sampler import SamplerGroup
from rl.scoring import as_groups, truth
from rl.settings import RunSettings

EVALUATION_SEED = 7
"""Evaluations draw with the same seed, so that two policies are compared on the same luck."""


def evaluate(
    update: int,
    held_out: Sequence[Problem],
    settings: RunSettings,
    sampler: SamplerGroup,
    reward: Reward,
    run: RunFolder,
    display: Display,
) -> Evaluation:
    """One response to every held-out problem at the training temperature, written to the run folder and shown.

    A reward that compares responses is not asked: one response a problem has nothing to be compared with.
    """
    rollout = sampler.sample(
        held_out,
        1,
        temperature=settings.rollout.temperature,
        top_p=settings.rollout.top_p,
        seed=EVALUATION_SEED,
    )
    sampler.forget_prefixes()  # else the next rollout's numbers hang on what was evaluated before, by rounding
    alone = getattr(settings.reward, "compares_responses", False)
    scores, verdicts = None, None
    try:
        scores = None if alone else reward.score(as_groups(rollout))
        verdicts = truth(settings.task, rollout)
    finally:  # what was drawn is written, even if scoring or grading stops the run
        run.log_samples(update, rollout, scores, verdicts, stage="evaluate")
    values = [score.value for group in scores or () for score in group if score.ok]
    failed = failures(scores or ())
    evaluation = Evaluation(
        update=update,
        accuracy=None if verdicts is None else fmean(float(right) for group in verdicts for right in group),
        reward=fmean(values) if values else None,
        tokens=fmean(len(sample.response_ids) for group in rollout.samples for sample in group),
        problems=len(held_out),
        failed=sum(failed.values()),
    )
    run.log_metrics(update, evaluation.metrics(), failed)
    display.evaluation(evaluation)
    return evaluation
