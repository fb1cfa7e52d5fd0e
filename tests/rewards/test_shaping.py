"""Shaping: bounds, centring and penalties, and their order."""

from __future__ import annotations

import pytest

from rewards.shaping import ShapedReward, centre, clip, length_penalty, overlong_penalty, sigmoid
from rewards.types import Group, Problem, Response, Score
from tests.rewards.test_mixture import Fixed
from tests.tiny import make_tokenizer


def shaped(scores, texts=None, finish="stop", **options):
    texts = texts or ["x"] * len(scores)
    group = Group(Problem("p", "1 + 1?"), tuple(Response(text, finish) for text in texts))
    return ShapedReward(Fixed(scores), **options).score([group])[0]


def test_clip_bounds_either_side():
    assert [clip(5, high=1), clip(-5, low=-1), clip(0.5, -1, 1), clip(7)] == [1, -1, 0.5, 7]


def test_centre_has_mean_zero_and_takes_nothing():
    assert centre([1.0, 2.0, 6.0]) == [-2.0, -1.0, 3.0]
    assert centre([]) == []


def test_sigmoid_is_bounded_symmetric_and_never_overflows():
    assert sigmoid(0) == 0.5
    assert sigmoid(2) + sigmoid(-2) == pytest.approx(1)
    assert sigmoid(1e6) == 1.0 and sigmoid(-1e6) == 0.0
    assert sigmoid(2, scale=2) == sigmoid(1)


def test_length_penalty_starts_beyond_the_free_length():
    assert [length_penalty(n, 0.1, free=3) for n in (0, 3, 5)] == [0, 0, pytest.approx(-0.2)]


@pytest.mark.parametrize(("length", "penalty"), [(0, 0), (80, 0), (90, -0.5), (100, -1), (1000, -1)])
def test_overlong_penalty_falls_linearly_over_the_buffer(length, penalty):
    assert overlong_penalty(length, limit=100, buffer=20) == penalty


def test_without_options_nothing_changes():
    assert [score.value for score in shaped([1, -2])] == [1.0, -2.0]


def test_centring_in_the_group_leaves_failed_scores_out():
    scores = shaped([1, Score.failed("x"), 3], centre="group")
    assert [score.value for score in scores if score.ok] == [-1.0, 1.0]
    assert scores[1].failure == "x"


def test_centre_then_sigmoid_then_clip():
    [score] = shaped([3], centre=1.0, sigmoid_scale=2.0, clip_high=0.7)
    assert score.value == 0.7
    assert score.parts["unshaped"] == 3.0
    [score] = shaped([3], centre=1.0, sigmoid_scale=2.0)
    assert score.value == pytest.approx(sigmoid(1.0))


def test_penalties_come_after_the_bounds():
    [score] = shaped([9], ["12345"], clip_high=1.0, length_penalty=0.5, length_free=3)
    assert score.value == 0.0
    assert score.parts["penalty"] == -1.0


def test_an_unfinished_response_pays():
    assert shaped([1], finish="length", unfinished_penalty=0.5)[0].value == 0.5
    assert shaped([1], finish="stop", unfinished_penalty=0.5)[0].value == 1.0


def test_length_is_counted_in_the_chosen_unit(tmp_path):
    make_tokenizer().save_pretrained(tmp_path)
    text = "three little words"
    tokens = len(make_tokenizer()(text, add_special_tokens=False)["input_ids"])
    for unit, count, folder in (("characters", 18, None), ("words", 3, None), ("tokens", tokens, str(tmp_path))):
        [score] = shaped([0], [text], length_penalty=1.0, length_unit=unit, tokenizer=folder)
        assert score.value == -count


def test_overlong_is_weighted():
    [score] = shaped([0], ["x" * 90], overlong_weight=2.0, overlong_limit=100, overlong_buffer=20)
    assert score.value == -1.0


def test_a_penalty_reaches_the_last_step_so_that_step_credit_sees_it():
    steps = Score.of(0.5, steps=[0.5, 0.75], spans=[(0, 1), (1, 2)])
    [score] = shaped([steps], finish="length", unfinished_penalty=1.0)
    assert score.steps == (0.5, -0.25)
    assert score.value == -0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"centre": "batch"}, "centre"),
        ({"sigmoid_scale": 0.0}, "sigmoid_scale"),
        ({"clip_low": 1.0, "clip_high": 0.0}, "clip_low"),
        ({"overlong_weight": 1.0}, "overlong_limit and overlong_buffer"),
        ({"overlong_weight": 1.0, "overlong_limit": 10, "overlong_buffer": 20}, "0 < buffer <= limit"),
        ({"length_unit": "tokens"}, "tokenizer"),
        ({"length_unit": "bytes"}, "length_unit"),
        ({"unfinished_penalty": -1.0}, "unfinished_penalty"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        shaped([1], **options)
