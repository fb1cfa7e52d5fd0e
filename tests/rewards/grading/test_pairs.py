"""Answers and references of every kind, each right or wrong: pairs.jsonl, and the table of docs/grading.md."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from rewards.grading.announcements import extract_answer
from rewards.verifier import equal_answers, grade

PAIRS = [json.loads(line) for line in Path(__file__).with_name("pairs.jsonl").read_text(encoding="utf-8").splitlines()]
GUIDE = Path(__file__).parents[3] / "docs" / "grading.md"


def table(heading: str) -> list[list[str]]:
    """The rows of the table under a heading of the guide, each cell without its backquotes."""
    section = GUIDE.read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip().strip("`") for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def unescaped(text: str) -> str:
    return text.replace("⏎", "\n").replace("\\|", "|")


@pytest.mark.parametrize("pair", PAIRS, ids=[f"{pair['kind']} {n}" for n, pair in enumerate(PAIRS, 1)])
def test_a_pair_is_graded_right(pair):
    assert grade(pair["text"], pair["reference"]) is pair["right"]


@pytest.mark.parametrize("pair", PAIRS, ids=[f"{pair['kind']} {n}" for n, pair in enumerate(PAIRS, 1)])
def test_grading_is_symmetric(pair):
    answer = extract_answer(pair["text"])
    if answer is not None and extract_answer(pair["reference"]) is None and extract_answer(answer) is None:
        assert equal_answers(pair["reference"], answer) is equal_answers(answer, pair["reference"]) is pair["right"]


@pytest.mark.parametrize(("text", "answer"), [(row[0], row[1]) for row in table("Where the answer is")])
def test_the_guide_says_which_answer_a_text_announces(text, answer):
    found = extract_answer(unescaped(text))
    assert found == (None if answer == "none" else unescaped(answer))


@pytest.mark.parametrize(("one", "other", "equal"), [tuple(row[:3]) for row in table("Which answers are equal")])
def test_the_guide_says_which_answers_are_equal(one, other, equal):
    assert equal in ("yes", "no")
    assert equal_answers(unescaped(one), unescaped(other)) is (equal == "yes")
    assert equal_answers(unescaped(other), unescaped(one)) is (equal == "yes")
