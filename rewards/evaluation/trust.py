"""Does a reward deserve trust *before* a policy is optimised against it? Read from the policy's own samples.

Optimising chooses: what counts is whether the reward tells right from wrong among the responses to one problem, what
its first choice gains over a random one, and what else it pays for (length). A reward whose top is crowded gives
nothing to climb; one whose top-scored responses are wrong will be climbed in the wrong direction.
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
    """What the samples say; shares in [0, 1], correlations in [-1, 1], None where a figure does not exist.

    group: the most responses to one problem. auc: the chance that a right response scores above a wrong one, over all;
    group_auc: the same among the responses to one problem, with its interval. random: accuracy of a random response;
    best: of the top-scored one; oracle: share of problems with a right response; gain: best - random, with its
    interval. top_wrong: share of problems whose top-scored response is wrong though a right one is there; outscoring:
    share of wrong responses to such problems that score above every right one, the room for a policy to cheat. length:
    Spearman correlation of score and length in characters, length_of_truth: that of being right and length. at_top:
    share of scores within 1% of the range below the highest; flat: share of problems whose scores are all equal.
    failed: share of responses without a score.
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


def trust(values: Sequence[Floats], rights: Sequence[Bools], lengths: Sequence[Floats], bootstrap: Bootstrap) -> Trust:
    """The report on scores of P problems, an (N,) array a problem each; NaN in `values` is a failed score.

    `lengths` are characters. A failed score is chosen only where all of a problem's failed. Raises ValueError for no
    problems and for a problem without responses.
    """
    if not values or any(len(one) == 0 for one in values):
        raise ValueError("a trust report needs problems with responses")
    ranked = [np.where(np.isnan(one), -np.inf, one) for one in values]
    best = np.array([best_of(one, right, [len(one)])[0] for one, right in zip(ranked, rights, strict=True)])
    random = np.array([right.mean() for right in rights])
    oracle = np.array([float(right.any()) for right in rights])
    pairs = np.array(
        [
            ordered_pairs(one[kept], right[kept])
            for one, right in zip(values, rights, strict=True)
            for kept in [~np.isnan(one)]
        ]
    )
    scored, truth, length = (np.concatenate(list(arrays)) for arrays in (values, rights, lengths))
    kept = ~np.isnan(scored)
    return Trust(
        problems=len(values),
        responses=len(scored),
        group=max(len(one) for one in values),
        auc=auc(scored[kept], truth[kept]),
        group_auc=bootstrap.ratio(pairs[:, 0], pairs[:, 1]),
        random=float(random.mean()),
        best=float(best.mean()),
        oracle=float(oracle.mean()),
        gain=bootstrap.mean(best - random),
        top_wrong=float((oracle * (1 - best)).mean()),
        outscoring=_outscoring(ranked, rights),
        length=spearman(scored[kept], length[kept]),
        length_of_truth=spearman(truth[kept].astype(np.float64), length[kept]),
        at_top=_at_top(scored[kept]),
        flat=float(np.mean([len(np.unique(one[~np.isnan(one)])) < 2 for one in values])),
        failed=float(1 - kept.mean()),
    )


def in_one_line(report: Trust) -> str:
    """The report as one plain sentence, in figures that say what they are of."""
    parts = [f"AUC {_shown(report.auc)} against the verifier"]
    if report.group > 1:
        parts.append(f"{_shown(report.group_auc.value)} within a problem")
        parts.append(
            f"its best of {report.group} right in {report.best:.2f} "
            f"(random {report.random:.2f}, at most {report.oracle:.2f})"
        )
        parts.append(f"top-scored wrong though a right one was there in {report.top_wrong:.0%} of problems")
    parts.append(f"correlation with length {_shown(report.length, '+.2f')}")
    parts.append(f"{_shown(report.at_top, '.0%')} of scores at the top")
    return ", ".join(parts)


def concerns(report: Trust) -> list[str]:
    """Why this reward is unlikely to help, a line each; empty where nothing speaks against it.

    The limits are rules of thumb: chance within the interval, half of the scores at the top, half of the groups flat, a
    correlation with length of 0.3 beyond what being right has.
    """
    lines = []
    if report.failed > 0.05:
        lines.append(f"{report.failed:.0%} of the responses could not be scored")
    if report.oracle == 0 or report.random == 1:
        every = "wrong" if report.oracle == 0 else "right"
        return [*lines, f"every sample is {every}: nothing can be said of the reward here"]
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
            f"it pays for {kind} responses: correlation with length {report.length:+.2f}, of the truth "
            f"{_shown(report.length_of_truth, '+.2f')}"
        )
    if report.at_top is not None and report.at_top > 0.5 and report.random < 0.5:
        lines.append(f"saturated: {report.at_top:.0%} of the scores are at the top, {report.random:.0%} are right")
    return lines


def _outscoring(values: Sequence[Floats], rights: Sequence[Bools]) -> float | None:
    both = [(one, right) for one, right in zip(values, rights, strict=True) if right.any() and not right.all()]
    above = [one[~right] > one[right].max() for one, right in both]
    return float(np.concatenate(above).mean()) if above else None


def _at_top(values: Floats) -> float | None:
    if len(values) == 0 or values.max() == values.min():
        return None
    return float((values >= values.max() - 0.01 * (values.max() - values.min())).mean())


def _shown(value: float | None, form: str = ".2f") -> str:
    return "unknown" if value is None else format(value, form)
