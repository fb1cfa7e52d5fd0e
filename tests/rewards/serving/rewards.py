"""Rewards whose scores say which text they belong to, without a model."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Sequence

from rewards.protocol import Pair, ResponseReward
from rewards.types import Group, Reward, Score


def mark(problem: str, response: str) -> float:
    """A number that only this problem and response have."""
    return zlib.crc32(f"{problem}\0{response}".encode()) / 2**32


class Marks(ResponseReward):
    """`mark` as the value, with a step and a part; an empty response fails. It counts its calls."""

    has_steps = True
    part_names = frozenset({"length"})

    def __init__(self, seconds: float = 0.0, gate: threading.Event | None = None) -> None:
        self.seconds, self.gate = seconds, gate
        self.calls: list[int] = []

    def score_responses(self, pairs: Sequence[Pair]) -> list[Score]:
        self.calls.append(len(pairs))
        if self.gate is not None:
            assert self.gate.wait(20)
        time.sleep(self.seconds)
        return [self.one(problem.text, response.text) for problem, response in pairs]

    @staticmethod
    def one(problem: str, response: str) -> Score:
        if not response.strip():
            return Score.failed("the response is empty")
        if response == "poison":
            raise RuntimeError("this response breaks the reward")
        value = mark(problem, response)
        return Score.of(value, steps=[value], spans=[(0, len(response))], parts={"length": float(len(response))})


class Longest(Reward):
    """Compares the responses of a group: the share of the others that are shorter."""

    compares_responses = True

    def score(self, groups: Sequence[Group]) -> list[list[Score]]:
        return [[self.place(group, index) for index in range(len(group.responses))] for group in groups]

    @staticmethod
    def place(group: Group, index: int) -> Score:
        lengths = [len(response.text) for response in group.responses]
        others = [place for place in range(len(lengths)) if place != index]
        if not others:
            return Score.failed("fewer than two responses")
        matches = {other: float(lengths[index] > lengths[other]) for other in others}
        return Score.of(sum(matches.values()) / len(others), matches=matches)
