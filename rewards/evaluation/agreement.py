"""Whether two reward models agree: over all responses, within a problem, and in the response they choose."""

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
    """How far two rewards agree; a figure that cannot be computed is None.

    correlation: Spearman's, over all responses, in [-1, 1]. order: among the pairs of responses to one problem that
    both order strictly, the share ordered the same way. choice: the share of problems for which they choose the same
    response (equal texts are the same). both_wrong: among the problems for which the first chooses an incorrect
    response, the share for which the second does too; near 1, the second is no check on the first. responses: the
    number of responses that both could score.
    """

    correlation: float | None
    order: float | None
    choice: float | None
    both_wrong: float | None
    responses: int


def agreement(
    first: Sequence[Floats], second: Sequence[Floats], correct: Sequence[Bools], texts: Sequence[Sequence[str]]
) -> Agreement:
    """The agreement of two rewards on the same problems. Each has one (N,) array per problem; NaN is a failed score.

    Only responses that both could score are used.
    """
    pooled: tuple[list[Floats], list[Floats]] = ([], [])
    alike = pairs = same = problems = wrong = wrong_too = 0.0
    for left, right, flags, text in zip(first, second, correct, texts, strict=True):
        scored = np.flatnonzero(~np.isnan(left) & ~np.isnan(right))
        if len(scored) == 0:
            continue
        left, right = left[scored], right[scored]
        pooled[0].append(left)
        pooled[1].append(right)
        won, compared = concordance(left, right)
        alike, pairs = alike + won, pairs + compared
        one, other = int(scored[left.argmax()]), int(scored[right.argmax()])
        problems += 1
        same += text[one] == text[other]
        wrong += not flags[one]
        wrong_too += not flags[one] and not flags[other]
    return Agreement(
        correlation=spearman(*(np.concatenate(values) for values in pooled)) if problems else None,
        order=alike / pairs if pairs else None,
        choice=same / problems if problems else None,
        both_wrong=wrong_too / wrong if wrong else None,
        responses=sum(len(values) for values in pooled[0]),
    )
