"""Verdicts on one response, against naive readings of odd texts; parsers never crash and never make up a number."""

from __future__ import annotations

import functools
import json
import math
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards.judging import singles
from rewards.judging.formats import shipped
from rewards.judging.generators import Token, Written
from rewards.judging.pairs import load_pair_format
from rewards.judging.rubric import Criterion
from rewards.judging.single_kinds import CriteriaJson, Probability
from rewards.judging.singles import SingleFormat
from tests.rewards.judging.texts import texts

RUBRIC = (Criterion("correct", "Right?"), Criterion("style", "Well written?", 0.5, ("bad", "fair", "good")))
MANY = settings(max_examples=200, deadline=None)
load_single_format = functools.cache(singles.load_single_format)

members = st.dictionaries(
    st.sampled_from(["correct", "Correct", "style", "other", "reason", "verdict"]),
    st.one_of(
        st.fixed_dictionaries(
            {"reason": st.text(max_size=5)},
            optional={
                "verdict": st.sampled_from(["yes", "NO", "fair", "good", "maybe", "", True, None, 1, 0.5, ["yes"], {}])
            },
        ),
        st.sampled_from(["yes", None, 3, {}]),
    ),
    max_size=4,
)
judgements = st.lists(st.one_of(members.map(json.dumps), texts), max_size=3).map("".join)


def single_formats() -> list[str]:
    found = []
    for name in shipped():
        try:
            load_single_format(name)
        except ValueError as error:
            assert "verdict.kind" in str(error)  # a format for pairs
        else:
            found.append(name)
    return found


def naive(text: str) -> dict[str, float | None]:
    """The last object, or object inside an object, that names a criterion, if the text holds whole objects only."""
    best: dict = {}

    def visit(found: list[tuple[str, object]]) -> None:
        nonlocal best
        named = [(name.lower(), value) for name, value in found if name.lower() in ("correct", "style")]
        best = {"pairs": named} if named else best

    place = 0
    while place < len(text):
        if text[place] == "{":
            for end in range(len(text), place, -1):
                if text[end - 1] == "}":
                    try:
                        found = json.loads(text[place:end], object_pairs_hook=list)
                    except (ValueError, RecursionError):
                        continue
                    visit(found)
                    for _, value in found:
                        if isinstance(value, list) and all(isinstance(one, tuple) for one in value):
                            visit(list(dict(value).items()))
                    place = end - 1
                    break
            else:
                pass
        place += 1
    values: dict[str, float | None] = {}
    for one in RUBRIC:
        said = [
            dict(value)
            for name, value in best.get("pairs", [])
            if name == one.name and isinstance(value, list) and value and isinstance(value[0], tuple)
        ]
        words = [
            str(value["verdict"]).lower()
            for value in said
            if isinstance(value.get("verdict"), str | int) and not isinstance(value.get("verdict"), bool)
        ]
        bad = [value for value in said if "verdict" in value and str(value["verdict"]).lower() not in one.choices]
        numbers = {one.choices.index(word) / (len(one.choices) - 1) for word in words if word in one.choices}
        values[one.name] = numbers.pop() if len(numbers) == 1 and not bad else None
    return values


@given(st.lists(members.map(json.dumps), max_size=3).map(" then ".join))
@MANY
def test_criteria_are_read_from_the_last_object_that_names_one(text):
    read = CriteriaJson().read(text, RUBRIC)
    assert {name: None if isinstance(value, str) else value for name, value in read.items()} == naive(text)


@given(judgements)
@MANY
def test_every_criterion_has_a_number_in_range_or_a_reason(text):
    for value in CriteriaJson().read(text, RUBRIC).values():
        assert isinstance(value, str) or 0 <= value <= 1


@given(members.map(json.dumps), st.integers(0, 400))
@MANY
def test_a_text_that_is_cut_keeps_the_verdicts_before_the_cut_and_changes_none(text, end):
    whole, cut = CriteriaJson().read(text, RUBRIC), CriteriaJson().read(text[:end], RUBRIC)
    for name, value in cut.items():
        assert isinstance(value, str) or value == whole[name] or text.lower().count(f'"{name}"') > 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            '{"correct": {"reason": "ok", "verdict": "yes"}, "style": {"reason": "so',
            {"correct": 1.0, "style": "the judge gave no verdict"},
        ),
        ('{"correct": {"verdict": "yes"}}', {"correct": 1.0, "style": "the judge gave no verdict"}),
        (
            '{"correct": {"verdict": "perhaps"}}',
            {"correct": "the verdict is not one of no, yes", "style": "the judge gave no verdict"},
        ),
        (
            '{"correct": {"verdict": "yes"}, "correct": {"verdict": "no"}}',
            {"correct": "the judge gave several different verdicts", "style": "the judge gave no verdict"},
        ),
        ('{"verdicts": {"correct": {"verdict": "no"}, "STYLE": {"verdict": "Fair"}}}', {"correct": 0.0, "style": 0.5}),
        (
            '{"correct": {"verdict": "no"}} Wait. {"correct": {"verdict": "yes"}, "style": {"verdict": "bad"}}',
            {"correct": 1.0, "style": 0.0},
        ),
        (
            "The answer is right, yes, and the style is good.",
            {"correct": "the judge gave no verdict", "style": "the judge gave no verdict"},
        ),
        (
            '{"correct": {"reason": "he wrote {\\"correct\\": {\\"verdict\\": \\"yes\\"}}", "verdict": "no"}}',
            {"correct": 0.0, "style": "the judge gave no verdict"},
        ),
    ],
)
def test_criteria_by_example(text, expected):
    assert CriteriaJson().read(text, RUBRIC) == expected


