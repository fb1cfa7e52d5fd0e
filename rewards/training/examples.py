"""Turn training rows into token sequences with the model's own chat template, exactly as the rewards render them.

An example is what the model reads and, for some positions only, what it should predict there: a label after each step,
every token of a judgement. There is no loss on the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rewards.chat import ChatTemplate, Turn
from rewards.training.row_formats import Judgement, Preference, Signs, Turns
from rewards.verdicts import Comparison, fill

History = Literal["labels", "positive"]
_HOLE = "\0"


@dataclass(frozen=True)
class Marked:
    """One sequence: `targets[k]` (M,) is to be predicted at position `positions[k]` (M,) of `ids` (L,); all int32.

    With soft targets, `targets[k]` has probability `shares[k]` (M,), float32 in [0.5, 1], and `others[k]` (M,), int32,
    has the rest.
    """

    ids: np.ndarray
    positions: np.ndarray
    targets: np.ndarray
    others: np.ndarray | None = None
    shares: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def loss_terms(self) -> int:
        """The number of predictions in the loss."""
        return len(self.positions)


@dataclass(frozen=True)
class Pair:
    """Two whole conversations as ids (L,) int32, the better one first."""

    chosen: np.ndarray
    rejected: np.ndarray

    def __len__(self) -> int:
        """The number of tokens of the longer one."""
        return max(len(self.chosen), len(self.rejected))

    @property
    def loss_terms(self) -> int:
        """A pair is one term of the loss."""
        return 1


def mark_signs(
    template: ChatTemplate, rows: Sequence[Signs], labels: Sequence[str], system: str | None, history: History
) -> list[Marked]:
    """Conversations of steps; the loss is on the labels only, at the start of each assistant turn.

    `system` is the text of the system turn for rows without one. With history `labels`, the model reads the row's own
    labels in earlier assistant turns, as in plain fine-tuning; with `positive`, always the positive label, as in
    scoring. The targets are the row's shares if it has them, else its labels. Raises ValueError if a label is not one
    token.
    """
    numbers = dict(zip(labels, template.label_ids(labels), strict=True))
    conversations = []
    for row in rows:
        head = row.system if row.system is not None else system
        turns = [*([] if head is None else [Turn("system", head)]), *row.earlier]
        for user, label in zip(row.users, row.labels, strict=True):
            read = label if history == "labels" else labels[0]
            turns += [Turn("user", user), Turn("assistant", read, True)]
        conversations.append(turns)
    return [
        Marked(
            np.array(one.ids[: one.positions[-1] + 1], dtype=np.int32),
            np.array(one.positions, dtype=np.int32),
            *_targets(row, numbers, labels),
        )
        for one, row in zip(template.render(conversations), rows, strict=True)
    ]


def _targets(row: Signs, numbers: Mapping[str, int], labels: Sequence[str]) -> list[np.ndarray]:
    """The ids of the more likely labels; for soft targets also those of the others, and the former's probabilities."""
    if row.shares is None:
        return [np.array([numbers[label] for label in row.labels], dtype=np.int32)]
    positive, negative = (numbers[label] for label in labels)
    shares = np.array(row.shares, dtype=np.float32)
    likely = shares >= 0.5
    return [
        np.where(likely, positive, negative).astype(np.int32),
        np.where(likely, negative, positive).astype(np.int32),
        np.maximum(shares, 1 - shares),
    ]


def mark_judgements(template: ChatTemplate, rows: Sequence[Judgement], prompt: str, system: str | None) -> list[Marked]:
    """Judgements to generate after `prompt`, filled in as `rewards.judges` does; the loss includes the end of the turn.

    Raises ValueError for a template whose assistant turns do not begin with its generation prompt.
    """
    asked: list[list[Turn]] = []
    for row in rows:
        if isinstance(row.asked, Comparison):
            head = [] if system is None else [Turn("system", system)]
            asked.append([*head, Turn("user", fill(prompt, row.asked))])
        else:
            asked.append(list(row.asked))
    prompts = template.render(asked, generation_prompt=True)
    wholes = template.render([[*turns, Turn("assistant", row.written)] for turns, row in zip(asked, rows, strict=True)])
    examples = []
    for before, whole in zip(prompts, wholes, strict=True):
        start = len(before.ids)
        if whole.ids[:start] != before.ids:
            raise ValueError(
                f"the chat template of {template.name} does not begin an assistant turn with its generation prompt"
            )
        ids = np.array(whole.ids, dtype=np.int32)
        positions = np.arange(start - 1, len(ids) - 1, dtype=np.int32)
        examples.append(Marked(ids[:-1], positions, ids[start:]))
    return examples


def prompt_mismatch(row: Judgement, prompt: str, system: str | None) -> str | None:
    """Which part of a row's conversation does not match the options: `system turn`, `prompt`, or None if both match.

    A comparison always matches, since it is put into `prompt`. A user turn matches `prompt` if it contains the fixed
    parts of `prompt` in order, with any text between them.
    """
    if isinstance(row.asked, Comparison):
        return None
    *head, user = row.asked
    if [(turn.role, turn.content) for turn in head] != ([] if system is None else [("system", system)]):
        return "system turn"
    first, *between, last = fill(prompt, Comparison(_HOLE, _HOLE, _HOLE)).split(_HOLE)
    text = user.content
    if user.role != "user" or not text.startswith(first):
        return "prompt"
    place = len(first)
    for fixed in between:
        found = text.find(fixed, place)
        if found < 0:
            return "prompt"
        place = found + len(fixed)
    return None if text.endswith(last) and place <= len(text) - len(last) else "prompt"


def pair_ids(template: ChatTemplate, rows: Sequence[Preference]) -> list[Pair]:
    """Both conversations of each pair as ids."""
    chosen = conversation_ids(template, [row.chosen for row in rows])
    rejected = conversation_ids(template, [row.rejected for row in rows])
    return [Pair(better, worse) for better, worse in zip(chosen, rejected, strict=True)]


def conversation_ids(template: ChatTemplate, conversations: Sequence[Turns]) -> list[np.ndarray]:
    """Whole conversations as ids (L,) int32, up to the end of the last turn."""
    return [np.array(one.ids, dtype=np.int32) for one in template.render(conversations)]
