"""Majority voting, plain and weighted by scores, among n of the N responses at hand.

Responses with equal final answers vote together; one without an answer does not vote (Wang et al., arXiv 2203.11171;
weighted by a verifier: Li et al., arXiv 2206.02336). Over all subsets of size n where these are few, else over random
ones: both without bias. Equal votes share: the mean over the answers that lead.
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
    classes: Sequence[Class], rights: Bools, sizes: Sequence[int], weights: Floats, rng: np.random.Generator, most: int
) -> Floats:
    """The chance that the answer with the most votes is right, by size and weighting. (len(sizes), W) in [0, 1].

    `weights` (N, W) holds W weightings of the N votes, none negative; a column of ones is plain majority. A subset in
    which nobody votes is wrong. An answer is right as far as its responses are labelled so (their mean). At most
    `most` subsets of each size. Raises ValueError for a negative weight, and for an n outside 1..N.
    """
    if (weights < 0).any():
        raise ValueError("votes cannot be weighted by negative scores")
    voters = np.array([number is not None for number in classes])
    kinds = {number: column for column, number in enumerate(dict.fromkeys(n for n in classes if n is not None))}
    sheets = np.zeros((len(classes), len(kinds)))
    for place, number in enumerate(classes):
        if number is not None:
            sheets[place, kinds[number]] = 1.0
    if not voters.any():
        return np.zeros((len(sizes), weights.shape[1]))
    truth = (rights @ sheets) / sheets.sum(axis=0)
    # (N, W * K): what each response gives to each answer under each weighting.
    given = (weights[:, :, None] * sheets[:, None, :]).reshape(len(classes), -1)
    found = []
    for size in sizes:
        chosen = subsets(len(classes), size, most, rng)
        votes = (chosen @ given).reshape(len(chosen), weights.shape[1], -1)
        counted = (chosen @ sheets)[:, None, :] > 0
        votes = np.where(counted, votes, -1.0)  # an answer that nobody gave does not count, whatever its votes
        lead = votes.max(axis=2, keepdims=True)
        leading = (votes >= lead - _TIE * np.maximum(lead, 1.0)) & counted
        shares = leading / np.maximum(leading.sum(axis=2, keepdims=True), 1)
        found.append((shares @ truth).mean(axis=0))
    return np.stack(found)


def exact(total: int, size: int, most: int) -> bool:
    """Whether voting among `size` of `total` is counted over all subsets rather than over random ones."""
    return comb(total, size) <= most
