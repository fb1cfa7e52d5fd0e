"""Do two reward models say the same? Over all responses, within a problem, and in the one they would choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewards.evaluation.ranking import concordance, spearman

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Agreement:
    """How two rewards agree; every figure is None where it does not exist.

    correlation: Spearman's, over all responses, in [-1, 1]. order: of the pairs of responses to one problem that both
    order strictly, the share they order alike. choice: the share of problems where they choose the same response
    (equal texts are the same). both_wrong: of the problems where the first chooses wrongly, the share where the second
    does too; near 1 the second does not check the first. responses: those that both could score.
    """

    correlation: float | None
    order: float | None
    choice: float | None
    both_wrong: float | None
    responses: int


def agreement(
    first: Sequence[Floats], second: Sequence[Floats], rights: Sequence[Bools], texts: Sequence[Sequence[str]]
) -> Agreement:
    """The agreement of two rewards on the same problems, an (N,) array a problem each; NaN is a failed score.

    Only responses that both scored count.
    """
    pooled: tuple[list[Floats], list[Floats]] = ([], [])
    alike = pairs = same = problems = wrong = wrong_too = 0.0
    for left, right, truth, text in zip(first, second, rights, texts, strict=True):
        scored = np.flatnonzero(~np.isnan(left) & ~np.isnan(right))
        if len(scored) == 0:
            continue
        left, right = left[scored], right[scored]
        pooled[0].append(left)
        pooled[1].append(right)
        won, of = concordance(left, right)
        alike, pairs = alike + won, pairs + of
        one, other = int(scored[left.argmax()]), int(scored[right.argmax()])
        problems += 1
        same += text[one] == text[other]
        wrong += not truth[one]
        wrong_too += not truth[one] and not truth[other]
    return Agreement(
        correlation=spearman(*(np.concatenate(values) for values in pooled)) if problems else None,
        order=alike / pairs if pairs else None,
        choice=same / problems if problems else None,
        both_wrong=wrong_too / wrong if wrong else None,
        responses=sum(len(values) for values in pooled[0]),
    )
