"""What truncated sampling keeps, against the warpers of transformers and a loop over tokens."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LogitsProcessorList, MinPLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from rl.truncation import Truncation

ROWS = st.lists(st.floats(-8, 8, width=32), min_size=2, max_size=12, unique=True)


def kept_by_transformers(logits: torch.Tensor, truncation: Truncation) -> torch.Tensor:
    """log pi(K) from the logits that transformers' own warpers leave, in vLLM's order."""
    warpers = LogitsProcessorList()
    if truncation.min_p > 0:
        warpers.append(MinPLogitsWarper(truncation.min_p))
    if truncation.top_k > 0:
        warpers.append(TopKLogitsWarper(truncation.top_k))
    if truncation.top_p < 1:
        warpers.append(TopPLogitsWarper(truncation.top_p))
    warped = warpers(torch.zeros(len(logits), 1, dtype=torch.long), logits.clone())
    probabilities = logits.softmax(dim=-1)
    return (probabilities * warped.isfinite()).sum(dim=-1).log()


@pytest.mark.parametrize("top_k", [0, 1, 3, 50, 1000])
@pytest.mark.parametrize("top_p", [1.0, 0.95, 0.4, 1e-6])
@pytest.mark.parametrize("min_p", [0.0, 0.02, 0.3, 1.0])
def test_the_kept_probability_equals_transformers_warpers(top_k: int, top_p: float, min_p: float) -> None:
    logits = torch.randn(64, 200, generator=torch.Generator().manual_seed(1)) * 3
    truncation = Truncation(top_k, top_p, min_p)
    torch.testing.assert_close(
        truncation.log_kept(logits), kept_by_transformers(logits, truncation), atol=1e-5, rtol=1e-5
    )
    assert truncation.active == (top_k > 0 or top_p < 1 or min_p > 0)


@given(row=ROWS, top_p=st.floats(0.05, 0.999), top_k=st.integers(0, 14))
def test_the_kept_probability_is_between_its_lower_bound_and_one(row, top_p, top_k) -> None:
    truncation = Truncation(top_k, top_p)
    kept = float(truncation.log_kept(torch.tensor([row])))
    assert math.log(max(truncation.kept_at_least, 1e-30)) - 1e-5 <= kept <= 0


@given(row=ROWS, top_p=st.floats(0.05, 0.95))
def test_top_p_keeps_the_fewest_most_likely_tokens_that_reach_it(row: list[float], top_p: float) -> None:
    total, kept = math.fsum(map(math.exp, row)), 0.0
    sums = []
    for logit in sorted(row, reverse=True):
        kept += math.exp(logit) / total
        sums.append(kept)
    if min(abs(each - top_p) for each in sums) < 1e-5:
        return  # a tie with top_p itself, which rounding decides
    expected = next(each for each in sums if each >= top_p)
    assert math.exp(float(Truncation(top_p=top_p).log_kept(torch.tensor([row])))) == pytest.approx(expected, abs=1e-5)


def test_by_default_all_tokens_are_kept_and_no_rows_are_accepted() -> None:
    assert not Truncation().active
    assert Truncation().log_kept(torch.randn(3, 5)).abs().max() < 1e-6
    assert Truncation(2, 0.5, 0.1).log_kept(torch.zeros(0, 5)).shape == (0,)
