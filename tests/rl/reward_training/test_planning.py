from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaForCausalLM

from rl.reward_training.planning import lay_out, plan_micros, plan_training
from rl.reward_training.settings import TrainingSettings
from tests.tiny import make_llama, make_tokenizer

SETTINGS = TrainingSettings(
    learning_rate=1e-3, batch_sequences=4, max_tokens=40, micro_batch_tokens=64, epochs=2, ranks=2
)
LENGTHS = [5, 40, 12, 33, 8, 21, 17, 3, 28, 9]


@pytest.mark.parametrize("layout", ["balanced", "packed"])
def test_an_epoch_takes_every_row_once_and_ranks_stay_in_lockstep(layout):
    plan = plan_training(LENGTHS, [1] * 10, SETTINGS, 7, layout)
    assert [step.sequences for step in plan] == [4, 4, 2] * 2
    for epoch in (plan[:3], plan[3:]):
        rows = [row for step in epoch for rank in step.micros for micro in rank for row in micro]
        assert sorted(rows) == list(range(10))
    assert all(len(step.micros[0]) == len(step.micros[1]) for step in plan)


def test_the_plan_is_the_same_for_the_same_seed_and_epochs_differ():
    first, again, other = (plan_training(LENGTHS, [1] * 10, SETTINGS, seed, "packed") for seed in (7, 7, 8))
    assert first == again != other
    assert first[:3] != first[3:]


def test_a_step_by_tokens_holds_what_fits_and_at_least_one_row():
    by_tokens = replace(SETTINGS, batch_sequences=None, batch_tokens=30, epochs=1)
    plan = plan_training(LENGTHS, [2] * 10, by_tokens, 1, "balanced")
    sizes = [[LENGTHS[row] for rank in step.micros for micro in rank for row in micro] for step in plan]
    assert all(sum(size) <= 30 or len(size) == 1 for size in sizes)
    assert sum(step.tokens for step in plan) == 20


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 64), min_size=1, max_size=30), st.integers(1, 3), st.sampled_from(["balanced", "packed"])
)
def test_no_forward_pass_is_larger_than_the_budget(lengths, ranks, layout):
    plan = plan_micros(lengths, list(range(len(lengths))), ranks, 64, layout)
    micros = [micro for rank in plan for micro in rank if micro]
    assert sorted(row for micro in micros for row in micro) == list(range(len(lengths)))
    for micro in micros:
        sizes = [lengths[row] for row in micro]
        assert (len(sizes) * max(sizes) if layout == "balanced" else sum(sizes)) <= 64


@pytest.mark.parametrize("layout", ["balanced", "packed"])
def test_no_sequence_sees_another_one_in_the_same_pass(tmp_path, layout):
    model = LlamaForCausalLM.from_pretrained(make_llama(tmp_path, make_tokenizer())).train()
    generator = torch.Generator().manual_seed(0)
    sequences = [torch.randint(0, 300, (size,), generator=generator).tolist() for size in (9, 4, 7)]
    ids, positions, starts = lay_out(sequences, layout)
    together = model.model(input_ids=ids, position_ids=positions, use_cache=False).last_hidden_state
    for sequence, (row, start) in zip(sequences, starts, strict=True):
        alone = model.model(input_ids=torch.tensor([sequence]), use_cache=False).last_hidden_state[0]
        assert torch.allclose(together[row, start : start + len(sequence)], alone, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"batch_sequences": None}, "only one of them"),
        ({"batch_tokens": 100}, "only one of them"),
        ({"max_tokens": 65}, "lower the first, or raise the second"),
        ({"warmup": 1.0}, "share of the steps"),
    ],
)
def test_settings_that_cannot_work_name_their_key(change, reason):
    with pytest.raises(ValueError, match=reason):
        replace(SETTINGS, **change)
