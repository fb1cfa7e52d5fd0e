"""Base class of rewards computed by a model head: build prompts, run one pass over all of them, return scores.

A model family implements three methods: the prompt of a response with the positions to read, the score from the head's
output there, and, if over-long responses may be cut, the shorter prompt. Everything else is here.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from rewards.aggregate import Aggregate
from rewards.chat import Rendered
from rewards.engines.checkpoint import Checkpoint
from rewards.engines.choice import make_runner
from rewards.engines.options import ModelOptions
from rewards.engines.runner import Head
from rewards.protocol import Pair, ResponseReward
from rewards.types import Problem, Response, Score, Span

NO_STEPS = "the response has no steps"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prompt:
    """The model's input for one response: token ids, the positions to read, and the spans of the steps there."""

    ids: list[int]
    positions: list[int]
    spans: tuple[Span, ...] = ()


def prompt_of(rendered: Rendered, positions: Sequence[int], spans: Sequence[Span] = ()) -> Prompt | str:
    """The prompt for a rendered conversation, or the reason why it could not be rendered."""
    return rendered.failure or Prompt(rendered.ids, list(positions), tuple(spans))


def steps_that_fit(prompt: Prompt, max_tokens: int) -> Prompt | None:
    """The steps within `max_tokens` tokens, None if there are none; their scores are those in the whole response."""
    positions = [position for position in prompt.positions if position < max_tokens]
    if not positions:
        return None
    return Prompt(prompt.ids[: positions[-1] + 1], positions, prompt.spans[: len(positions)])


def step_score(
    prompt: Prompt, steps: Sequence[float], aggregate: Aggregate, parts: Mapping[str, float] | None = None
) -> Score:
    """The score of a response from the values of its steps."""
    return Score.of(aggregate(steps), steps=steps, spans=prompt.spans, parts=parts)


class ModelReward(ResponseReward):
    """A reward from a model head, read at given positions of a prompt. Weights are loaded at the first scoring.

    `ends_only` means that only the last token of a prompt is read (see `rewards.engines.choice.make_runner`).
    Raises ValueError for an unsuitable checkpoint or invalid options.
    """

    ends_only = False

    def __init__(self, checkpoint: Checkpoint, options: ModelOptions, head: Head) -> None:
        self.head = head
        self.max_tokens = options.longest_input(checkpoint.config, checkpoint.path)
        self.cuts = options.overlong == "cut"
        self.runner = make_runner(checkpoint, options, max_tokens=self.max_tokens, ends_only=self.ends_only)

    def load(self) -> None:
        """Load the weights unless they are already loaded."""
        self.runner.load(self.head)

    @abstractmethod
    def prompts(self, pairs: Sequence[Pair]) -> list[Prompt | str]:
        """The prompt of each response, or the reason why it cannot be scored."""

    @abstractmethod
    def scores(self, prompts: Sequence[Prompt], read: Sequence[Tensor]) -> list[Score]:
        """The score of each prompt from the head's output, which has one row per position of the prompt."""

    def shortened(self, problem: Problem, response: Response, prompt: Prompt) -> Prompt | None:
        """A prompt of at most `max_tokens` tokens, or None. By default, the end of the response is cut off."""
        shorter: Prompt | str = prompt
        text = response.text
        while not isinstance(shorter, str) and len(shorter.ids) > self.max_tokens and text:
            text = text[: -max(1, (len(shorter.ids) - self.max_tokens) // 2)]
            [shorter] = self.prompts([(problem, replace(response, text=text))])
        return None if isinstance(shorter, str) or len(shorter.ids) > self.max_tokens else shorter

    def score_responses(self, pairs: Sequence[Pair]) -> list[Score]:
        """One score per response. A response fails if it has no prompt, or if it is too long and may not be cut."""
        prompts = self.prompts(pairs)
        cut = set()
        for index, prompt in enumerate(prompts):
            if isinstance(prompt, str) or len(prompt.ids) <= self.max_tokens:
                continue
            shorter = self.shortened(*pairs[index], prompt) if self.cuts else None
            if shorter is not None:
                cut.add(index)
            # The reason does not include the length, so that failures can be counted by reason.
            prompts[index] = shorter or f"longer than {self.max_tokens} tokens (max_tokens)"
        if cut:
            _logger.warning(
                "%d of %d responses were cut to %d tokens (max_tokens)", len(cut), len(pairs), self.max_tokens
            )
        kept = [prompt for prompt in prompts if isinstance(prompt, Prompt)]
        read = self.runner.read([prompt.ids for prompt in kept], [prompt.positions for prompt in kept], self.head)
        scored = iter(self.scores(kept, read))
        scores = [Score.failed(prompt) if isinstance(prompt, str) else next(scored) for prompt in prompts]
        return [_marked(score) if index in cut else score for index, score in enumerate(scores)]


def _marked(score: Score) -> Score:
    """The score with the part `cut` added; a failed score unchanged."""
    return replace(score, parts={**score.parts, "cut": 1.0}) if score.ok else score
