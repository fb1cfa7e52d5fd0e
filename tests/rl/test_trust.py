from __future__ import annotations

import random

from rewards.types import Problem, Score
from rl.progress import Silent
from rl.trust import report_trust
from rl.types import Answer, AnswerGroup, Sample


class Said(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def event(self, text: str) -> None:
        self.lines.append(text)


def said(value, problems: int = 32, responses: int = 8, task_grades: bool = True) -> list[str]:
    """What is said of a reward that gives `value(correct, rng)`."""
    rng = random.Random(0)

    def answer() -> Answer:
        correct = rng.random() < 0.4
        sample = Sample((1,), (2,), (-0.1,), "x" * rng.randint(5, 50), "stop", 0)
        return Answer(sample, value(correct, rng), correct if task_grades else None)

    display = Said()
    groups = [
        AnswerGroup(Problem(str(index), "?"), tuple(answer() for _ in range(responses))) for index in range(problems)
    ]
    report_trust(groups, display)
    return display.lines


def test_a_good_reward_gets_one_line():
    [line] = said(lambda right, rng: Score.of(right + rng.random() / 2))
    assert line.startswith("reward on the first rollout: AUC 1.00 against the verifier, 1.00 within a problem")
    assert "its best of 8 right in" in line


def test_a_reward_that_is_chance_is_warned_of_in_one_more():
    _, warning = said(lambda right, rng: Score.of(rng.random()))
    assert warning.startswith("this reward is unlikely to help: within a problem it does not tell right from wrong")


def test_nothing_is_said_where_the_task_gives_no_grades():
    assert said(lambda correct, rng: Score.of(correct), task_grades=False) == []


def test_scores_that_all_failed_are_no_reason_to_break():
    line, warning = said(lambda right, rng: Score.failed("broken"))
    assert "AUC unknown" in line
    assert "100% of the responses could not be scored" in warning
