"""Rewards for the tests of launch.evaluate: each a class that a configuration can name, and fast."""

from __future__ import annotations

import random

from rewards.steps import splitter
from rewards.types import Score
from rewards.verdicts import Verdict
from rewards.verifier import VerifierReward, extract_answer


class Steps(VerifierReward):
    """Scores every paragraph alike: `value` for all of them."""

    value: float | None = 1.0

    def score_responses(self, pairs):
        split = splitter("blank_line")
        scores = []
        for _, response in pairs:
            spans = split(response.text)
            rng = random.Random(response.text)
            values = [rng.random() if self.value is None else self.value for _ in spans]
            scores.append(Score.of(min(values, default=0.0), steps=values, spans=spans))
        return scores


class RandomSteps(Steps):
    """Scores every paragraph by chance."""

    value = None


class Longest(VerifierReward):
    """Likes long responses, and refuses one that says so."""

    def score_responses(self, pairs):
        return [
            Score.failed("refused") if "refuse" in response.text else Score.of(float(len(response.text)))
            for _, response in pairs
        ]


class Fussy(VerifierReward):
    """Breaks at a certain problem while `broken`, and counts what it scored."""

    broken = False
    scored = 0

    def score(self, groups):
        if Fussy.broken and any("7" in group.problem.text for group in groups):
            raise RuntimeError("the machine is on fire")
        Fussy.scored += len(groups)
        return super().score(groups)


class KnowingJudge:
    """A judge that finds a response right when it announces 1; takes whatever a judge's configuration holds."""

    def __init__(self, **_: object) -> None:
        pass

    def judge(self, comparisons):
        return [Verdict(extract_answer(one.a) == "1", extract_answer(one.b) == "1", None) for one in comparisons]
