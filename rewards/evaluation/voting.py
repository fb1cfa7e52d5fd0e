"""Majority voting, plain and weighted by scores, among n of the N available responses.

Responses with equal final answers vote together; one without an answer does not vote (Wang et al., arXiv 2203.11171;
weighted by a verifier: Li et al., arXiv 2206.02336). The result is the mean over all subsets of size n, or over random
ones if there are too many; both are unbiased. If several answers are tied in front, the mean over them counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb

import numpy as np
from numpy.typing import NDArray

from rewards.evaluation.subsets import subsets
from rewards.grading.classes import Class

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
_TIE = 1e-9


def majority(
    classes: Sequence[Class], correct: Bools, sizes: Sequence[int], weights: Floats, rng: np.random.Generator, most: int
) -> Floats:
    """The chance that the answer with the most votes is correct, by size and weighting. (len(sizes), W) in [0, 1].

    `weights` (N, W) are W non-negative weightings of the N votes; a column of ones is plain majority. A subset in which
    nobody votes is incorrect. An answer is as correct as the mean label of its responses. At most `most` subsets of
    each size are used. Raises ValueError for a negative weight, and for an n outside 1..N.
    """
    if (weights < 0).any():
        raise ValueError("votes cannot be weighted by negative scores")
    voters = np.array([number is not None for number in classes])
    kinds = {number: column for column, number in enumerate(dict.fromkeys(n for n in classes if n is not None))}
    ballots = np.zeros((len(classes), len(kinds)))
    for place, number in enumerate(classes):
        if number is not None:
            ballots[place, kinds[number]] = 1.0
    if not voters.any():
        return np.zeros((len(sizes), weights.shape[1]))
    accuracy = (correct @ ballots) / ballots.sum(axis=0)
    # (N, W * K): the vote of each response for each answer under each weighting.
    weighted = (weights[:, :, None] * ballots[:, None, :]).reshape(len(classes), -1)
    found = []
    for size in sizes:
        chosen = subsets(len(classes), size, most, rng)
        votes = (chosen @ weighted).reshape(len(chosen), weights.shape[1], -1)
        given = (chosen @ ballots)[:, None, :] > 0
        votes = np.where(given, votes, -1.0)  # an answer that nobody in the subset gave cannot win
        lead = votes.max(axis=2, keepdims=True)
        leading = (votes >= lead - _TIE * np.maximum(lead, 1.0)) & given
        shares = leading / np.maximum(leading.sum(axis=2, keepdims=True), 1)
        found.append((shares @ accuracy).mean(axis=0))
    return np.stack(found)


def exact(total: int, size: int, most: int) -> bool:
    """Whether voting among `size` of `total` responses uses all subsets rather than random ones."""
    return comb(total, size) <= most
