"""Evaluate the policy on held-out problems: how often it is correct, and how the reward scores the same responses.

With several responses per problem, pass@k is the probability that at least one of k is correct, with the unbiased
estimator of Chen et al. (arXiv:2107.03374, eq. 1). Intervals are bootstrapped over problems.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import numpy as np

from rewards.evaluation.best_of_n import pass_at
from rewards.evaluation.intervals import Bootstrap
from rewards.types import Problem
from rl.parts import Parts
from rl.progress import Evaluation
from rl.scoring import failed_scores, graded, report_undecided, scored
from rl.types import AnswerGroup

EVALUATION_SEED = 7
"""All evaluations draw with the same seed, so that two policies are compared with the same random numbers."""


def evaluate(update: int, held_out: Sequence[Problem], parts: Parts) -> Evaluation:
    """Draw, score and grade responses to every held-out problem; write them to the run folder and show the result.

    `evaluate` in the settings says how to draw. If there is one response per problem, a reward that compares responses
    is not asked, because there is nothing to compare.
    """
    settings = parts.settings
    groups = parts.sampler.sample(
        held_out,
        settings.evaluate.responses,
        **settings.evaluate.sampling(settings.rollout),
        seed=EVALUATION_SEED,
    )
    parts.sampler.forget_prefixes()  # otherwise rounding makes the next rollout depend on whether an evaluation ran
    alone = settings.reward.compares_responses and settings.evaluate.responses == 1
    try:
        groups = groups if alone else scored(groups, parts.reward)
        groups = graded(groups, settings.task)
    finally:  # write the responses even if scoring or grading stops the run
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
        responses=settings.evaluate.responses,
        details=accuracies(groups) if grades else {},
    )
    parts.run.log_metrics(update, evaluation.metrics(), failed)
    parts.display.evaluation(evaluation)
    return evaluation


def accuracies(groups: Sequence[AnswerGroup]) -> dict[str, float]:
    """The 95% interval of the accuracy, and pass@k with its interval for k = 2, 4, 8, ... up to all responses.

    All groups must have the same size. The accuracy leaves out answers that could not be graded; pass@k leaves out
    their problems. Names: see `Evaluation.details`.
    """
    bootstrap = Bootstrap(len(groups))
    rights = np.array([sum(answer.correct is True for answer in group.answers) for group in groups], dtype=np.float64)
    graded = np.array(
        [sum(answer.correct is not None for answer in group.answers) for group in groups], dtype=np.float64
    )
    responses = len(groups[0].answers)
    whole = (graded == responses).astype(np.float64)
    estimates = {"accuracy/held_out": bootstrap.ratio(rights, graded)}
    for size in sorted({2**power for power in range(1, responses.bit_length())} | {responses} - {1}):
        passed = np.array([pass_at(np.arange(responses) < right, [size])[0] for right in rights])
        estimates[f"accuracy/held_out_pass_at_{size}"] = bootstrap.ratio(passed * whole, whole)
    found: dict[str, float] = {}
    for name, estimate in estimates.items():
        ends = {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        found |= {each: value for each, value in ends.items() if value is not None and each != "accuracy/held_out"}
    return found