def test_the_schema_asks_for_every_criterion_and_the_reason_before_the_verdict():
    schema = CriteriaJson().schema(RUBRIC)
    assert schema["required"] == ["correct", "style"] and schema["additionalProperties"] is False
    inner = schema["properties"]["style"]
    assert list(inner["properties"]) == inner["required"] == ["reason", "verdict"]
    assert inner["properties"]["verdict"]["enum"] == ["bad", "fair", "good"]


@given(texts)
@MANY
def test_mt_bench_takes_the_first_rating_and_single_brackets_only_without_double_ones(text):
    found = re.search(r"\[\[(\d+\.?\d*)\]\]", text) or re.search(r"\[(\d+\.?\d*)\]", text)
    rating = float(found[1]) if found else None
    expected = (rating - 1) / 9 if rating is not None and 1 <= rating <= 10 else None
    [value] = load_single_format("mt_bench_single").read(Written(text), singles.ALONE).values()
    assert (None if isinstance(value, str) else value) == expected


def token(text: str, **likeliest: float) -> Token:
    return Token(text, [(word.replace("_", " "), math.log(share)) for word, share in likeliest.items()])


def test_a_probability_is_the_share_of_yes_among_yes_and_no_whatever_their_case():
    written = Written("Yes", tokens=[token("Yes", Yes=0.3, _yes=0.1, NO=0.1, Maybe=0.5)])
    assert Probability(at="first").read(written) == pytest.approx(0.8)
    assert Probability(at="last").read(written) == pytest.approx(0.8)


def test_the_last_verdict_counts_after_thoughts_and_the_first_token_whatever_it_is():
    tokens = [
        token("I", I=0.9, Yes=0.02, No=0.06),
        token(" No", _No=0.9, _Yes=0.1),
        token("."),
        token(" Yes", _Yes=0.75, _No=0.25),
    ]
    written = Written("I No. Yes", tokens=[*tokens, token("\n")])
    assert Probability(at="first").read(written) == pytest.approx(0.25)
    assert Probability(at="last").read(written) == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        (Written("Yes"), "the judge gave no log-probabilities"),
        (Written("Hm", tokens=[token("Hm", Hm=0.9, Ah=0.1)]), "neither verdict is among the 20 likeliest tokens"),
        (Written("Hm", tokens=[Token("yes", [("yes", math.nan), ("no", -math.inf)])]), "neither verdict is among"),
    ],
)
def test_without_the_two_words_there_is_no_probability(written, reason):
    value = Probability(at="first").read(written)
    assert isinstance(value, str) and reason in value


def test_a_word_that_is_not_listed_has_probability_zero():
    assert Probability(at="first").read(Written("No", tokens=[token("No", No=0.9)])) == 0.0


@pytest.mark.parametrize("name", single_formats())
@given(text=texts, cut=st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_format_never_crashes_and_gives_every_criterion_a_number_in_range_or_a_reason(name, text, cut):
    format: SingleFormat = load_single_format(name)
    tokens = [Token(word, [(word, -0.5), ("No", -1.0)]) for word in text.split(" ")]
    values = format.read(Written(text, cut=cut, tokens=tokens), RUBRIC)
    assert set(values) == {"correct", "style"}
    for value in values.values():
        assert (isinstance(value, str) and value) or 0 <= value <= 1


@pytest.mark.parametrize("text", ['{"correct":' * 20_000, "<answer>" * 5_000, "[[" * 20_000, "```json{" * 2_000])
def test_a_judge_that_repeats_itself_takes_no_long_time(text):
    begun = time.process_time()
    assert not any(isinstance(value, float) for value in CriteriaJson().read(text, RUBRIC).values())
    for name in ("nemotron_genrm", "rm_r1_instruct", "arena_hard"):
        assert not load_pair_format(name).read(text).given
    assert time.process_time() - begun < 2
