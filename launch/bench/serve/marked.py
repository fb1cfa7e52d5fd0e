"""A process reward whose values say which texts they belong to, so that a crossed answer shows in every protocol."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace

from rewards.process import ProcessReward
from rewards.protocol import Pair
from rewards.types import Score


def mark(problem: str, response: str) -> float:
    """A number in [0, 1) that only these two texts have."""
    return zlib.crc32(f"{problem}\0{response}".encode()) / 2**32


class MarkedReward(ProcessReward):
    """The process reward model reads every response; `mark` then replaces the value. The steps stay the model's."""

    def score_responses(self, pairs: Sequence[Pair]) -> list[Score]:
        """One score per response, in order."""
        return [
            replace(score, _value=mark(problem.text, response.text)) if score.ok else score
            for (problem, response), score in zip(pairs, super().score_responses(pairs), strict=True)
        ]
