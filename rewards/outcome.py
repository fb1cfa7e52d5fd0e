"""Outcome reward models in RLHFlow's form: the probability that the whole solution is right.

One user turn holds the problem, a space and the full solution; the score is P(`+`) as the assistant's answer
(RLHFlow/Llama3.1-8B-ORM-Mistral-Data and -Deepseek-Data). Of a prompt with several messages the last user message is
the problem. The published evaluation works in bf16, one sequence at a time; here batches in `dtype`.
"""

from __future__ import annotations

from collections.abc import Sequence

from rewards.chat import Rendered
from rewards.engines.transformers import Precision
from rewards.labels import Engine, LabelModel, Overlong
from rewards.protocol import Pair, ResponseReward
from rewards.types import Score


class OutcomeReward(ResponseReward):
    """P(positive label) after problem and whole solution, in [0, 1].

    model: folder or hub name of a causal language model with its tokenizer and chat template.
    labels: the positive and the negative label, one token each.
    system: text of a system turn; None leaves what the template does by itself, as the published evaluation does.
    remove: text taken out of the solution before scoring, `" ки"` for solutions in Math-Shepherd's style.
    dtype: fp32 or bf16, of the weights. device: cpu, cuda, or auto (cuda where there is one).
    max_tokens: longest input in tokens; None takes the model's limit.
    overlong: what happens to a longer one: `fail` fails its score, `cut` takes away the end of the solution, says so in
    the log and marks the score with the part `cut`.
    batch_tokens: tokens of one forward pass, padding included; None: 1024 on a CPU, 16384 on a GPU.
    engine: transformers or vllm; the scores are equal. gpu_memory: vLLM's share of a GPU's memory, in (0, 1].
    Raises ValueError for a set-up that cannot work.
    """

    part_names = frozenset[str]()

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
        engine: Engine = "transformers",
        gpu_memory: float = 0.4,
    ) -> None:
        self.remove = remove
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
        """A score for each response; an empty one fails, and a too long one unless it may be cut."""
        solutions = [response.text.replace(self.remove, "") if self.remove else response.text for _, response in pairs]
        problems = [problem.text for problem, _ in pairs]
        rendered = self._render(problems, solutions)
        cut = [index for index, one in enumerate(rendered) if len(one.ids) > self.model.max_tokens]
        if self.model.cuts:
            for index in cut:
                rendered[index] = self._shorten(problems[index], solutions[index], rendered[index])
            self.model.warn_of_cuts(len(cut), len(pairs))
        failures = [self._failure(solution, one) for solution, one in zip(solutions, rendered, strict=True)]
        scored = [index for index, failure in enumerate(failures) if failure is None]
        values = dict(zip(scored, self.model.probabilities([rendered[index] for index in scored]), strict=True))
        return [
            Score.failed(failure)
            if failure is not None
            else Score.of(values[index][0], parts={"cut": 1.0} if index in cut else None)
            for index, failure in enumerate(failures)
        ]

    def _render(self, problems: Sequence[str], solutions: Sequence[str]) -> list[Rendered]:
        return self.model.render(
            [[f"{problem} {solution}"] for problem, solution in zip(problems, solutions, strict=True)]
        )

    def _failure(self, solution: str, rendered: Rendered) -> str | None:
        if not solution.strip():
            return "the response is empty"
        return self.model.too_long if len(rendered.ids) > self.model.max_tokens else None

    def _shorten(self, problem: str, solution: str, rendered: Rendered) -> Rendered:
        """Cut the end of the solution until it fits; unchanged if the problem alone is too long."""
        short = solution
        one = rendered
        while len(one.ids) > self.model.max_tokens and short:
            excess = len(one.ids) - self.model.max_tokens
            short = short[: -max(1, excess // 2)]
            [one] = self._render([problem], [short])
        return one if short.strip() else rendered
