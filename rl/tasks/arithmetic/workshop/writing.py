"""Turn conversations into training sequences: the world's chat template, with a target and a weight per token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

from transformers import PreTrainedTokenizerBase

from rewards.training.causal import Example

LANGUAGE = 0.1
"""Weight of a token learned as language, relative to a label."""
MARK = 0.2
"""Weight of a token's auxiliary label, relative to a step's label."""
OUTCOME_MARK = 0.1
"""The same for an outcome reward model. It is lower because there is only one label per solution, but many marks."""


@dataclass(frozen=True)
class Writer:
    """Turns stories and solutions into token sequences of the world's chat template."""

    tokenizer: PreTrainedTokenizerBase
    _ids: dict[str, int] = field(default_factory=dict)

    @cached_property
    def signs(self) -> tuple[int, int]:
        """The ids of `+` and `-`."""
        plus, minus = self.tokenizer.convert_tokens_to_ids(["+", "-"])
        return plus, minus

    @cached_property
    def marks(self) -> tuple[int, int, int, int]:
        """The ids of the beginning, the user's turn, the assistant's turn and the end of a turn."""
        bos, user, assistant, end = self.tokenizer.convert_tokens_to_ids(
            ["<|bos|>", "<|user|>", "<|assistant|>", "<|end|>"]
        )
        return bos, user, assistant, end

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of plain texts, without special tokens."""
        return self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]

    def answer(self, problem: list[int], solution: list[int]) -> Example:
        """The policy's turn. All tokens of the solution and the end of the turn have the same weight."""
        bos, user, assistant, end = self.marks
        ids = [bos, user, *problem, end, assistant, *solution, end]
        start = len(problem) + 3
        return Example(ids, [*ids[1:], 0], [0.0] * start + [1.0] * (len(solution) + 1) + [0.0])

    def judged_steps(
        self,
        contents: Sequence[list[int]],
        prefix: int,
        verdicts: Sequence[bool],
        marks: Sequence[Sequence[bool]] = (),
        mark: float = MARK,
        language: float = LANGUAGE,
    ) -> Example:
        """A process reward model's conversation. Turn k is step k; its label is predicted at the assistant's turn.

        `prefix` is the length of the problem within the first content. `marks` has an auxiliary label of weight `mark`
        for every content token: is everything right so far? Without marks, right steps are also learned as language,
        with weight `language`.
        """
        bos, user, assistant, end = self.marks
        plus, minus = self.signs
        ids, targets, weights = [bos], [user], [0.0]
        for turn, (content, right) in enumerate(zip(contents, verdicts, strict=True)):
            skipped = prefix if turn == 0 else 0
            sign = plus if right else minus
            ids += [user, *content, end, assistant, plus, end]
            if marks:
                inner = [plus if right_so_far else minus for right_so_far in marks[turn]]
                targets += [user, *[user] * skipped, *inner, sign, sign, end, user]
                weights += [0.0, *[0.0] * skipped, *[mark] * (len(content) - skipped), 0.0, 1.0, 0.0, 0.0]
            else:
                targets += [*content, end, assistant, sign, end, user]
                weights += [0.0] * skipped + [language if right else 0.0] * (len(content) - skipped)
                weights += [0.0, 0.0, 1.0, 0.0, 0.0]
        return Example(ids, targets, weights)

    def judged_outcome(
        self,
        content: list[int],
        right: bool,
        steps: Sequence[tuple[int, bool]],
        language: Sequence[float],
        marks: Sequence[bool] = (),
    ) -> Example:
        """An outcome reward model's conversation: one turn, one label.

        `steps` has the position of each step's last token in `content`, with its verdict: auxiliary labels that are not
        used at inference. `language` is each content token's weight as language. `marks` has an auxiliary label for
        every token of the solution, which is the end of `content`: is everything right so far?
        """
        bos, user, assistant, end = self.marks
        plus, minus = self.signs
        ids = [bos, user, *content, end, assistant, plus, end]
        targets = [user, *content, end, assistant, plus if right else minus, end, 0]
        weights = [0.0, *language, 0.0, 0.0, 1.0, 0.0, 0.0]
        for position, right_so_far in enumerate(marks, start=len(content) - len(marks) + 2):
            targets[position], weights[position] = (plus if right_so_far else minus), OUTCOME_MARK
        for position, verdict in steps:
            targets[position + 2], weights[position + 2] = (plus if verdict else minus), 0.5
        return Example(ids, targets, weights)
