"""The figures about a judge mean what they say."""

import math

from rewards.types import Group, Response, Score
from rewards.verdicts import Verdict
from rl.tasks.arithmetic.task import ArithmeticTask
from rl.tasks.arithmetic.workshop.judge_quality import comparisons, tournament_quality, verdict_quality

TASK = ArithmeticTask()


def group(*rights: bool) -> Group:
    problem = TASK.held_out_problems(1)[0]
    wrong = f"The answer is: {int(problem.answer or 0) + 1}"
    return Group(problem, tuple(Response(f"The answer is: {problem.answer}" if right else wrong) for right in rights))


def test_responses_are_compared_in_pairs_and_an_odd_one_is_left_out() -> None:
    first = group(True, False, True)
    texts = [response.text for response in first.responses]
    assert [(one.a, one.b) for one in comparisons([first, group(True, True)])] == [
        (texts[0], texts[1]),
        (texts[0], texts[0]),
    ]


def test_accuracy_is_over_single_verdicts_and_a_missing_one_is_wrong() -> None:
    found = verdict_quality(
        TASK, [group(True, False), group(False, False)], [Verdict(True, True), Verdict.none("it gave none")]
    )
    assert found["accuracy"] == 0.25
    assert found["accuracy on right"] == 1.0
    assert found["accuracy on wrong"] == 0.0
    assert (found["verdicts"], found["no verdict"]) == (4, 2)
    assert math.isnan(verdict_quality(TASK, [group(False, False)], [Verdict(False, False)])["accuracy on right"])


def test_the_winner_is_the_tournaments_choice() -> None:
    def scores(winner: int | None) -> list[Score]:
        return [
            Score.of(0.0, parts={"winner": float(place == winner), "judgements": 1.0})
            if winner is not None
            else Score.failed("no verdict")
            for place in range(2)
        ]

    found = tournament_quality(TASK, [group(True, False)] * 4, [scores(0), scores(0), scores(1), scores(None)])
    assert found == {"best-of-2 by tournament": 0.5, "judgements per problem": 0.75}
