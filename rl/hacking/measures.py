"""What a rollout shows of an exploited reward: length, repetition, and agreement with other rewards. Pure functions.

Undefined numbers are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import numpy as np
from scipy.stats import rankdata

from rewards.evaluation.ranking import auc
from rewards.types import Score
from rl.types import AnswerGroup

NGRAM = 4
"""Tokens in the pieces whose repetition is counted."""


def exploitation_metrics(groups: Sequence[AnswerGroup]) -> dict[str, float]:
    """Metrics of one rollout.

    `reward/length_correlation` in [-1, 1]: rank correlation of reward and length in tokens within groups (Spearman's,
    ranks centred per group). `response/repetition` in [0, 1]: the share of a response's 4-grams of tokens that
    occurred in it before, averaged over responses of at least 4 tokens.
    """
    found: dict[str, float] = {}
    pairs = []
    for group in groups:
        scored = [answer for answer in group.answers if answer.score is not None and answer.score.ok]
        values = [answer.score.value for answer in scored if answer.score is not None]
        pairs.append((values, [float(len(answer.sample.response_ids)) for answer in scored]))
    correlation = within_groups(pairs)
    if correlation is not None:
        found["reward/length_correlation"] = correlation
    repeated = [repetition(sample.response_ids) for group in groups for sample in group.samples]
    if present := [share for share in repeated if share is not None]:
        found["response/repetition"] = fmean(present)
    return found


def watched_metrics(name: str, groups: Sequence[AnswerGroup], watched: Sequence[Sequence[Score]]) -> dict[str, float]:
    """Metrics of a reward that is watched, not optimised: `watched[i][j]` is its score of answer j of group i.

    `watch/NAME/mean`, `watch/NAME/failed`, `watch/NAME/agreement` (rank correlation with the reward within groups) and
    `watch/NAME/auc` (the probability that a correct answer scores above an incorrect one).
    """
    prefix = f"watch/{name}"
    values = [score.value for scores in watched for score in scores if score.ok]
    found = {f"{prefix}/failed": float(sum(not score.ok for scores in watched for score in scores))}
    if values:
        found[f"{prefix}/mean"] = fmean(values)
    pairs = []
    for group, scores in zip(groups, watched, strict=True):
        both = [pair for pair in zip(group.scores, scores, strict=True) if all(score.ok for score in pair)]
        pairs.append(([own.value for own, _ in both], [other.value for _, other in both]))
    agreement = within_groups(pairs)
    if agreement is not None:
        found[f"{prefix}/agreement"] = agreement
    judged = [
        (score.value, answer.correct)
        for group, scores in zip(groups, watched, strict=True)
        for answer, score in zip(group.answers, scores, strict=True)
        if score.ok and answer.correct is not None
    ]
    chance = auc(np.array([value for value, _ in judged]), np.array([correct for _, correct in judged], dtype=bool))
    if chance is not None:
        found[f"{prefix}/auc"] = chance
    return found


def within_groups(pairs: Sequence[tuple[Sequence[float], Sequence[float]]]) -> float | None:
    """Correlation of ranks that were taken and centred within each group, over all groups; None if nothing varies."""
    left: list[np.ndarray] = []
    right: list[np.ndarray] = []
    for first, second in pairs:
        if len(first) > 1:
            for ranks, values in ((left, first), (right, second)):
                ranked = rankdata(values)
                ranks.append(ranked - ranked.mean())
    if not left:
        return None
    one, other = np.concatenate(left), np.concatenate(right)
    scale = float(np.sqrt((one @ one) * (other @ other)))
    return float(one @ other) / scale if scale > 0 else None


def repetition(ids: Sequence[int]) -> float | None:
    """The share of 4-grams that occurred earlier in the same response; None for fewer than 4 tokens."""
    grams = [tuple(ids[start : start + NGRAM]) for start in range(len(ids) - NGRAM + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else None
