"""Quality of the world's models on cases small enough to count by hand."""

import pytest

from rewards.types import Group, Problem, Response, Score
from rl.tasks.arithmetic import ArithmeticTask
from rl.tasks.arithmetic.workshop import quality

LINES = ["Day 1: finds 5, so 7 + 5 = 12", "The answer is: 12"]
PROBLEM = Problem("p", "Tom has 7 apples. Day 1: finds 5.", "12", {"lines": LINES})
RIGHT = Response("\n".join(LINES))
WRONG = Response("Day 1: finds 5, so 7 + 5 = 13\nThe answer is: 13")
SPANS = [(0, 5), (6, 9)]


def stepped(*steps: float) -> Score:
    return Score.of(min(steps), steps=steps, spans=SPANS)


def test_pass_and_majority_are_counted_by_problem() -> None:
    groups = [Group(PROBLEM, (WRONG, RIGHT, RIGHT, WRONG)), Group(PROBLEM, (WRONG, WRONG, RIGHT, WRONG))]
    found = quality.policy_quality(ArithmeticTask(), groups)
    assert found == {"pass@1": 3 / 8, "pass@4": 1.0, "majority@4": 0.0}, "a tie goes to the answer seen first"


def test_an_outcome_model_that_ranks_right_answers_first_has_auc_and_best_of_n_of_one() -> None:
    groups = [Group(PROBLEM, (WRONG, RIGHT))]
    found = quality.outcome_quality(ArithmeticTask(), groups, [[Score.of(0.2), Score.of(0.7)]])
    assert found == {"auc": 1.0, "best-of-2": 1.0, "failed": 0.0}


def test_a_failed_score_ranks_last_and_is_counted() -> None:
    groups = [Group(PROBLEM, (WRONG, RIGHT))]
    found = quality.outcome_quality(ArithmeticTask(), groups, [[Score.of(0.2), Score.failed("too long")]])
    assert found == {"auc": 0.0, "best-of-2": 0.0, "failed": 1.0}


def test_the_harder_step_auc_leaves_out_what_follows_the_first_error() -> None:
    groups = [Group(PROBLEM, (RIGHT, WRONG))]
    scores = [[stepped(0.9, 0.6), stepped(0.7, 0.1)]]
    found = quality.step_quality(ArithmeticTask(), groups, scores)
    assert found["step auc"] == pytest.approx(3 / 4)
    assert found["step auc to the first error"] == pytest.approx(1 / 2)
    assert found["best-of-2 by min"] == found["best-of-2 by product"] == 1.0
