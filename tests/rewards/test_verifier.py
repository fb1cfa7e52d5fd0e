from __future__ import annotations

import pytest

from rewards.types import Group, Problem, Response
from rewards.verifier import VerifierReward, equal_answers, extract_answer, grade


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Step 1: 3 * 4 = 12\nThe answer is: 12", "12"),
        ("The answer is: 12 ки", "12"),
        ("It is 5.\n#### 1,234", "1,234"),
        ("2 + 2 = <<2+2=4>>4\nA: 4", "4"),
        (r"So \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        (r"The answer is $\boxed{7}$.", "7"),
        ("The final answer is 5. I hope it is correct.", "5"),
        ("**Answer:** 5.5 apples.", "5.5 apples"),
        ("The answer is: 3\nNo, the answer is: 4", "4"),
        ("The answer is: 3\nThe answer is:", "3"),
        ("It is 12", None),
        (r"\boxed{12", None),
        ("", None),
    ],
)
def test_the_last_announced_answer_counts(text, answer):
    assert extract_answer(text) == answer


@pytest.mark.parametrize(
    ("answer", "reference"),
    [
        ("12", "12"),
        ("12.0", "12"),
        ("$1,200", "1200"),
        (r"\$18.00", "18"),
        ("18.", "18"),
        ("12 apples", "12"),
        ("-3", "-3"),
        ("6", "2 * 3 = <<2*3=6>>6\n#### 6"),
        ("monday", "Monday"),
    ],
)
def test_plain_answers_are_equal_without_math_verify(answer, reference, monkeypatch):
    monkeypatch.setattr("rewards.symbolic.subprocess.Popen", None)
    assert equal_answers(answer, reference)


@pytest.mark.parametrize(("answer", "reference"), [("12", "13"), ("1.5", "15"), ("3", "-3")])
def test_plain_numbers_that_differ_are_not_equal(answer, reference):
    assert not equal_answers(answer, reference)


@pytest.mark.parametrize(
    ("answer", "reference", "equal"),
    [
        (r"\frac{3}{6}", "0.5", True),
        ("1/2", "0.5", True),
        ("(x+1)^2", "x^2+2x+1", True),
        ("x = 5", "5", True),
        ("5 or 6", "6", False),
        ("nonsense {", "6", False),
    ],
)
def test_other_answers_are_compared_by_math_verify(answer, reference, equal):
    assert equal_answers(answer, reference) is equal


def test_grading_takes_a_worked_solution_and_an_answer():
    assert grade("4 + 8 = 12\nThe answer is: 12", "12")
    assert not grade("It is surely 12", "12")


def scores(*texts: str, answer: str | None = "12", **options) -> list:
    group = Group(Problem("p", "q", answer), tuple(Response(text) for text in texts))
    return VerifierReward(**options).score([group])[0]


def test_right_is_one_wrong_is_zero_and_no_answer_is_wrong():
    found = scores("The answer is: 12", "The answer is: 13", "I do not know", "")
    assert [score.value for score in found] == [1, 0, 0, 0]
    assert [score.parts["extracted"] for score in found] == [1, 1, 0, 0]


@pytest.mark.parametrize("answer", [None, " "])
def test_a_problem_without_reference_answer_fails(answer):
    [score] = scores("The answer is: 12", answer=answer)
    assert score.failure == "the problem has no reference answer"


def test_a_response_that_would_compute_for_ever_fails_in_time_and_the_next_is_scored():
    endless, good = scores(r"\boxed{9^{9^{9^9}}}", r"\boxed{\frac{24}{2}}", timeout_s=1.0)
    assert endless.failure == "the answers could not be compared within 1 s"
    assert good.value == 1
