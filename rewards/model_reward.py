"""A reward that a model reads off its responses: prompts in, one pass over all of them, scores out.

A family fills in three methods: the prompt of a response with the positions that are read, the score from what the head
read there, and, if over-long responses may be cut, the shorter prompt. Everything else is here, once.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from rewards.chat import Rendered
from rewards.engines.checkpoint import Checkpoint
from rewards.engines.choice import make_runner
from rewards.engines.options import ModelOptions
from rewards.engines.runner import Head
from rewards.protocol import Pair, ResponseReward
from rewards.types import Problem, Response, Score, Span

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prompt:
    """What the model reads for one response: token ids, the positions that are read, and whose steps these are."""

    ids: list[int]
    positions: list[int]
    spans: tuple[Span, ...] = ()


def prompt_of(rendered: Rendered, positions: Sequence[int], spans: Sequence[Span] = ()) -> Prompt | str:
    """The prompt of a rendered conversation, or the reason why it could not be rendered."""
    return rendered.failure or Prompt(rendered.ids, list(positions), tuple(spans))


class ModelReward(ResponseReward):
    """A reward read off a model by a head at positions of a prompt. The weights are loaded when it first scores.

    `ends_only` says that only the last token of a prompt is ever read (see `rewards.engines.choice.make_runner`).
    Raises ValueError for a checkpoint or options that cannot work.
    """

    ends_only = False

    def __init__(self, checkpoint: Checkpoint, options: ModelOptions, head: Head) -> None:
        self.head = head
        self.max_tokens = options.longest_input(checkpoint.config, checkpoint.path)
        self.cuts = options.overlong == "cut"
        self.runner = make_runner(checkpoint, options, max_tokens=self.max_tokens, ends_only=self.ends_only)

    def load(self) -> None:
        """Load the weights, unless they are loaded already."""
        self.runner.load(self.head)

    @abstractmethod
    def prompts(self, pairs: Sequence[Pair]) -> list[Prompt | str]:
        """The prompt of each response, or the reason why it cannot be scored."""

    @abstractmethod
    def scores(self, prompts: Sequence[Prompt], read: Sequence[Tensor]) -> list[Score]:
        """The score of each prompt from what the head read: one row per position of the prompt."""

    def shortened(self, problem: Problem, response: Response, prompt: Prompt) -> Prompt | None:
        """A prompt of at most `max_tokens`, None if there is none: here, with the end of the response cut off."""
        shorter: Prompt | str = prompt
        text = response.text
        while not isinstance(shorter, str) and len(shorter.ids) > self.max_tokens and text:
            text = text[: -max(1, (len(shorter.ids) - self.max_tokens) // 2)]
            [shorter] = self.prompts([(problem, replace(response, text=text))])
        return None if isinstance(shorter, str) or len(shorter.ids) > self.max_tokens else shorter

    def score_responses(self, pairs: Sequence[Pair]) -> list[Score]:
        """A score for each response. One without a prompt fails, and one that is too long unless it may be cut."""
        prompts = self.prompts(pairs)
        cut = set()
        for index, prompt in enumerate(prompts):
            if isinstance(prompt, str) or len(prompt.ids) <= self.max_tokens:
                continue
            shorter = self.shortened(*pairs[index], prompt) if self.cuts else None
            if shorter is not None:
                cut.add(index)
            # The reason is without the length itself, so that failures count by reason.
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
    """The score with the part `cut`; a failed one as it is."""
    return replace(score, parts={**score.parts, "cut": 1.0}) if score.ok else score
