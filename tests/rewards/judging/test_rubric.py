"""Rubrics: what is refused, what a verdict is worth, and what a missing verdict costs."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards.judging.rubric import Criterion, described, rubric_of, score_of


def criterion(**fields) -> dict:
    return {"name": "correct", "text": "Is it right?", **fields}


def test_a_criterion_has_a_weight_of_one_and_says_no_or_yes_unless_told_otherwise():
    [found] = rubric_of([criterion()], "rubric")
    assert found == Criterion("correct", "Is it right?", 1.0, ("no", "yes"))
    assert (found.value("NO"), found.value(" Yes. "), found.value("maybe"), found.value(True)) == (0.0, 1.0, None, None)


def test_choices_are_worth_equal_steps_from_worst_to_best():
    [found] = rubric_of([criterion(choices=["bad", "fair", "good"])], "rubric")
    assert [found.value(choice) for choice in found.choices] == [0, 0.5, 1]
    [rated] = rubric_of([criterion(choices=[1, 2, 3, 4, 5])], "rubric")
    assert (rated.value(4), rated.value("4"), rated.value(4.0)) == (0.75, 0.75, None)
    assert "correct: Is it right? (verdicts, worst to best: 1, 2, 3, 4, 5)" in described([rated])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "rubric has no criteria"),
        ({}, "rubric must be a list of criteria, not an object"),
        ("Is it right?", "rubric must be a list of criteria, not text"),
        (None, "rubric must be a list of criteria, not null"),
        (["Is it right?"], r"rubric\[0\] must be an object with name and text, not text"),
        ([{"text": "x"}], r"rubric\[0\].name must be text that is not empty, not None"),
        ([criterion(text=" ")], r"rubric\[0\].text must be text that is not empty"),
        ([criterion(wieght=1)], r"rubric\[0\] has an unknown field 'wieght'; did you mean weight\?"),
        ([criterion(), criterion(name=" Correct")], "rubric names the criterion 'correct' twice"),
        ([criterion(choices=["yes"])], r"rubric\[0\].choices must be at least two texts"),
        ([criterion(choices="yes")], r"rubric\[0\].choices must be at least two texts"),
        ([criterion(choices=[False, True])], "in YAML, put yes and no in quotes"),
        ([criterion(choices=["yes", "Yes"])], r"rubric\[0\].choices names a verdict twice"),
        ([criterion(choices=["yes", ""])], r"rubric\[0\].choices must be texts that are not empty"),
        ([criterion(weight=math.nan)], r"rubric\[0\].weight must be a finite number, not nan"),
        ([criterion(weight=math.inf)], r"rubric\[0\].weight must be a finite number, not inf"),
        ([criterion(weight=None)], r"rubric\[0\].weight must be a finite number, not None"),
        ([criterion(weight="1")], r"rubric\[0\].weight must be a finite number, not '1'"),
        ([criterion(weight=True)], r"rubric\[0\].weight must be a finite number, not True"),
        ([criterion(weight=0)], "rubric has no criterion with a positive weight"),
        ([criterion(name="no_verdict")], r"rubric\[0\].name must not be no_verdict"),
    ],
)
def test_a_rubric_that_cannot_work_is_refused_in_one_line_that_names_the_field(value, message):
    with pytest.raises(ValueError, match=message) as refused:
        rubric_of(value, "rubric")
    assert "\n" not in str(refused.value)


weights = st.sampled_from([-2.0, -0.5, 0.0, 0.0, 0.5, 1.0, 3.0])
verdicts = st.one_of(st.floats(0, 1), st.just("no verdict"))


@given(st.lists(st.tuples(weights, verdicts), min_size=1, max_size=6))
@settings(max_examples=200, deadline=None)
def test_a_score_is_the_weighted_mean_of_what_is_paid_and_fails_only_for_what_is_paid(rows):
    rubric = tuple(Criterion(f"c{place}", "text", weight) for place, (weight, _) in enumerate(rows))
    if not any(weight > 0 for weight, _ in rows):
        return
    score = score_of(rubric, {f"c{place}": verdict for place, (_, verdict) in enumerate(rows)})
    if any(isinstance(verdict, str) and weight != 0 for weight, verdict in rows):
        assert score.failure and score.failure.endswith(": no verdict")
        return
    paid = sum(weight * verdict for weight, verdict in rows if weight != 0)
    assert score.value == pytest.approx(paid / sum(weight for weight, _ in rows if weight > 0))
    shown = {f"c{place}": verdict for place, (_, verdict) in enumerate(rows) if not isinstance(verdict, str)}
    assert score.parts == {**shown, "no_verdict": len(rows) - len(shown)}
