"""Sums: right problems, splits apart, worked examples in the prompt, and a verifier that knows a right step."""

import random
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.types import Group, Response
from rewards.verifier import VerifierReward
from rl.tasks.sums import SumsTask, is_held_out, question, right_steps, solution

numbers = st.lists(st.integers(1, 999), min_size=2, max_size=9)


@given(numbers)
def test_the_solution_adds_one_number_per_line_and_every_line_is_right(terms: list[int]) -> None:
    lines = solution(terms)
    assert len(lines) == len(terms)
    for line in lines[:-1]:
        left, right = line.split("=")
        assert eval(left) == int(right)
    assert lines[-1] == f"The answer is: {sum(terms)}"
    assert right_steps(terms, lines) == [True] * len(lines)


@given(numbers, st.data())
def test_nothing_is_right_after_a_wrong_line(terms: list[int], data: st.DataObject) -> None:
    lines = solution(terms)
    place = data.draw(st.integers(0, len(lines) - 1))
    head, _, result = lines[place].rpartition(" ")
    lines[place] = f"{head} {int(result) + data.draw(st.integers(1, 9))}"
    assert right_steps(terms, lines) == [True] * place + [False] * (len(lines) - place)


@pytest.mark.parametrize(
    ("lines", "verdicts"),
    [
        (["3 + 4 = 7", "7 + 5 = 12", "The answer is: 12"], [True, True, True]),
        (["4+3=7.", "5 + 7 = 12", "The answer is 12."], [True, True, True]),
        (["4 + 5 = 9", "9 + 3 = 12", "The answer is: 12"], [True, True, True]),  # in another order
        (["3 + 4 + 5 = 12", "The answer is: 12"], [True, True]),  # all at once
        (["The answer is: 12"], [True]),
        (["The answer is: 12", "3 + 4 = 7"], [True, False]),  # after the answer
        (["3 + 4 = 7", "7 + 6 = 13", "The answer is: 13"], [True, False, False]),  # a number that is not in the sum
        (["3 + 4 = 7", "3 + 5 = 8", "The answer is: 12"], [True, False, False]),  # a number that was added before
        (["3 + 3 = 6", "6 + 5 = 11"], [False, False]),  # a number twice
        (["Let us add.", "3 + 4 = 7"], [False, False]),
        (["3 + 4 = 7", "The answer is: 7"], [True, False]),
        (["3 - 4 = -1"], [False]),
        (["12"], [False]),
        ([], []),
    ],
)
def test_a_line_is_right_if_it_adds_remaining_numbers(lines: list[str], verdicts: list[bool]) -> None:
    assert right_steps([3, 4, 5], lines) == verdicts


def test_the_grade_comes_from_the_verifier_and_ignores_the_steps() -> None:
    task = SumsTask()
    problem = next(task.train_problems(1))
    right, wrong = f"3 + 3 = 7\nThe answer is: {problem.answer}", "The answer is: 999"
    assert task.grade(problem, right) and not task.grade(problem, wrong) and not task.grade(problem, "")
    [scores] = VerifierReward().score([Group(problem, (Response(right), Response(wrong)))])
    assert [score.value for score in scores] == [1.0, 0.0]
    assert task.grade_steps(problem, right) == [False, False]


def test_the_prompt_holds_worked_examples_and_ends_with_the_question() -> None:
    problem = next(SumsTask(max_terms=4, examples=3).train_problems(1))
    assert [message["role"] for message in problem.messages] == ["user", "assistant"] * 3 + ["user"]
    assert problem.text == question(problem.metadata["numbers"])
    assert {len(message["content"].split("\n")) for message in problem.messages[1::2]} == {3, 4}, "of every length"
    assert [message["content"] for message in next(SumsTask(max_terms=4, examples=0).train_problems(1)).messages] == [
        problem.text
    ]


def test_the_same_seed_gives_the_same_problems_and_another_seed_others() -> None:
    def texts(seed: int) -> list[str]:
        return [problem.text for problem in islice(SumsTask().train_problems(seed), 50)]

    assert texts(1) == texts(1) != texts(2)


def test_train_and_held_out_problems_never_share_their_numbers() -> None:
    task = SumsTask()
    held_out = task.held_out_problems(400)
    assert len({problem.text for problem in held_out}) == 400
    assert held_out[:7] == task.held_out_problems(7)
    kept = {tuple(sorted(problem.metadata["numbers"])) for problem in held_out}
    trained = {tuple(sorted(problem.metadata["numbers"])) for problem in islice(task.train_problems(1), 5000)}
    assert not kept & trained


@given(numbers, st.randoms(use_true_random=False))
def test_the_split_does_not_depend_on_the_order_of_a_sums_numbers(terms: list[int], order: random.Random) -> None:
    assert is_held_out(terms) == is_held_out(order.sample(terms, len(terms)))


def test_more_held_out_problems_than_there_are_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"2000 held-out problems were requested, but there are only \d+"):
        SumsTask(min_terms=2, max_terms=2, largest=9).held_out_problems(2000)


@pytest.mark.parametrize(
    "wrong", [{"min_terms": 1}, {"min_terms": 4}, {"max_terms": 10}, {"largest": 8}, {"largest": 1000}, {"examples": 9}]
)
def test_impossible_options_are_refused_by_name(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"^(min_terms|{next(iter(wrong))})"):
        SumsTask(**wrong)
