"""Outcome reward models in RLHFlow's form: the probability that the whole solution is right.

One user turn has the problem, a space and the full solution; the score is P(`+`) as the assistant's answer
(RLHFlow/Llama3.1-8B-ORM-Mistral-Data and -Deepseek-Data). The last user message of a dialogue is the problem, and the
turns before it come first. The published evaluation runs one sequence at a time in bf16; here batches run in `dtype`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from rewards.engines.options import EngineName, ModelOptions, Overlong, Precision
from rewards.labels import LabelReward
from rewards.model_reward import Prompt, prompt_of
from rewards.protocol import Pair
from rewards.types import Problem, Response, Score

EMPTY = "the response is empty"


class OutcomeReward(LabelReward):
    """P(positive label) after the problem and the whole solution, in [0, 1].

    model: folder or hub name of a causal language model with its tokenizer and chat template.
    labels: the positive and the negative label, one token each.
    system: text of a system turn; None keeps the template's default, as the published evaluation does.
    remove: text removed from the solution before scoring, such as `" ки"` for solutions in Math-Shepherd's style.
    overlong: what to do with an input that is too long: `fail` fails its score; `cut` truncates the solution, logs it
    and adds the part `cut` to the score. The other options are those of `rewards.engines.options.ModelOptions`.
    Raises ValueError for a set-up that cannot work.
    """

    ends_only = True

    def __init__(
        self,
        model: str,
        *,
        labels: Sequence[str] = ("+", "-"),
        system: str | None = None,
        remove: str = "",
        dtype: Precision = "fp32",
        device: str = "auto",
        max_tokens: int | None = None,
        batch_tokens: int | None = None,
        overlong: Overlong = "fail",
        engine: EngineName = "transformers",
        gpu_memory: float = 0.4,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        self.remove = remove
        options = ModelOptions(
            dtype=dtype,
            device=device,
            max_tokens=max_tokens,
            batch_tokens=batch_tokens,
            overlong=overlong,
            engine=engine,
            gpu_memory=gpu_memory,
            chat_template_kwargs=chat_template_kwargs,
        )
        super().__init__(model, labels, system, options)

    def prompts(self, pairs: Sequence[Pair]) -> list[Prompt | str]:
        """See ModelReward; an empty response has no prompt."""
        solutions = [self._solution(response) for _, response in pairs]
        rendered = self.render(
            [(problem, [f"{problem.text} {solution}"]) for (problem, _), solution in zip(pairs, solutions, strict=True)]
        )
        return [
            prompt_of(one, one.positions) if solution.strip() else EMPTY
            for one, solution in zip(rendered, solutions, strict=True)
        ]

    def shortened(self, problem: Problem, response: Response, prompt: Prompt) -> Prompt | None:
        """See ModelReward; `remove` is applied before anything is cut."""
        return super().shortened(problem, replace(response, text=self._solution(response)), prompt)

    def scores(self, prompts: Sequence[Prompt], read: Sequence[Tensor]) -> list[Score]:
        """See ModelReward."""
        return [Score.of(values.item()) for values in read]

    def _solution(self, response: Response) -> str:
        return response.text.replace(self.remove, "") if self.remove else response.text
