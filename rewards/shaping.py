"""Reward shaping: centring, bounds, and length penalties.

Pure functions, and `ShapedReward`, which applies them to any reward in a fixed order.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Literal

from rewards.options import require_read
from rewards.types import Group, Problem, Response, Reward, Score

LengthUnit = Literal["tokens", "characters", "words"]


def clip(value: float, low: float | None = None, high: float | None = None) -> float:
    """`value` clipped to [low, high]; None means no bound."""
    value = value if low is None else max(value, low)
    return value if high is None else min(value, high)


def centre(values: Sequence[float]) -> list[float]:
    """Values minus their mean; an empty sequence stays empty."""
    mean = statistics.fmean(values) if values else 0.0
    return [value - mean for value in values]


def sigmoid(value: float, scale: float = 1.0) -> float:
    """1 / (1 + exp(-value / scale)), in [0, 1]: it bounds a centred reward. `scale` > 0."""
    x = value / scale
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def length_penalty(length: int, per_unit: float, free: int = 0) -> float:
    """-per_unit for every unit of length beyond `free`; 0 up to `free`."""
    return -per_unit * max(0, length - free)


def overlong_penalty(length: int, limit: int, buffer: int) -> float:
    """DAPO's soft overlong punishment (arXiv 2503.14476, equation 13), in [-1, 0].

    0 up to `limit - buffer`, falling linearly to -1 at `limit`, -1 beyond. All in the same unit; 0 < buffer <= limit.
    """
    start = limit - buffer
    return -clip((length - start) / buffer, 0.0, 1.0)


class ShapedReward(Reward):
    """Another reward, shaped.

    Steps in order, each applied only if configured:
    1. `centre="group"`: subtract the mean of the group's scored responses; a number: subtract that number.
    2. `sigmoid_scale`: the sigmoid of value / sigmoid_scale.
    3. `clip_low`, `clip_high`.
    4. `length_penalty` for every unit of length beyond `length_free`.
    5. `overlong_weight` times DAPO's overlong penalty with `overlong_limit` and `overlong_buffer`.
    6. `unfinished_penalty`, a number >= 0 subtracted from a response that was cut off at the token limit.

    Lengths are in `length_unit`: characters, words, or tokens of the tokenizer in folder `tokenizer` (without the
    end-of-turn token). A failed score stays failed. If the reward has step scores, 1 to 3 leave them unchanged and the
    penalties 4 to 6 are also added to the last step. The parts `unshaped` and `penalty` are added.

    Raises ValueError for options that contradict each other and for an option that has no effect.
    """

    def __init__(
        self,
        reward: Reward,
        centre: float | Literal["group"] | None = None,
        sigmoid_scale: float | None = None,
        clip_low: float | None = None,
        clip_high: float | None = None,
        length_penalty: float = 0.0,
        length_free: int = 0,
        overlong_weight: float = 0.0,
        overlong_limit: int | None = None,
        overlong_buffer: int | None = None,
        unfinished_penalty: float = 0.0,
        length_unit: LengthUnit = "characters",
        tokenizer: str | None = None,
    ) -> None:
        if isinstance(centre, str) and centre != "group":
            raise ValueError(f"centre must be group, a number or null, not {centre!r}")
        if sigmoid_scale is not None and sigmoid_scale <= 0:
            raise ValueError(f"sigmoid_scale must be above 0, not {sigmoid_scale}")
        if clip_low is not None and clip_high is not None and clip_low > clip_high:
            raise ValueError(f"clip_low ({clip_low}) is above clip_high ({clip_high})")
        if overlong_weight and not (overlong_limit and overlong_buffer and 0 < overlong_buffer <= overlong_limit):
            raise ValueError("overlong_weight needs overlong_limit and overlong_buffer, 0 < buffer <= limit")
        if length_unit not in ("tokens", "characters", "words"):
            raise ValueError(f"length_unit must be tokens, characters or words, not {length_unit!r}")
        if (length_unit == "tokens") != (tokenizer is not None):
            raise ValueError("length_unit=tokens and tokenizer (the policy's folder) go together")
        if unfinished_penalty < 0:
            raise ValueError(f"unfinished_penalty is subtracted: give a number >= 0, not {unfinished_penalty}")
        self.reward = reward
        self.has_steps = reward.has_steps
        self.has_matches = reward.has_matches
        self.compares_responses = centre == "group" or reward.compares_responses
        own = reward.part_names
        self.part_names = None if own is None else own | {"unshaped", "penalty"}
        self.centre = centre
        self.sigmoid_scale = sigmoid_scale
        self.clip_low, self.clip_high = clip_low, clip_high
        self.length_penalty, self.length_free = length_penalty, length_free
        self.overlong_weight = overlong_weight
        self.overlong_limit, self.overlong_buffer = overlong_limit, overlong_buffer
        self.unfinished_penalty = unfinished_penalty
        self.length_unit, self.tokenizer = length_unit, tokenizer
        require_read(self, "length_free", length_penalty != 0, "length_penalty")
        for name in ("overlong_limit", "overlong_buffer"):
            require_read(self, name, overlong_weight != 0, "overlong_weight")
        measured = length_penalty != 0 or overlong_weight != 0
        require_read(self, "length_unit", measured, "length_penalty or overlong_weight")

    def load(self) -> None:
        """Load the wrapped reward's weights, if it has any."""
        self.reward.load()

    def refusal(self, problem: Problem) -> str | None:
        """The wrapped reward's refusal, or None."""
        return self.reward.refusal(problem)

    def score(self, groups: Sequence[Group]) -> list[list[Score]]:
        """Score with the wrapped reward, then shape."""
        return [self._group(group, scores) for group, scores in zip(groups, self.reward.score(groups), strict=True)]

    def _group(self, group: Group, scores: Sequence[Score]) -> list[Score]:
        values = [score.value for score in scores if score.ok]
        if self.centre == "group":
            values = centre(values)
        elif self.centre is not None:
            values = [value - float(self.centre) for value in values]
        shaped = iter(values)
        return [
            self._shaped(score, next(shaped), self._penalty(response)) if score.ok else score
            for response, score in zip(group.responses, scores, strict=True)
        ]

    def _shaped(self, score: Score, value: float, penalty: float) -> Score:
        """One score: the centred `value`, bounded, plus the penalty."""
        if self.sigmoid_scale is not None:
            value = sigmoid(value, self.sigmoid_scale)
        value = clip(value, self.clip_low, self.clip_high) + penalty
        steps = score.steps and (*score.steps[:-1], score.steps[-1] + penalty)
        parts = {**score.parts, "unshaped": score.value, "penalty": penalty}
        return Score.of(value, steps=steps, spans=score.spans, parts=parts, matches=score.matches)

    def _penalty(self, response: Response) -> float:
        """The sum of the penalties on a response, at most 0 for positive weights."""
        penalty = -self.unfinished_penalty if response.finish_reason == "length" else 0.0
        if self.length_penalty or self.overlong_weight:
            length = self._length(response.text)
            penalty += length_penalty(length, self.length_penalty, self.length_free)
            if self.overlong_weight and self.overlong_limit and self.overlong_buffer:
                overlong = overlong_penalty(length, self.overlong_limit, self.overlong_buffer)
                penalty += self.overlong_weight * overlong
        return penalty

    @cached_property
    def _length(self) -> Callable[[str], int]:
        """The length of a text in the chosen unit."""
        if self.length_unit == "characters":
            return len
        if self.length_unit == "words":
            return lambda text: len(text.split())
        from transformers import AutoTokenizer  # here: the other units need no tokenizer

        tokenizer = AutoTokenizer.from_pretrained(self.tokenizer)
        return lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"])
