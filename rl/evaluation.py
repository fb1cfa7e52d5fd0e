"""The policy on held-out problems: how often it is correct, and what the reward makes of the same responses."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from rewards.types import Problem, Reward
from rl.progress import Display, Evaluation
from rl.run_folder import RunFolder
from rl.sampler import SamplerGroup
from rl.scoring import failed_scores, graded, scored
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

    A reward that compares responses is not asked: a single response has nothing to be compared with.
    """
    groups = sampler.sample(
        held_out,
        1,
        temperature=settings.rollout.temperature,
        top_p=settings.rollout.top_p,
        seed=EVALUATION_SEED,
    )
    sampler.forget_prefixes()  # else the next rollout's numbers hang on what was evaluated before, by rounding
    alone = getattr(settings.reward, "compares_responses", False)
    try:
        groups = groups if alone else scored(groups, reward)
        groups = graded(groups, settings.task)
    finally:  # what was drawn is written, even if scoring or grading stops the run
        run.log_samples(update, groups, stage="evaluate")
    answers = [answer for group in groups for answer in group.answers]
    values = [answer.score.value for answer in answers if answer.score is not None and answer.score.ok]
    grades = [answer.correct for answer in answers if answer.correct is not None]
    failed = failed_scores(groups)
    evaluation = Evaluation(
        update=update,
        accuracy=fmean(map(float, grades)) if grades else None,
        reward=fmean(values) if values else None,
        tokens=fmean(len(answer.sample.response_ids) for answer in answers),
        problems=len(held_out),
        failed=sum(failed.values()),
    )
    run.log_metrics(update, evaluation.metrics(), failed)
    display.evaluation(evaluation)
    return evaluation
