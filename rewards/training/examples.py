"""Training rows to token sequences, with the reward model's own chat template, exactly as the adapters render them.

An example holds what the model reads and, for some positions only, what it should answer there: a label after each
step, every token of a judgement. Whatever is read has no loss.
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

    With soft targets that is so with the probability `shares[k]` (M,), float32 in [0.5, 1], and with the rest of it
    `others[k]` (M,), int32, is.
    """

    ids: np.ndarray
    positions: np.ndarray
    targets: np.ndarray
    others: np.ndarray | None = None
    shares: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def counted(self) -> int:
        """Predictions that the loss counts."""
        return len(self.positions)


@dataclass(frozen=True)
class Pair:
    """Two whole conversations as ids (L,) int32, the better one first."""

    chosen: np.ndarray
    rejected: np.ndarray

    def __len__(self) -> int:
        """Tokens of the longer one."""
        return max(len(self.chosen), len(self.rejected))

    @property
    def counted(self) -> int:
        """One comparison."""
        return 1


def mark_signs(
    template: ChatTemplate, rows: Sequence[Signs], labels: Sequence[str], system: str | None, history: History
) -> list[Marked]:
    """Conversations of steps, their labels to be predicted where the assistant's turns begin; nothing else counts.

    `system` is the text of the system turn where a row brings none. What the model reads in earlier assistant turns
    is the row's `labels`, as in plain fine-tuning, or always the `positive` label, as in scoring. To be predicted are a
    row's shares where it has them, else its labels. Raises ValueError where a label is not one token.
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
    """The likelier labels' ids; for soft targets also the others' ids, and the probabilities of the likelier."""
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
    """Judgements to be written after `prompt`, filled in as `rewards.judges` does; the end of the turn counts too.

    Raises ValueError for a template whose turns do not begin as its generation prompt does.
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
                f"the chat template of {template.name} opens an assistant's turn otherwise than its generation prompt"
            )
        ids = np.array(whole.ids, dtype=np.int32)
        positions = np.arange(start - 1, len(ids) - 1, dtype=np.int32)
        examples.append(Marked(ids[:-1], positions, ids[start:]))
    return examples


def asked_otherwise(row: Judgement, prompt: str, system: str | None) -> str | None:
    """Which part of a row's own conversation `prompt` and `system` do not make: `system turn` or `prompt`, or None.

    None too for a comparison, which is put into `prompt`. A user turn comes of `prompt` where it has its fixed texts in
    their order, whatever stands between them.
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
