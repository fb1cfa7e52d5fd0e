"""Process reward models in RLHFlow's form: the probability that the solution is right up to each step.

User turn k is step k; the first one is the problem and the first step with `join` between them. Every assistant turn is
the positive label, whatever the model thinks of the step; the score of a step is P(`+`) there
(RLHFlow/Llama3.1-8B-PRM-Mistral-Data and -Deepseek-Data). The reference runs one pass per prefix; here one pass gives
all of them, with equal numbers. The last user message of a dialogue is the problem, and the turns before it come first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from rewards.aggregate import aggregate
from rewards.engines.options import EngineName, ModelOptions, Overlong, Precision
from rewards.labels import LabelReward
from rewards.model_reward import NO_STEPS, Prompt, prompt_of, step_score, steps_that_fit
from rewards.protocol import Pair
from rewards.steps import Splitter, StepTexts
from rewards.types import Problem, Response, Score


class ProcessReward(LabelReward):
    """P(positive label) after every step, in [0, 1], and their aggregate as the value.

    splitter: how to split a response into steps: `math_shepherd`, `blank_line`, `line`, `regex` (with `pattern`), or a
    function from a text to its spans. keep_empty: also score empty steps, as the published reference does. strip: strip
    white space from both ends of every step. join: the text between the problem and the first step. RLHFlow's code
    strips and joins with a space; ProcessBench's script does not strip and joins with a blank line.
    aggregation: min, product, mean or last. remove: text removed from every step before scoring, for example `ки`.
    overlong: `fail` fails the score; `cut` scores the steps that fit within `max_tokens`, logs it and adds the part
    `cut` to the score. The other options are those of `rewards.outcome.OutcomeReward`.
    Spans are in characters of the response. Raises ValueError for a set-up that cannot work.
    """

    has_steps = True

    def __init__(
        self,
        model: str,
        *,
        splitter: str | Splitter = "line",
        pattern: str | None = None,
        keep_empty: bool = False,
        strip: bool = True,
        join: str = " ",
        aggregation: str = "min",
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
        self.steps = StepTexts.of(splitter, pattern, keep_empty=keep_empty, strip=strip, remove=remove)
        self.aggregate = aggregate(aggregation)
        self.join = join
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
        """See ModelReward; a response without steps has no prompt."""
        steps = [self.steps(response.text) for _, response in pairs]
        stepped = [index for index, (texts, _) in enumerate(steps) if any(map(str.strip, texts))]
        conversations = []
        for index in stepped:
            first, *rest = steps[index][0]
            problem = pairs[index][0]
            conversations.append((problem, [f"{problem.text}{self.join}{first}", *rest]))
        rendered = dict(zip(stepped, self.render(conversations), strict=True))
        return [
            prompt_of(rendered[index], rendered[index].positions, spans) if index in rendered else NO_STEPS
            for index, (_, spans) in enumerate(steps)
        ]

    def shortened(self, problem: Problem, response: Response, prompt: Prompt) -> Prompt | None:
        """See ModelReward: the steps that fit; their scores are the same as in the whole response."""
        return steps_that_fit(prompt, self.max_tokens)

    def scores(self, prompts: Sequence[Prompt], read: Sequence[Tensor]) -> list[Score]:
        """See ModelReward."""
        return [
            step_score(prompt, values.tolist(), self.aggregate) for prompt, values in zip(prompts, read, strict=True)
        ]
