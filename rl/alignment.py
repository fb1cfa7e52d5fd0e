"""Align characters with tokens, and turn rollouts into padded, token-aligned batches.

A reward refers to spans of characters; the policy is trained on tokens. `token_ends` maps between the two for any
tokenizer, even if one character takes several tokens (byte-level BPE) or special tokens come in between. `pad_rollout`
makes the batch of tensors; `place_steps` finds where in it the steps of a response end.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from tokenizers.decoders import DecodeStream

from rewards.types import Score, Span
from rl.credit.steps import StepRewards
from rl.policy import decode
from rl.types import AnswerGroup, Sample, TrainBatch


def token_ends(tokenizer: Any, ids: Sequence[int]) -> list[int]:
    """For each token, how many characters of the decoded text are complete once it is added.

    The text is `rl.policy.decode(tokenizer, ids)`: special tokens are skipped. A character made of several tokens is
    completed by the last one. The numbers never decrease, and the last is the length of the text.
    """
    if not ids:
        return []
    text = decode(tokenizer, ids)
    ends = _streamed_ends(tokenizer, ids, text)
    if ends is None:
        ends = _cumulative_ends(tokenizer, ids, text)
    ends[-1] = len(text)
    return ends


def last_token_of_spans(ends: Sequence[int], spans: Iterable[Span]) -> list[int]:
    """For each span of characters, the index of the token that completes its last character.

    `ends` comes from `token_ends`. An empty span at character c counts as the character before it (at 0: the first
    token). Raises ValueError for a span beyond the text, or if there are no tokens.
    """
    if not ends:
        raise ValueError("a response without tokens has no token to put a span's reward on")
    tokens = []
    for start, end in spans:
        if not 0 <= start <= end <= ends[-1]:
            raise ValueError(f"span ({start}, {end}) is outside the text of {ends[-1]} characters")
        tokens.append(bisect_left(ends, end))
    return tokens


def pad_rollout(groups: Iterable[AnswerGroup], pad_id: int) -> TrainBatch:
    """All samples of a rollout, group by group, as one right-padded batch: (B, L) with B samples, L the longest.

    `advantages` and the learner's own log-probabilities are left empty. Raises ValueError if there are no samples.
    """
    samples = [sample for group in groups for sample in group.samples]
    if not samples:
        raise ValueError("the rollout has no samples")
    length = max(len(sample.prompt_ids) + len(sample.response_ids) for sample in samples)
    shape = (len(samples), length)
    batch = TrainBatch(
        input_ids=torch.full(shape, pad_id, dtype=torch.int64),
        attention_mask=torch.zeros(shape, dtype=torch.bool),
        response_mask=torch.zeros(shape, dtype=torch.bool),
        behaviour_logprobs=torch.zeros(shape, dtype=torch.float32),
    )
    for row, sample in enumerate(samples):
        _fill_row(batch, row, sample)
    return batch


def place_steps(groups: Sequence[AnswerGroup], tokenizer: Any) -> StepRewards:
    """Every step value of the rollout, with the batch column (of `pad_rollout`) of the token that completes the step.

    One row per answer, in the order of the batch; a failed score has no steps. `tokenizer` is the policy's. Raises
    ValueError, naming the problem, if a score has no step values (an empty list is fine, and counted), if spans do not
    fit the text, or if steps are not in the order of the text.
    """
    scores = [score for group in groups for score in group.scores]
    places = [
        _step_columns(tokenizer, sample, score, group.problem.id) if score.ok else []
        for group in groups
        for sample, score in zip(group.samples, group.scores, strict=True)
    ]
    shape = (len(places), max((1, *map(len, places))))
    steps = StepRewards(torch.zeros(shape), torch.zeros(shape, dtype=torch.int64), torch.zeros(shape, dtype=torch.bool))
    for row, (columns, score) in enumerate(zip(places, scores, strict=True)):
        if columns:
            steps.values[row, : len(columns)] = torch.tensor(score.steps, dtype=torch.float32)
            steps.columns[row, : len(columns)] = torch.tensor(columns)
            steps.mask[row, : len(columns)] = True
    return steps


def _step_columns(tokenizer: Any, sample: Sample, score: Score, problem: str) -> list[int]:
    if score.steps is None or score.spans is None:
        raise ValueError(
            f"problem {problem}: the reward gives no step values, which the algorithm needs for credit to steps: "
            "choose a process reward, or algorithm.credit=outcome"
        )
    if not score.steps:
        return []
    try:
        tokens = last_token_of_spans(token_ends(tokenizer, sample.response_ids), score.spans)
    except ValueError as error:
        raise ValueError(f"problem {problem}: the steps do not fit the response: {error}") from error
    if tokens != sorted(tokens):
        raise ValueError(f"problem {problem}: the reward's steps are not in the order of the text: {score.spans}")
    if sample.loss_mask is not None:
        tokens = [_own_token(sample.loss_mask, token) for token in tokens]
    return [len(sample.prompt_ids) + token for token in tokens]


def _own_token(loss_mask: Sequence[bool], token: int) -> int:
    """The last token up to this one that the policy generated; the policy's first token if there is none before."""
    own = [place for place, drawn in enumerate(loss_mask) if drawn]
    return max((place for place in own if place <= token), default=own[0] if own else token)


def _fill_row(batch: TrainBatch, row: int, sample: Sample) -> None:
    start, end = len(sample.prompt_ids), len(sample.prompt_ids) + len(sample.response_ids)
    batch.input_ids[row, :end] = torch.tensor(sample.prompt_ids + sample.response_ids, dtype=torch.int64)
    batch.attention_mask[row, :end] = True
    own = True if sample.loss_mask is None else torch.tensor(sample.loss_mask, dtype=torch.bool)
    batch.response_mask[row, start:end] = own
    batch.behaviour_logprobs[row, start:end] = torch.tensor(sample.logprobs, dtype=torch.float32) * own


def _streamed_ends(tokenizer: Any, ids: Sequence[int], text: str) -> list[int] | None:
    """Ends from the tokenizer's stream decoder, or None if that does not give the same text."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    stream = DecodeStream(skip_special_tokens=True)
    ends, written = [], ""
    for token in ids:
        written += stream.step(backend, int(token)) or ""
        ends.append(len(written))
    return ends if text.startswith(written) else None


def _cumulative_ends(tokenizer: Any, ids: Sequence[int], text: str) -> list[int]:
    """Ends from decoding every prefix: quadratic, but correct for any tokenizer.

    Only the common prefix with the whole text counts, so the replacement character for a partial character does not.
    """
    ends: list[int] = []
    for count in range(1, len(ids) + 1):
        prefix = decode(tokenizer, ids[:count])
        shared = _shared_length(prefix, text)
        ends.append(max(shared, ends[-1] if ends else 0))
    return ends


def _shared_length(first: str, second: str) -> int:
    for index, (a, b) in enumerate(zip(first, second, strict=False)):
        if a != b:
            return index
    return min(len(first), len(second))
