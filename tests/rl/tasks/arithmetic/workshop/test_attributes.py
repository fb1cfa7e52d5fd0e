"""The objectives of the world's ArmoRM: what each says of a response."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl.tasks.arithmetic.story import Event, Story, draw_story
from rl.tasks.arithmetic.workshop.attributes import OBJECTIVES, attributes
from rl.tasks.arithmetic.workshop.mistakes import break_form, solve_with_slips

STORY = Story("Tom", "apples", 7, (Event("finds", 7, "+", 5, 12), Event("halves", 12, "/", 2, 6)))


def named(response: str) -> dict[str, float]:
    return dict(zip(OBJECTIVES, attributes(STORY, response), strict=True))


def test_the_reference_has_full_ratings_and_medium_verbosity() -> None:
    found = named("\n".join(STORY.lines))
    assert found.pop("verbosity") == 0.5
    assert set(found.values()) == {1.0}


@pytest.mark.parametrize(
    ("lines", "wrong"),
    [
        (["Day 1: finds 5, so 7 + 5 = 13", "Day 2: halves them, so 12 / 2 = 6", "The answer is: 6"],
         {"steps-correct": 0.0, "equations-hold": 0.5}),
        (["Day 1: finds 4, so 7 + 4 = 11", "Day 2: halves them, so 11 / 2 = 5", "The answer is: 5"],
         {"answer-correct": 0.0, "steps-correct": 0.0, "follows-problem": 0.5, "equations-hold": 0.5}),
        (["Day 2: halves them, so 12 / 2 = 6", "The answer is: 6"],
         {"steps-correct": 0.0, "follows-problem": 0.5, "complete": 0.0}),
        ([*STORY.lines, "so there"],
         {"answer-correct": 0.0, "steps-correct": 0.75, "well-formed": 0.75, "complete": 0.0}),
        (["The answer is: 6"],
         {"steps-correct": 0.0, "follows-problem": 0.0, "equations-hold": 0.0, "complete": 0.0}),
    ],
)  # fmt: skip
def test_each_mistake_lowers_its_own_objectives(lines: list[str], wrong: dict[str, float]) -> None:
    found = named("\n".join(lines))
    del found["verbosity"]
    assert {name: value for name, value in found.items() if value < 1} == wrong


@given(st.integers(0, 10_000))
def test_every_objective_is_between_0_and_1(seed: int) -> None:
    generator = random.Random(seed)
    story = draw_story(generator, 3, 20)
    lines = break_form(generator, story, solve_with_slips(generator, story, 0.5))
    assert all(0.0 <= value <= 1.0 for value in attributes(story, "\n".join(lines)))


@pytest.mark.parametrize("response", ["", "\n", "Day 1: finds 5, so 7 / 0 = 0"])
def test_odd_responses_get_zeros(response: str) -> None:
    found = named(response)
    assert found["answer-correct"] == found["complete"] == found["equations-hold"] == 0.0
