"""Scored rollouts made by hand."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from rewards.types import FinishReason, Problem, Score
from rl.alignment import pad_rollout, place_steps
from rl.types import AnswerGroup, Sample, Scored
from tests.tiny import make_tokenizer


def scored_batch(
    scores: Sequence[Sequence[Score]], texts: Sequence[Sequence[str]] | None = None, cut: Sequence[int] = ()
) -> Scored:
    """These scores with the batch that goes with them: responses of three tokens, or of `texts`.

    Rows in `cut` were cut at the length limit. The second token of each row is its number. Old and reference
    log-probabilities and values are 0 until set.
    """
    tokenizer = make_tokenizer()
    groups, row = [], 0
    for group, scored_group in enumerate(scores):
        drawn = []
        for place, _ in enumerate(scored_group):
            text = texts[group][place] if texts else "abc"
            ids = tuple(tokenizer(text, add_special_tokens=False)["input_ids"]) if texts else (7, 8, 9)
            reason: FinishReason = "length" if row in cut else "stop"
            drawn.append(Sample((1, row), ids, (0.0,) * len(ids), text, reason, 0))
            row += 1
        groups.append(AnswerGroup.drawn(Problem(f"p{group}", "1 + 1?"), drawn).with_scores(scored_group))
    batch = pad_rollout(groups, pad_id=0)
    batch.old_logprobs = torch.zeros_like(batch.behaviour_logprobs)
    batch.reference_logprobs = torch.zeros_like(batch.behaviour_logprobs)
    batch.values = torch.zeros_like(batch.behaviour_logprobs)
    stepped = all(score.steps is not None for group in scores for score in group if score.ok)
    return Scored(groups, batch, place_steps(groups, tokenizer) if stepped else None)
