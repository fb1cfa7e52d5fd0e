"""Reduce a solution's step scores to one number.

`min` is the usual choice for process reward models; RLHFlow's own evaluation uses the `mean`; `last` is best for
models trained on Monte-Carlo labels (arXiv 2501.07301); `product` reads the scores as independent probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

Aggregate = Callable[[Sequence[float]], float]

AGGREGATES: Mapping[str, Aggregate] = {
    "min": min,
    "product": math.prod,
    "mean": lambda steps: math.fsum(steps) / len(steps),
    "last": lambda steps: steps[-1],
}


def aggregate(name: str) -> Aggregate:
    """The function `min`, `product`, `mean` or `last`, for a non-empty list. Raises ValueError for any other name."""
    if name not in AGGREGATES:
        raise ValueError(f"aggregation must be one of {', '.join(AGGREGATES)}, not {name!r}")
    return AGGREGATES[name]
