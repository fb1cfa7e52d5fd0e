"""A score survives the way through a JSON file, whatever it holds; anything else is refused."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.records import failures, score_from_json, score_to_json
from rewards.types import Score

numbers = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_categories=["Cs"]))
stepped = st.lists(st.tuples(numbers, st.tuples(st.integers(0, 99), st.integers(0, 99))), max_size=4)


@st.composite
def scores(draw: st.DrawFn) -> Score:
    if draw(st.booleans()):
        return Score.failed(draw(texts))
    steps = draw(st.none() | stepped)
    return Score.of(
        draw(numbers),
        steps=None if steps is None else [value for value, _ in steps],
        spans=None if steps is None else [span for _, span in steps],
        parts=draw(st.none() | st.dictionaries(texts, numbers, max_size=3)),
        matches=draw(st.none() | st.dictionaries(st.integers(0, 9), st.sampled_from([0.0, 0.5, 1.0]), max_size=3)),
    )


@given(scores())
def test_every_score_is_read_back_as_it_was_written(score: Score) -> None:
    assert score_from_json(json.loads(json.dumps(score_to_json(score)))) == score


def test_only_what_a_score_has_is_written() -> None:
    full = Score.of(0.5, steps=[0.5], spans=[(0, 3)], parts={"cut": 1}, matches={1: 1.0})
    assert score_to_json(full) == {
        "value": 0.5,
        "steps": [0.5],
        "spans": [[0, 3]],
        "parts": {"cut": 1},
        "matches": {"1": 1.0},
    }
    assert score_to_json(Score.of(1)) == {"value": 1.0}
    assert score_to_json(Score.failed("why")) == {"failure": "why"}
    assert score_to_json(Score.of(1, steps=[], spans=[])) == {"value": 1.0, "steps": [], "spans": []}


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"score": 1.0},
        {"value": None},
        {"value": float("nan")},
        {"value": 1.0, "steps": [0.5]},
        {"value": 1.0, "steps": [0.5], "spans": [[0, 1], [1, 2]]},
        {"value": 1.0, "matches": {"first": 1.0}},
        {"value": 1.0, "parts": [1]},
        [1.0],
    ],
)
def test_what_is_not_a_score_is_refused(record: object) -> None:
    with pytest.raises(ValueError, match="not a score"):
        score_from_json(record)  # type: ignore[arg-type]


def test_failures_are_counted_by_reason() -> None:
    groups = [[Score.failed("no steps"), Score.of(1.0)], [Score.failed("no steps"), Score.failed("too long")]]
    assert failures(groups) == {"no steps": 2, "too long": 1}
