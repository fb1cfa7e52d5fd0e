"""Scored rollouts from texts, for any policy tokenizer, and step rewards made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from hypothesis import settings
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from rewards.types import FinishReason, Problem, Score, Span
from rl.alignment import pad_rollout, place_steps
from rl.credit.steps import StepRewards
from rl.policy import decode
from rl.types import AnswerGroup, Sample, Scored

few = settings(max_examples=40, deadline=None)
"""For tests of small tensors: enough cases, and no clock, since the machine may be busy."""


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer with one token a byte, and an end-of-turn token."""
    alphabet = {byte: index for index, byte in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", clean_up_tokenization_spaces=False)


def sample(
    tokenizer: Any, text: str, prompt: int = 2, reason: FinishReason = "stop", keep: int | None = None
) -> Sample:
    """A response as drawn: its first `keep` tokens, and the end-of-turn token where it stopped by itself."""
    ids = tuple(tokenizer.encode(text, add_special_tokens=False))[:keep]
    ids += (tokenizer.eos_token_id,) if reason == "stop" else ()
    return Sample((1,) * prompt, ids, (0.0,) * len(ids), decode(tokenizer, ids), reason, 0)


def scored(tokenizer: Any, samples: Sequence[Sequence[Sample]], scores: Sequence[Sequence[Score]]) -> Scored:
    """The groups as a scored rollout, padded."""
    groups = [
        AnswerGroup.drawn(Problem(f"p{number}", "?"), drawn).with_scores(of)
        for number, (drawn, of) in enumerate(zip(samples, scores, strict=True))
    ]
    return Scored(groups, pad_rollout(groups, pad_id=0), place_steps(groups, tokenizer))


def lines(text: str) -> list[Span]:
    """The spans of the lines of `text`, empty ones too."""
    spans, start = [], 0
    for line in text.split("\n"):
        spans.append((start, start + len(line)))
        start += len(line) + 1
    return spans


def stepped(text: str, values: Sequence[float]) -> Score:
    """A score with these values for the lines of `text`."""
    return Score.of(min(values), steps=values, spans=lines(text))


def steps_of(rows: Sequence[Sequence[tuple[float, int]]], dtype: torch.dtype = torch.float64) -> StepRewards:
    """Step rewards from (value, column) pairs."""
    width = max(1, *(len(row) for row in rows))
    values, columns = torch.zeros(len(rows), width, dtype=dtype), torch.zeros(len(rows), width, dtype=torch.int64)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for index, row in enumerate(rows):
        for place, (value, column) in enumerate(row):
            values[index, place], columns[index, place], mask[index, place] = value, column, True
    return StepRewards(values, columns, mask)
