"""The policy on held-out problems: how often it is correct, and what the reward makes of the same responses."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from rewards.types import Problem
from rl.parts import Parts
from rl.progress import Evaluation
from rl.scoring import failed_scores, graded, report_undecided, scored

EVALUATION_SEED = 7
"""Evaluations draw with the same seed, so that two policies are compared on the same luck."""


def evaluate(update: int, held_out: Sequence[Problem], parts: Parts) -> Evaluation:
    """One response to every held-out problem at the training temperature, written to the run folder and shown.

    A reward that compares responses is not asked: a single response has nothing to be compared with.
    """
    settings = parts.settings
    groups = parts.sampler.sample(
        held_out,
        1,
        temperature=settings.rollout.temperature,
        top_p=settings.rollout.top_p,
        seed=EVALUATION_SEED,
    )
    parts.sampler.forget_prefixes()  # else the next rollout's numbers hang on what was evaluated before, by rounding
    alone = settings.reward.compares_responses
    try:
        groups = groups if alone else scored(groups, parts.reward)
        groups = graded(groups, settings.task)
    finally:  # what was drawn is written, even if scoring or grading stops the run
        parts.run.log_samples(update, groups, stage="evaluate")
    report_undecided(groups, settings.task, parts.display)
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
    parts.run.log_metrics(update, evaluation.metrics(), failed)
    parts.display.evaluation(evaluation)
    return evaluation
