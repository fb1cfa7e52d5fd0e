"""Truncated sampling: top-k, top-p and min-p, and what they do to log-probabilities.

With temperature-scaled probabilities pi over the vocabulary, the sampler keeps a set K of tokens at each position and
draws from mu(a) = pi(a) / pi(K) for a in K. The rule for everything that compares the two:

- The behaviour log-probability of a token is log mu: what the sampler drew it with, renormalized over K.
- The learner's policy is the full softmax pi. Its ratios between updates (PPO's, DPO's) need no behaviour
  log-probability and are exact.
- The importance weight of `correction` is pi / mu = pi(K), times the rounding between the two engines. It is exact
  where the band of the correction does not cut it off (`kept_at_least`); tokens outside K have no sample and no weight.
- The proof that weights arrived compares log mu with log pi - log pi(K), both the learner's own (`log_kept`).

A KL estimated from such samples covers the kept tokens only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Truncation:
    """Which tokens the sampler keeps at a position: the defaults keep all."""

    top_k: int = 0  # the k likeliest, and those that tie with the last of them; 0 keeps all
    top_p: float = 1.0  # the fewest likeliest tokens whose probabilities sum to top_p or more
    min_p: float = 0.0  # tokens with at least min_p times the probability of the likeliest

    @property
    def active(self) -> bool:
        """Whether any token can be cut off."""
        return self.top_k > 0 or self.top_p < 1 or self.min_p > 0

    @property
    def kept_at_least(self) -> float:
        """A lower bound of pi(K) that holds for every distribution: top_p, or 0 if top_k or min_p is also set."""
        return 0.0 if self.top_k > 0 or self.min_p > 0 else self.top_p

    def log_kept(self, logits: Tensor) -> Tensor:
        """log pi(K) of each row: (N, V) temperature-scaled logits to (N,), at most 0.

        In the order of vLLM: min-p on the whole distribution, then top-k, then top-p on what the two have left,
        renormalized (`vllm/v1/sample/sampler.py`; top-p is arXiv:1904.09751, min-p arXiv:2407.01082).
        """
        logits = logits.float()
        kept = logits
        if self.min_p > 0:
            floor = logits.amax(dim=-1, keepdim=True) + math.log(self.min_p)
            kept = kept.masked_fill(kept < floor, -math.inf)
        if 0 < self.top_k < logits.shape[-1]:
            last = kept.topk(self.top_k, dim=-1).values[:, -1:]
            kept = kept.masked_fill(kept < last, -math.inf)
        if self.top_p < 1:
            ascending = kept.sort(dim=-1).values
            below = ascending.softmax(dim=-1).cumsum(dim=-1) <= 1 - self.top_p
            below[:, -1] = False
            kept = ascending.masked_fill(below, -math.inf)
        return (kept.logsumexp(dim=-1) - logits.logsumexp(dim=-1)).clamp(max=0.0)


ALL_TOKENS = Truncation()
"""Sampling that cuts nothing off."""
