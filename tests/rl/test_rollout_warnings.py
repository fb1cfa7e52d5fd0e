from __future__ import annotations

import random
from types import SimpleNamespace

import pytest

from rewards.types import Problem, Score
from rl.collect import Rollout
from rl.progress import Silent
from rl.rollout_warnings import report_cut, report_trust
from rl.settings import RolloutSettings
from rl.types import Answer, AnswerGroup, Sample
from tests.tiny import make_tokenizer


class Said(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def event(self, text: str) -> None:
        self.lines.append(text)


def said(value, problems: int = 32, responses: int = 8, task_grades: bool = True, reason: str = "stop") -> list[str]:
    """What is said of a reward that gives `value(correct, rng)`."""
    rng = random.Random(0)

    def answer() -> Answer:
        correct = rng.random() < 0.4
        sample = Sample((1,), (2,), (-0.1,), "x" * rng.randint(5, 50), reason, 0)
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
    assert "its best of 8 is right in" in line


def test_a_reward_no_better_than_chance_gets_a_second_line_with_a_warning():
    _, warning = said(lambda right, rng: Score.of(rng.random()))
    assert warning.startswith("this reward is unlikely to help: within a problem it does not tell right from wrong")


def test_nothing_is_reported_if_the_task_has_no_grades():
    assert said(lambda correct, rng: Score.of(correct), task_grades=False) == []


def test_a_report_works_even_if_all_scores_failed():
    line, warning = said(lambda right, rng: Score.failed("broken"))
    assert "AUC unknown" in line
    assert "100% of the responses could not be scored" in warning


def test_a_reward_is_not_blamed_for_responses_that_were_cut() -> None:
    assert len(said(lambda right, rng: Score.of(rng.random()), reason="length")) == 1


@pytest.mark.parametrize(
    ("cut", "of", "told"), [(10, 10, True), (9, 10, True), (8, 10, False), (0, 10, False), (0, 0, False)]
)
def test_nearly_all_responses_cut_is_reported_with_the_likely_causes(cut: int, of: int, told: bool) -> None:
    samples = [Sample((1,), (2,), (0.0,), "x", "length" if place < cut else "stop", 0) for place in range(of)]
    display, rollout = Said(), RolloutSettings(max_new_tokens=77, stop=("stop here",))
    parts = SimpleNamespace(
        display=display,
        sampler=SimpleNamespace(tokenizer=make_tokenizer()),
        settings=SimpleNamespace(rollout=rollout),
    )
    drawn = Rollout(3, groups=[AnswerGroup.drawn(Problem("p", "?"), samples)])
    assert report_cut(parts, drawn) is told  # type: ignore[arg-type]
    assert len(display.lines) == told
    for line in display.lines:
        assert f"update 3: {cut} of {of} responses were cut at rollout.max_new_tokens=77" in line
        assert "'stop here'" in line and "rollout.stop_token_ids" in line
