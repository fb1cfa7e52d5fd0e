"""A causal language model read as a classifier: the probability that a label such as `+` comes next in a chat.

RLHFlow's outcome and process models are of this kind (github.com/RLHFlow/RLHF-Reward-Modeling): every assistant turn
of the conversation is the positive label, and the score of a turn is P(positive) against the negative label, a softmax
over the two logits at the token before it. One forward pass over the whole conversation serves all its turns, since no
token sees what follows it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Literal, Protocol

from rewards.chat import ChatTemplate, Rendered, Turn, load_tokenizer
from rewards.engines.transformers import Precision, TransformersEngine, read_config

Engine = Literal["transformers", "vllm"]
Overlong = Literal["fail", "cut"]

_logger = logging.getLogger(__name__)


class LabelEngine(Protocol):
    """How the model is run."""

    def label_probabilities(
        self, sequences: Sequence[Sequence[int]], positions: Sequence[Sequence[int]], label_ids: tuple[int, int]
    ) -> list[list[float]]:
        """P(first label | first or second label) after each given position of each sequence."""
        ...


class LabelModel:
    """A label model with its own tokenizer, chat template and engine; the weights are loaded at the first forward.

    The options are those of `OutcomeReward`. Raises ValueError at once for a checkpoint of the wrong kind, a missing
    tokenizer or chat template, labels that are not one token each where the template puts them, and bad options.
    """

    def __init__(
        self,
        model: str,
        *,
        labels: Sequence[str] = ("+", "-"),
        system: str | None = None,
        dtype: Precision = "fp32",
        device: str = "auto",
        max_tokens: int | None = None,
        batch_tokens: int | None = None,
        overlong: Overlong = "fail",
        engine: Engine = "transformers",
        gpu_memory: float = 0.4,
    ) -> None:
        share_of_memory(gpu_memory)
        if len(labels) != 2:
            raise ValueError(f"reward.labels must be two texts, the positive one first, not {list(labels)}")
        if overlong not in ("fail", "cut"):
            raise ValueError(f"reward.overlong must be fail or cut, not {overlong!r}")
        config = read_config(model)
        self.template = ChatTemplate(load_tokenizer(model))
        if not self.template.grows_by_turns():
            raise ValueError(
                f"the chat template of {model} rewrites earlier turns: its steps cannot be scored in one pass"
            )
        self.positive = labels[0]
        self.label_ids: tuple[int, int] = self.template.label_ids(labels)  # type: ignore[assignment]
        self.system, self.cuts = system, overlong == "cut"
        self.max_tokens = longest_input(model, max_tokens, getattr(config, "max_position_embeddings", None))
        self.engine = self._engine(engine, model, dtype, device, batch_tokens, gpu_memory)

    def _engine(
        self,
        engine: Engine,
        model: str,
        dtype: Precision,
        device: str,
        batch_tokens: int | None,
        gpu_memory: float,
    ) -> LabelEngine:
        if engine == "transformers":
            return TransformersEngine(model, dtype=dtype, device=device, batch_tokens=batch_tokens)
        if engine == "vllm":
            from rewards.engines.vllm import VllmEngine  # vLLM takes seconds to import

            tokenizer = self.template.tokenizer
            return VllmEngine(model, tokenizer, dtype=dtype, max_tokens=self.max_tokens, gpu_memory=gpu_memory)
        raise ValueError(f"reward.engine must be transformers or vllm, not {engine!r}")

    @property
    def too_long(self) -> str:
        """The reason of a failure for its length; without the length itself, so that failures count by reason."""
        return f"longer than {self.max_tokens} tokens (reward.max_tokens)"

    def render(self, conversations: Sequence[Sequence[str]]) -> list[Rendered]:
        """Conversations of these user turns, each answered with the positive label, up to the last scored token."""
        head = [] if self.system is None else [Turn("system", self.system)]
        rendered = self.template.render(
            [
                [
                    *head,
                    *(turn for user in users for turn in (Turn("user", user), Turn("assistant", self.positive, True))),
                ]
                for users in conversations
            ]
        )
        return [Rendered(one.ids[: one.positions[-1] + 1], one.positions) for one in rendered]

    def load(self) -> None:
        """Load the weights, unless they are loaded already."""
        if isinstance(self.engine, TransformersEngine):
            self.engine.load()
        else:
            self.engine.load(self.label_ids)  # type: ignore[attr-defined]

    def probabilities(self, rendered: Sequence[Rendered]) -> list[list[float]]:
        """P(positive) of each turn of each conversation."""
        return self.engine.label_probabilities(
            [one.ids for one in rendered], [one.positions for one in rendered], self.label_ids
        )

    def warn_of_cuts(self, cuts: int, total: int) -> None:
        """Say how many responses were cut, if any."""
        if cuts:
            _logger.warning(
                "%d of %d responses were cut to %d tokens (reward.max_tokens)", cuts, total, self.max_tokens
            )


def longest_input(model: str, wanted: int | None, limit: int | None) -> int:
    """The longest input in tokens: what is asked for, or the `limit` that the model was made for.

    Raises ValueError where neither is known, and for one out of range.
    """
    if wanted is None:
        if limit is None:
            raise ValueError(f"reward.max_tokens must be given: {model} does not name its max_position_embeddings")
        return int(limit)
    if wanted < 1 or (limit is not None and wanted > limit):
        raise ValueError(f"reward.max_tokens must lie between 1 and the model's {limit} positions, not {wanted}")
    return wanted


def share_of_memory(gpu_memory: float) -> None:
    """Raise ValueError unless this can be a share of a GPU's memory."""
    if not 0 < gpu_memory <= 1:
        raise ValueError(f"reward.gpu_memory is a share of a GPU's memory, in (0, 1], not {gpu_memory}")
