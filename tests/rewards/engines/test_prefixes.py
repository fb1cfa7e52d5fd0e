"""Sequences that begin alike: the common beginning is computed once and no number changes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    AutoModel,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    Qwen2Config,
    Qwen3Config,
)

from rewards.engines.prefixes import LEAST_SAVED, Family, can_share, families
from rewards.engines.transformers import at_positions

SMALL = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "pad_token_id": 0,
    "initializer_range": 0.3,
}
GROUPED = {**SMALL, "num_key_value_heads": 2}


def make(config) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoModel.from_config(config, attn_implementation="sdpa").float().eval()


@pytest.fixture(scope="module")
def llama():
    return make(LlamaConfig(**GROUPED))


def alone(decoder, sequences, positions) -> list[torch.Tensor]:
    """The naive way: every sequence whole, by itself."""
    with torch.no_grad():
        return [
            decoder(torch.tensor([list(ids)])).last_hidden_state[0, list(places)]
            for ids, places in zip(sequences, positions, strict=True)
        ]


def watched(decoder, sequences, positions, share) -> tuple[int, list[torch.Tensor]]:
    """How many tokens, padding included, go through the decoder, and what is read there."""
    counted = []

    def count(module, args, given):
        counted.append(given["input_ids"].numel())

    hook = decoder.register_forward_pre_hook(count, with_kwargs=True)
    found = at_positions(decoder, sequences, positions, torch.Tensor.float, batch_tokens=1000, share=share)
    hook.remove()
    return sum(counted), found


short = st.lists(st.integers(1, 3), min_size=1, max_size=6)


@st.composite
def rollouts(draw) -> list[list[int]]:
    """Groups of sequences after a common prompt, shuffled, with all sorts of coincidences between them."""
    prompts = draw(st.lists(st.lists(st.integers(1, 9), max_size=12), min_size=1, max_size=4))
    sequences = [prompt + rest for prompt in prompts for rest in draw(st.lists(short, min_size=1, max_size=5))]
    return draw(st.permutations(sequences))


@settings(max_examples=200, deadline=None)
@given(sequences=rollouts())
def test_every_sequence_is_in_one_family_whose_prefix_it_has_and_outlasts(sequences):
    found = families(sequences)
    assert sorted(index for family in found for index in family.members) == list(range(len(sequences)))
    for family in found:
        beginnings = {tuple(sequences[index][: family.length]) for index in family.members}
        assert len(beginnings) == 1
        assert all(len(sequences[index]) > family.length for index in family.members)


@settings(max_examples=200, deadline=None)
@given(sequences=rollouts(), length=st.integers(1, 14))
def test_the_families_save_at_least_as_much_as_prefixes_of_any_one_length(sequences, length):
    beginnings = [tuple(ids[:length]) for ids in sequences if len(ids) > length]
    saved = length * (len(beginnings) - len(set(beginnings)))
    assert sum(family.saved for family in families(sequences)) >= saved


def test_a_beginning_common_to_all_does_not_hide_the_longer_ones_of_each_group():
    system, one, other = [1] * 5, [2] * 20, [3] * 20
    sequences = [system + problem + [number] * 3 for number in (7, 8, 9) for problem in (one, other)]
    assert sorted(families(sequences), key=lambda family: family.members) == [
        Family((0, 2, 4), 25),
        Family((1, 3, 5), 25),
    ]


@settings(max_examples=80, deadline=None)
@given(sequences=rollouts(), data=st.data(), budget=st.sampled_from([1, 20, 60, 10000]))
def test_states_are_those_of_each_sequence_alone_wherever_they_are_read(llama, sequences, data, budget):
    positions = [data.draw(st.lists(st.integers(0, len(ids) - 1), max_size=4)) for ids in sequences]
    found = at_positions(llama, sequences, positions, torch.Tensor.float, batch_tokens=budget, share=True)
    for states, expected in zip(found, alone(llama, sequences, positions), strict=True):
        torch.testing.assert_close(states, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("config", "shares"),
    [
        (LlamaConfig(**GROUPED), True),
        (LlamaConfig(**GROUPED, rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}), True),
        (Qwen2Config(**GROUPED), True),
        (Qwen3Config(**GROUPED, head_dim=8), True),
        (Phi3Config(**GROUPED), True),
        (GPTNeoXConfig(**SMALL), True),
        (MistralConfig(**GROUPED, sliding_window=None), True),
        (MistralConfig(**GROUPED, sliding_window=8), False),
        (Qwen2Config(**GROUPED, use_sliding_window=True, sliding_window=8, max_window_layers=1), False),
        (GPT2Config(vocab_size=50, n_embd=32, n_layer=2, n_head=4), False),
    ],
)
def test_only_a_decoder_that_can_continue_a_prefix_shares_it_and_the_numbers_are_the_same(config, shares):
    decoder = make(config)
    sequences = [[5] * 20 + [number] * (number + 1) for number in range(1, 7)]
    positions = [[0, 19, len(ids) - 1] for ids in sequences]
    counted, found = watched(decoder, sequences, positions, share=can_share(decoder))
    assert can_share(decoder) is shares
    assert (counted < 100) is shares
    for states, expected in zip(found, alone(decoder, sequences, positions), strict=True):
        torch.testing.assert_close(states, expected, atol=1e-5, rtol=1e-5)


def test_a_prefix_that_saves_little_is_not_shared(llama):
    rest = [[number] * 30 for number in range(1, 5)]
    few = int(LEAST_SAVED * 30) // 2
    for length, saved in ((few, False), (60, True)):
        sequences = [[9] * length + ids for ids in rest]
        counted, _ = watched(llama, sequences, [[0]] * 4, share=True)
        assert counted == (length + 4 * 30 if saved else 4 * (length + 30))


def test_in_bf16_the_numbers_are_close(llama):
    decoder = make(LlamaConfig(**GROUPED)).bfloat16()
    sequences = [[5] * 20 + [number] * 4 for number in range(1, 7)]
    positions = [[19, 23]] * 6
    found = at_positions(decoder, sequences, positions, torch.Tensor.float, batch_tokens=1000, share=True)
    for states, expected in zip(found, alone(llama, sequences, positions), strict=True):
        torch.testing.assert_close(states, expected, atol=0.2, rtol=0)
