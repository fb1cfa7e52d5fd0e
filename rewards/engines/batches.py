"""Split a list of sequences into batches of similar length under a token budget."""

from __future__ import annotations

from collections.abc import Sequence


def token_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Indices of the sequences in batches of at most `budget` tokens, padding included, longest sequences first.

    A sequence longer than the budget gets its own batch. The longest come first, so that a lack of memory shows at the
    start.
    """
    batches: list[list[int]] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        if batches and longest * (len(batches[-1]) + 1) <= budget:
            batches[-1].append(index)
        else:
            longest = lengths[index]
            batches.append([index])
    return batches
