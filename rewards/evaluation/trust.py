"""Whether to trust a reward *before* optimising a policy against it, measured on the policy's own samples.

Optimisation selects, so what counts is whether the reward separates correct from incorrect responses to the same
problem, how much better its first choice is than a random one, and what else it favours (length). A reward that gives
most responses its top score leaves nothing to optimise; one that scores incorrect responses highest will be exploited.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewards.evaluation.best_of_n import best_of
from rewards.evaluation.intervals import Bootstrap, Estimate
from rewards.evaluation.ranking import auc, ordered_pairs, spearman

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Trust:
    """The trust report: shares in [0, 1], correlations in [-1, 1]; a figure that does not exist is None.

    group: the largest number of responses to one problem. auc: the chance that a correct response scores above an
    incorrect one, over all responses; group_auc: the same within one problem, with its interval. random: accuracy of a
    random response; best: of the top-scored one; oracle: share of problems with a correct response; gain: best -
    random, with its interval. top_wrong: share of problems whose top-scored response is incorrect although another is
    correct; outscoring: in problems with both kinds, the share of incorrect responses that score above every correct
    one, which is what a policy can exploit. length: Spearman correlation of score and length in characters;
    length_of_truth: that of correctness and length. at_top: share of scores within 1% of the range below the highest;
    flat: share of problems whose scores are all equal. failed: share of responses without a score.
    """

    problems: int
    responses: int
    group: int
    auc: float | None
    group_auc: Estimate
    random: float
    best: float
    oracle: float
    gain: Estimate
    top_wrong: float
    outscoring: float | None
    length: float | None
    length_of_truth: float | None
    at_top: float | None
    flat: float
    failed: float


def trust(values: Sequence[Floats], correct: Sequence[Bools], lengths: Sequence[Floats], bootstrap: Bootstrap) -> Trust:
    """The trust report for the scores of P problems: each argument has one (N,) array per problem.

    NaN in `values` is a failed score, which is chosen only if all scores of a problem failed. `lengths` are in
    characters. Raises ValueError if there are no problems, or a problem has no responses.
    """
    if not values or any(len(one) == 0 for one in values):
        raise ValueError("a trust report needs problems with responses")
    ranked = [np.where(np.isnan(one), -np.inf, one) for one in values]
    best = np.array([best_of(one, flags, [len(one)])[0] for one, flags in zip(ranked, correct, strict=True)])
    random = np.array([flags.mean() for flags in correct])
    oracle = np.array([float(flags.any()) for flags in correct])
    pairs = np.array(
        [
            ordered_pairs(one[kept], flags[kept])
            for one, flags in zip(values, correct, strict=True)
            for kept in [~np.isnan(one)]
        ]
    )
    scored, pooled, length = (np.concatenate(list(arrays)) for arrays in (values, correct, lengths))
    kept = ~np.isnan(scored)
    return Trust(
        problems=len(values),
        responses=len(scored),
        group=max(len(one) for one in values),
        auc=auc(scored[kept], pooled[kept]),
        group_auc=bootstrap.ratio(pairs[:, 0], pairs[:, 1]),
        random=float(random.mean()),
        best=float(best.mean()),
        oracle=float(oracle.mean()),
        gain=bootstrap.mean(best - random),
        top_wrong=float((oracle * (1 - best)).mean()),
        outscoring=_outscoring(ranked, correct),
        length=spearman(scored[kept], length[kept]),
        length_of_truth=spearman(pooled[kept].astype(np.float64), length[kept]),
        at_top=_at_top(scored[kept]),
        flat=float(np.mean([len(np.unique(one[~np.isnan(one)])) < 2 for one in values])),
        failed=float(1 - kept.mean()),
    )


def in_one_line(report: Trust) -> str:
    """The report in one sentence."""
    parts = [f"AUC {_shown(report.auc)} against the verifier"]
    if report.group > 1:
        parts.append(f"{_shown(report.group_auc.value)} within a problem")
        parts.append(
            f"its best of {report.group} is right in {report.best:.2f} of problems "
            f"(random {report.random:.2f}, at most {report.oracle:.2f})"
        )
        parts.append(f"in {report.top_wrong:.0%} its best is wrong although another response is right")
    parts.append(f"correlation with length {_shown(report.length, '+.2f')}")
    parts.append(f"{_shown(report.at_top, '.0%')} of scores at the top")
    return ", ".join(parts)


def concerns(report: Trust) -> list[str]:
    """Why this reward is unlikely to help, one reason per line; empty if there is no reason.

    The limits are rules of thumb: chance level within the interval, half of the scores at the top, half of the groups
    flat, a correlation with length that differs by more than 0.3 from that of correctness.
    """
    lines = []
    if report.failed > 0.05:
        lines.append(f"{report.failed:.0%} of the responses could not be scored")
    if report.oracle == 0 or report.random == 1:
        every = "wrong" if report.oracle == 0 else "right"
        return [*lines, f"every sample is {every}, which says nothing about the reward"]
    if report.group > 1:
        low = report.group_auc.low
        if low is None or low <= 0.5:
            lines.append("within a problem it does not tell right from wrong better than chance")
        if report.gain.low is not None and report.gain.low <= 0:
            lines.append("choosing by it is not clearly better than choosing at random")
        if report.flat > 0.5:
            lines.append(f"in {report.flat:.0%} of the problems all responses score the same: no signal there")
    elif report.auc is None or report.auc <= 0.55:
        lines.append("it hardly tells right from wrong")
    if report.length is not None and abs(report.length - (report.length_of_truth or 0.0)) > 0.3:
        kind = "long" if report.length > (report.length_of_truth or 0.0) else "short"
        lines.append(
            f"it favours {kind} responses: its correlation with length is {report.length:+.2f}, that of correctness "
            f"{_shown(report.length_of_truth, '+.2f')}"
        )
    if report.at_top is not None and report.at_top > 0.5 and report.random < 0.5:
        lines.append(
            f"saturated: {report.at_top:.0%} of the scores are at the top, but only {report.random:.0%} of the "
            "responses are right"
        )
    return lines


def _outscoring(values: Sequence[Floats], correct: Sequence[Bools]) -> float | None:
    both = [(one, flags) for one, flags in zip(values, correct, strict=True) if flags.any() and not flags.all()]
    above = [one[~flags] > one[flags].max() for one, flags in both]
    return float(np.concatenate(above).mean()) if above else None


def _at_top(values: Floats) -> float | None:
    if len(values) == 0 or values.max() == values.min():
        return None
    return float((values >= values.max() - 0.01 * (values.max() - values.min())).mean())


def _shown(value: float | None, form: str = ".2f") -> str:
    return "unknown" if value is None else format(value, form)
