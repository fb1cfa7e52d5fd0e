"""GSM8K-style and MATH-style files: the answer is found, and the published solutions grade right."""

from __future__ import annotations

import json

import pytest

from rl.tasks.gsm8k import Gsm8kTask
from rl.tasks.math import MathTask, last_boxed

GSM8K = [
    {"question": "Tom has 3 pens and buys 2. How many?", "answer": "3 + 2 = <<3+2=5>>5 pens.\n#### 5"},
    {"question": "A car costs $1,000 more than $500. Price?", "answer": "500 + 1000 = $1500\n#### 1,500"},
]
MATH = [
    {"problem": "Halve $x$.", "solution": r"It is $\boxed{\frac{x}{2}}$.", "level": "Level 1"},
    {"problem": "Add 1 and 2.", "solution": r"Not \boxed{4}. So \boxed{3}."},
    {"problem": "Name a root of $x^2-4$.", "answer": "-2", "solution": r"\boxed{2}"},
]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def gsm8k(tmp_path):
    return Gsm8kTask(write(tmp_path / "train.jsonl", GSM8K[:1]), write(tmp_path / "test.jsonl", GSM8K[1:]))


def test_gsm8k_answers_follow_the_four_hashes(gsm8k):
    assert next(gsm8k.train_problems(0)).answer == "5"
    assert gsm8k.held_out_problems(1)[0].answer == "1500"


def test_gsm8k_solutions_grade_right_and_others_wrong(gsm8k):
    problem = gsm8k.held_out_problems(1)[0]
    assert gsm8k.grade(problem, GSM8K[1]["answer"])
    assert gsm8k.grade(problem, "The answer is: 1500")
    assert not gsm8k.grade(problem, "#### 1,501")


def test_gsm8k_without_hashes_is_left_out_and_named_by_line(tmp_path):
    bad = write(tmp_path / "bad.jsonl", [*GSM8K[:1], {"question": "?", "answer": "five"}])
    task = Gsm8kTask(bad, write(tmp_path / "test.jsonl", GSM8K[1:]))
    assert "bad.jsonl, line 2: the answer has no '#### N'" in task.notes()[0]


def test_math_answers_come_from_the_answer_or_the_last_box(tmp_path):
    task = MathTask(write(tmp_path / "train.jsonl", MATH[:1]), write(tmp_path / "test.jsonl", MATH[1:]))
    assert next(task.train_problems(0)).answer == r"\frac{x}{2}"
    assert [problem.answer for problem in task.held_out_problems(2)] == ["3", "-2"]


def test_math_solutions_grade_right(tmp_path):
    task = MathTask(write(tmp_path / "train.jsonl", MATH[1:]), write(tmp_path / "test.jsonl", MATH[:1]))
    problem = task.held_out_problems(1)[0]
    assert task.grade(problem, MATH[0]["solution"])
    assert task.grade(problem, r"So it is \boxed{0.5x}")
    assert not task.grade(problem, r"So it is \boxed{x}")


@pytest.mark.parametrize("row", [{"problem": "?", "solution": "no box"}, {"problem": "?"}])
def test_math_without_an_answer_is_named_by_line(tmp_path, row):
    task = MathTask(write(tmp_path / "bad.jsonl", [row]), write(tmp_path / "test.jsonl", MATH))
    with pytest.raises(ValueError, match=r"bad\.jsonl has no problem that can be used; the first, line 1"):
        next(task.train_problems(0))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\boxed{a{b}c}", "a{b}c"),
        (r"\boxed{1} \fbox{2}", "2"),
        (r"\boxed{(0, 1\}}", r"(0, 1\}"),
        ("none", None),
        (r"\boxed{open", None),
    ],
)
def test_the_last_balanced_box_counts(text, answer):
    assert last_boxed(text) == answer
