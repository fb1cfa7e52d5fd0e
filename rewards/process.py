"""Process reward models in RLHFlow's form: the probability that the solution is right up to each step.

User turn k is step k (the first one: the problem, a space and the first step), every assistant turn the positive label,
whatever the model thinks of the step; the score of a step is P(`+`) there (RLHFlow/Llama3.1-8B-PRM-Mistral-Data and
-Deepseek-Data). The reference runs one pass for each prefix; here one pass gives all, with equal numbers. Of a
prompt with several messages the last user message is the problem.
"""

from __future__ import annotations

from collections.abc import Sequence

from rewards.aggregate import aggregate
from rewards.engines.transformers import Precision
from rewards.labels import Engine, LabelModel, Overlong
from rewards.protocol import Pair, ResponseReward
from rewards.steps import Splitter, splitter
from rewards.types import Score, Span


class ProcessReward(ResponseReward):
    """P(positive label) after every step, in [0, 1], and one value made of them.

    splitter: where a step ends: `math_shepherd`, `blank_line`, `line`, `regex` (with `pattern`), or a function from a
    text to its spans. keep_empty: score empty steps too, as the published reference does.
    aggregation: min, product, mean or last. remove: text taken out of every step before scoring, `ки` say.
    overlong: `fail` fails the score, `cut` scores the steps that fit within `max_tokens`, says so in the log and marks
    the score with the part `cut`. The other options are those of `rewards.outcome.OutcomeReward`.
    Spans are in characters of the response. Raises ValueError for a set-up that cannot work.
    """

    has_steps = True
    part_names = frozenset[str]()

    def __init__(
        self,
        model: str,
        *,
        splitter: str | Splitter = "line",
        pattern: str | None = None,
        keep_empty: bool = False,
        aggregation: str = "min",
        labels: Sequence[str] = ("+", "-"),
        system: str | None = None,
        remove: str = "",
        dtype: Precision = "fp32",
        device: str = "auto",
        max_tokens: int | None = None,
        batch_tokens: int | None = None,
        overlong: Overlong = "fail",
        engine: Engine = "transformers",
        gpu_memory: float = 0.4,
    ) -> None:
        self.split = _splitter(splitter, pattern, keep_empty)
        self.aggregate = aggregate(aggregation)
        self.remove, self.keep_empty = remove, keep_empty
        self.model = LabelModel(
            model,
            labels=labels,
            system=system,
            dtype=dtype,
            device=device,
            max_tokens=max_tokens,
            batch_tokens=batch_tokens,
            overlong=overlong,
            engine=engine,
            gpu_memory=gpu_memory,
        )

    def load(self) -> None:
        """Load the weights, unless they are loaded already."""
        self.model.load()

    def score_responses(self, pairs: Sequence[Pair]) -> list[Score]:
        """A score with its steps for each response; one without steps, or too long, fails with its reason."""
        scores: list[Score | None] = [None] * len(pairs)
        steps = [self._steps(response.text) for _, response in pairs]
        stepped = [index for index, (texts, _) in enumerate(steps) if any(texts)]
        conversations = []
        for index in stepped:
            first, *rest = steps[index][0]
            conversations.append([f"{pairs[index][0].text} {first}", *rest])
        rendered = dict(zip(stepped, self.model.render(conversations), strict=True))
        cut = {index for index, one in rendered.items() if len(one.ids) > self.model.max_tokens}
        for index in cut:
            rendered[index] = rendered[index].up_to(self.model.max_tokens if self.model.cuts else 0)
        scored = [index for index in stepped if rendered[index].positions]
        self.model.warn_of_cuts(len(cut.intersection(scored)), len(pairs))
        for index, values in zip(scored, self.model.probabilities([rendered[i] for i in scored]), strict=True):
            spans = steps[index][1][: len(values)]
            parts = {"cut": 1.0} if index in cut else None
            scores[index] = Score.of(self.aggregate(values), steps=values, spans=spans, parts=parts)
        return [
            score or Score.failed(self.model.too_long if index in rendered else "the response has no steps")
            for index, score in enumerate(scores)
        ]

    def _steps(self, text: str) -> tuple[list[str], list[Span]]:
        """The text of each step as the model reads it, and where it stands in the response."""
        texts, spans = [], []
        for start, end in self.split(text):
            step = text[start:end].replace(self.remove, "").strip() if self.remove else text[start:end]
            if step or self.keep_empty:
                texts.append(step)
                spans.append((start, end))
        return texts, spans


def _splitter(chosen: str | Splitter, pattern: str | None, keep_empty: bool) -> Splitter:
    if isinstance(chosen, str):
        return splitter(chosen, pattern=pattern, keep_empty=keep_empty)
    if pattern is not None:
        raise ValueError("reward.pattern belongs to reward.splitter=regex, not to a function of your own")
    return chosen
