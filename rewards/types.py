"""The project's shared data types: a problem, its responses, their scores, and the reward interface.

Problems, responses and scores are plain, frozen data without tensors or models, easy to send through Ray and JSON.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rewards.conversation import Message, messages_of

__all__ = ["FinishReason", "Group", "Message", "Problem", "Response", "Reward", "Score", "Span"]

FinishReason = Literal["stop", "length", "abort"]
"""`stop`: the policy ended its turn. `length`: cut off at the token limit. `abort`: the engine gave up."""

Span = tuple[int, int]
"""Half-open range `[start, end)` in characters of a response's text."""


@dataclass(frozen=True)
class Problem:
    """A question for the policy.

    `prompt` is the user's text, or chat messages ending with the user's turn, stored as a tuple with the text parts of
    each content joined. `answer` is the reference answer or None (a verifier then fails the score; a reward model does
    not need it). Raises ValueError for messages that `rewards.conversation.messages_of` refuses.
    """

    id: str
    prompt: str | tuple[Message, ...]
    answer: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.prompt, str):
            object.__setattr__(self, "prompt", messages_of(self.prompt))

    @property
    def text(self) -> str:
        """The question as plain text: the prompt, or the content of its last user message."""
        if isinstance(self.prompt, str):
            return self.prompt
        for message in reversed(self.prompt):
            if message["role"] == "user":
                return message["content"]
        raise ValueError(f"problem {self.id}: the prompt has no user message")

    @property
    def messages(self) -> list[Message]:
        """The prompt as chat messages."""
        if isinstance(self.prompt, str):
            return [{"role": "user", "content": self.prompt}]
        return list(self.prompt)


@dataclass(frozen=True)
class Response:
    """One response of the policy: its text without special tokens, and why it ended."""

    text: str
    finish_reason: FinishReason = "stop"


@dataclass(frozen=True)
class Group:
    """A problem with the n responses sampled for it."""

    problem: Problem
    responses: tuple[Response, ...]


@dataclass(frozen=True)
class Score:
    """A reward's result for one response: either a finite value or the reason for a failure, never both.

    `steps` has one value per step and `spans` the character range of each step in the response (same length); both are
    None for a reward without steps. `parts` are the named components of the value (ArmoRM's objectives, a mixture's
    terms). `matches` are a pairwise judge's results: for each response of the group (by index) that this one was judged
    against, this one's points: 1 won, 0.5 tied, 0 lost; None for a reward that does not compare.
    Reading the value of a failed score raises, so that it cannot enter a mean as zero.
    """

    _value: float | None
    steps: tuple[float, ...] | None = None
    spans: tuple[Span, ...] | None = None
    parts: Mapping[str, float] = field(default_factory=dict)
    failure: str | None = None
    matches: Mapping[int, float] | None = None

    def __post_init__(self) -> None:
        if (self._value is None) == (self.failure is None):
            raise ValueError("a score has either a value or a failure reason")
        if self._value is not None and not math.isfinite(self._value):
            raise ValueError(f"a score must be finite, not {self._value}: report a failure instead")
        if (self.steps is None) != (self.spans is None):
            raise ValueError("steps and spans must be given together")
        if self.steps is not None and self.spans is not None and len(self.steps) != len(self.spans):
            raise ValueError(f"{len(self.steps)} step values for {len(self.spans)} spans")

    @classmethod
    def of(
        cls,
        value: float,
        *,
        steps: Sequence[float] | None = None,
        spans: Sequence[Span] | None = None,
        parts: Mapping[str, float] | None = None,
        matches: Mapping[int, float] | None = None,
    ) -> Score:
        """A score with a value, or a failed score if the value, a step or a part is not finite."""
        numbers = [value, *(steps or ()), *(parts or {}).values()]
        if not all(math.isfinite(number) for number in numbers):
            return cls.failed(f"the reward returned a number that is not finite ({value})")
        return cls(
            float(value),
            None if steps is None else tuple(float(step) for step in steps),
            None if spans is None else tuple((int(start), int(end)) for start, end in spans),
            dict(parts or {}),
            matches=None if matches is None else dict(matches),
        )

    @classmethod
    def failed(cls, reason: str) -> Score:
        """A failed score with its reason."""
        return cls(None, failure=reason)

    @property
    def ok(self) -> bool:
        """Whether there is a value."""
        return self.failure is None

    @property
    def value(self) -> float:
        """The value. Raises ValueError for a failed score: check `ok` first."""
        if self._value is None:
            raise ValueError(f"this score failed ({self.failure}): it has no value")
        return self._value


class Reward(ABC):
    """A reward: takes whole batches of groups and returns one score per response, in order.

    Only `score` must be implemented. The attributes declare, before anything is loaded or scored, what the scores have
    besides a value, so that an algorithm that needs something else is refused before a run starts. None means unknown:
    an algorithm that needs it finds out at run time. Set them on the class, or on an object that knows more.
    """

    has_steps: bool | None = None
    """Whether scores have step values."""
    has_matches: bool | None = None
    """Whether scores have match results."""
    part_names: frozenset[str] | None = None
    """The names of the parts of every score that did not fail."""
    compares_responses: bool = False
    """Whether a value depends on the other responses of the group; a single response then has no value."""

    threshold: float | None = None
    """The step score below which a step counts as wrong; None: the reward does not say."""

    @abstractmethod
    def score(self, groups: Sequence[Group]) -> list[list[Score]]:
        """Score every response of every group. Raises only for set-up errors; a bad response gets a failed score."""

    def load(self) -> None:  # noqa: B027 - most rewards have none
        """Load the weights, if any. If this is not called, they are loaded at the first scoring."""

    def refusal(self, problem: Problem) -> str | None:
        """Why no response to this problem can ever be scored, or None. Asked before a run; nothing is loaded."""
        return None

    @property
    def name(self) -> str:
        """The reward's name in messages."""
        return type(self).__name__
