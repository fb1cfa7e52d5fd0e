"""Scalar reward models that compare a response with a reference solution: POLAR (arXiv 2507.05197).

The input is plain text: BOS, problem, newline, reference, separator, problem, newline, response, and a last token, at
which the head is read. The better the response fits the reference, the larger the value; it is the raw number. As in
the authors' reward function, thoughts (`<think>...</think>`) are cut out of the response. Messages of a prompt are
joined by newlines without their roles. The authors' client cuts long inputs; here they fail their scores.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import Tensor

from rewards.chat import load_tokenizer
from rewards.engines.checkpoint import Checkpoint
from rewards.engines.heads import LayerHead
from rewards.engines.options import EngineName, ModelOptions, Precision
from rewards.model_reward import ModelReward, Prompt
from rewards.protocol import Pair
from rewards.raw_text import PlainTokenizer, half_character, ids_of, named_token
from rewards.types import Problem, Score

ANSWER = "answer"
_THOUGHT = re.compile(r"<think>.*?</think>(.*)", re.DOTALL)


class ReferenceReward(ModelReward):
    """The head's number for a response next to its problem's reference solution.

    reference: the field of the problem that holds the reference solution: `answer`, or a field of its metadata. A
    problem without it gets failed scores.
    separator, end_token: the tokens between the two texts and at the end, by their texts; one token each.
    head: names of the head's linear layers in the checkpoint, with a ReLU between each two.
    The other options are those of `rewards.engines.options.ModelOptions`. Raises ValueError for a set-up that cannot
    work.
    """

    part_names = frozenset[str]()
    ends_only = True

    def __init__(
        self,
        model: str,
        *,
        reference: str = ANSWER,
        separator: str = "<|reward|>",
        end_token: str = "[UNUSED_TOKEN_130]",
        head: Sequence[str] = ("v_head",),
        dtype: Precision = "fp32",
        device: str = "auto",
        max_tokens: int | None = None,
        batch_tokens: int | None = None,
        engine: EngineName = "transformers",
        gpu_memory: float = 0.4,
    ) -> None:
        options = ModelOptions(
            dtype=dtype,
            device=device,
            max_tokens=max_tokens,
            batch_tokens=batch_tokens,
            engine=engine,
            gpu_memory=gpu_memory,
        )
        self.reference = reference
        checkpoint = Checkpoint(model, "")
        found = LayerHead(checkpoint, head, 1)
        tokenizer = load_tokenizer(model)
        self.plain = PlainTokenizer(tokenizer, separator + end_token)
        self.separator_id = named_token(tokenizer, separator, "separator")
        self.end_id = named_token(tokenizer, end_token, "end_token")
        super().__init__(checkpoint, options, found)

    def prompts(self, pairs: Sequence[Pair]) -> list[Prompt | str]:
        """See ModelReward; a problem without a reference has no prompt, and neither has an empty response."""
        references = [self._reference(problem) for problem, _ in pairs]
        answers = [without_thought(response.text) for _, response in pairs]
        questions = ["\n".join(message["content"] for message in problem.messages) for problem, _ in pairs]
        found: list[Prompt | str] = [
            f"the problem has no {self.reference}" if reference is None else "the response is empty"
            for reference in references
        ]
        ready = []
        for index, (reference, answer) in enumerate(zip(references, answers, strict=True)):
            if reference is not None and answer.strip():
                if fault := half_character(questions[index] + reference + answer):
                    found[index] = fault
                else:
                    ready.append(index)
        first = ids_of(self.plain.opening, [f"{questions[index]}\n{references[index]}" for index in ready])
        second = ids_of(self.plain.inside, [f"{questions[index]}\n{answers[index]}" for index in ready])
        for index, left, right in zip(ready, first, second, strict=True):
            ids = [*self.plain.bos_ids, *left, self.separator_id, *right, self.end_id]
            found[index] = Prompt(ids, [len(ids) - 1])
        return found

    def scores(self, prompts: Sequence[Prompt], read: Sequence[Tensor]) -> list[Score]:
        """See ModelReward."""
        return [Score.of(value.item()) for value in read]

    def _reference(self, problem: Problem) -> str | None:
        """The reference solution; None if there is none."""
        found = problem.answer if self.reference == ANSWER else problem.metadata.get(self.reference)
        return str(found) if found not in (None, "") else None


def without_thought(text: str) -> str:
    """What follows the first closed thought, stripped; the text as it is if there is none."""
    match = _THOUGHT.search(text)
    return match[1].strip() if match else text
