"""Packed rows against one row at a time: the same tokens, the same log-probabilities, the same gradients."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

import rl.learner.forward
from rl.learner.attention import SHARED_PROMPTS
from rl.learner.forward import read_logprobs, reads_packed_rows
from rl.learner.packing import packed, prompt_groups, prompt_lengths
from rl.types import TrainBatch
from tests.rl.conftest import random_batch
from tests.rl.learner import reference

GROUPS = st.lists(
    st.tuples(st.integers(1, 6), st.lists(st.integers(0, 7), min_size=1, max_size=4)), min_size=1, max_size=4
)


def batch_of(groups: list[tuple[int, list[int]]]) -> TrainBatch:
    """Random tokens: for each group the length of its prompt and of its responses. No two prompts are equal."""
    width = max(prompt + max(responses) for prompt, responses in groups)
    ids, attention, response = [], [], []
    generator = torch.Generator().manual_seed(1)
    for number, (prompt, responses) in enumerate(groups):
        question = torch.randint(10, 300, (prompt,), generator=generator)
        question[0] = number
        for length in responses:
            answer = torch.randint(10, 300, (width,), generator=generator)
            ids.append(torch.cat([question, answer])[:width])
            attention.append(torch.arange(width) < prompt + length)
            response.append(attention[-1] & (torch.arange(width) >= prompt))
    mask = torch.stack(attention)
    return TrainBatch(torch.stack(ids) * mask, mask, torch.stack(response), torch.zeros(mask.shape))


def model_with(folder: Path, **keys: object) -> nn.Module:
    config = AutoConfig.from_pretrained(folder, **keys)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, attn_implementation=SHARED_PROMPTS, dtype=torch.float32)
    reads_packed_rows(model, read_logprobs)
    return model.eval()


@given(GROUPS)
@settings(max_examples=30, deadline=None)
def test_a_prompt_is_read_once_and_every_response_token_is_predicted_once(groups: list[tuple[int, list[int]]]) -> None:
    batch = batch_of(groups)
    rows = packed(batch)
    assert rows.input_ids.numel() == sum(prompt + sum(responses) for prompt, responses in _merged(groups, batch))
    assert len(rows.targets) == int(batch.response_mask.sum())
    back = rows.spread(rows.targets.float())
    assert torch.equal(back, batch.input_ids * batch.response_mask)
    ids, positions = rows.input_ids[0], rows.position_ids[0]
    for row, (start, length) in enumerate(zip(prompt_lengths(batch), batch.attention_mask.sum(1), strict=True)):
        places = torch.cat([rows.prompts[rows.prompt_of[row], :start], rows.responses[row, : length - start]])
        assert torch.equal(ids[places], batch.input_ids[row, :length])
        assert torch.equal(positions[places], torch.arange(int(length)))


def _merged(groups: list[tuple[int, list[int]]], batch: TrainBatch) -> list[tuple[int, list[int]]]:
    """A row without a response is all prompt, so it may be a prompt of its own or that of its group."""
    starts, numbers = prompt_lengths(batch).tolist(), prompt_groups(batch).tolist()
    lengths = batch.attention_mask.sum(1).tolist()
    found: dict[int, tuple[int, list[int]]] = {}
    for start, number, length in zip(starts, numbers, lengths, strict=True):
        found.setdefault(number, (start, []))[1].append(length - start)
    assert sum(len(responses) for _, responses in found.values()) == sum(len(responses) for _, responses in groups)
    return list(found.values())


@pytest.mark.parametrize("keys", [{}, {"num_key_value_heads": 1}, {"tie_word_embeddings": True}])
@given(GROUPS)
@settings(max_examples=10, deadline=None)
def test_log_probabilities_equal_those_of_one_row_at_a_time(
    policy_folder: Path, keys: dict[str, object], groups: list[tuple[int, list[int]]]
) -> None:
    model, batch = model_with(policy_folder, **keys), batch_of(groups)
    rows = packed(batch)
    with torch.no_grad():
        found = rows.spread(model(packed_rows=rows, temperature=0.7))
        expected = reference.token_logprobs(model, batch, 0.7)
    assert float((found - expected).abs().max()) < 2e-5


@pytest.mark.parametrize("logit_bytes", [rl.learner.forward.LOGIT_BYTES, 4 * 1024 * 3])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_equal_those_of_one_row_at_a_time(
    policy_folder: Path, monkeypatch: pytest.MonkeyPatch, logit_bytes: int, checkpointing: bool
) -> None:
    """Also with the head in chunks, and with activations that are computed again."""
    monkeypatch.setattr(rl.learner.forward, "LOGIT_BYTES", logit_bytes)
    model, batch = model_with(policy_folder), random_batch(9, seed=3, shared=True)
    weights = torch.randn(batch.input_ids.shape, generator=torch.Generator().manual_seed(2))
    (reference.token_logprobs(model, batch, 1.0) * weights).sum().backward()
    expected = {name: value.grad.clone() for name, value in model.named_parameters()}
    model.zero_grad()
    if checkpointing:
        model.gradient_checkpointing_enable()
        model.train()
    rows = packed(batch)
    (rows.spread(model(packed_rows=rows)) * weights).sum().backward()
    for name, value in model.named_parameters():
        scale = float(expected[name].abs().max())
        assert float((value.grad - expected[name]).abs().max()) < 2e-5 * max(1.0, scale), name


def test_rows_without_a_response_have_zero_gradients(policy_folder: Path) -> None:
    """What a rank does that has no rows of its own: it keeps step, and adds nothing."""
    model, batch = model_with(policy_folder), random_batch(3, seed=3).select([1])
    model(packed_rows=packed(batch)).sum().backward()
    assert all(value.grad is not None and not value.grad.any() for value in model.parameters())


def test_a_sliding_window_shorter_than_a_row_is_refused(policy_folder: Path) -> None:
    from rl.learner.attention import shared_prompt_attention

    rows = packed(random_batch(3, seed=3))
    tensor = torch.zeros(1, 2, rows.input_ids.numel(), 4)
    with pytest.raises(ValueError, match="a sliding window of 8 tokens is shorter than a row"):
        shared_prompt_attention(nn.Module(), tensor, tensor, tensor, None, packed_rows=rows, sliding_window=8)
