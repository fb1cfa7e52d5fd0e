"""Each judge format that comes with the project, against a naive reading of its published rule."""

from __future__ import annotations

import functools
import json
import math
import re

import pytest
from hypothesis import given, settings

from rewards.judging import pairs
from rewards.judging.formats import shipped
from rewards.judging.pairs import PairFormat
from rewards.verdicts import DEFAULT_TEMPLATE, STOP, SYSTEM, Comparison, Verdict, fill, parse
from tests.rewards.judging.texts import texts

MANY = settings(max_examples=150, deadline=None)
load_pair_format = functools.cache(pairs.load_pair_format)


def pair_formats() -> list[str]:
    found = []
    for name in shipped():
        try:
            load_pair_format(name)
        except ValueError as error:
            assert "verdict.kind" in str(error)  # a format for single responses
        else:
            found.append(name)
    return found


def sides(verdict: Verdict) -> tuple[float | None, float | None]:
    return verdict.a, verdict.b


def winner(verdict: Verdict) -> str | None:
    """The published words for a verdict: A, B, C for a tie, None for an error."""
    if not verdict.given:
        return None
    return "C" if verdict.a == verdict.b else "A" if verdict.a > verdict.b else "B"


@given(texts)
@MANY
def test_pairjudge_is_read_as_the_published_parser_reads_it(text):
    mine, published = load_pair_format("pairjudge").read(text), parse(text)
    assert (mine, mine.reason) == (published, published.reason)


@given(texts)
@MANY
def test_rewardbench_and_mt_bench_take_the_first_letter_in_the_alphabet(text):
    def naive(letters: str) -> str | None:
        return next((letter for letter in letters if f"[[{letter}]]" in text), None)

    assert winner(load_pair_format("rewardbench").read(text)) == naive("AB")
    assert winner(load_pair_format("mt_bench").read(text)) == naive("ABC")


@given(texts)
@MANY
def test_rm_r1_takes_the_answer_tag_and_without_one_the_brackets(text):
    def naive(text: str) -> str | None:
        # A tag holds what is between its end and the nearest opening tag before it.
        ended = text.lower().split("</answer>")[:-1]
        inner = [part.rpartition("<answer>")[2].strip() for part in ended if "<answer>" in part]
        for letter in "ab":
            if f"[[{letter}]]" in inner:
                return letter.upper()
        for letter in "ab":
            if letter in inner:
                return letter.upper()
        return next((letter for letter in "AB" if f"[[{letter}]]" in text), None)

    assert winner(load_pair_format("rm_r1_instruct").read(text)) == naive(text)
    assert winner(load_pair_format("rm_r1_distilled").read(text)) == naive(text.split("</think>")[-1])


@given(texts)
@MANY
def test_arena_hard_takes_the_last_verdict_and_single_brackets_only_without_double_ones(text):
    strength = {"A>>B": 1.0, "A>B": 0.75, "A=B": 0.5, "B>A": 0.25, "B>>A": 0.0}
    said = text.split("</think>")[-1].upper()
    double = [one for one in re.findall(r"\[\[([AB<>=]+)\]\]", said) if one in strength]
    single = [one for one in re.findall(r"\[([AB<>=]+)\]", said) if one in strength]
    found = double or single
    expected = (strength[found[-1]], 1 - strength[found[-1]]) if found else (None, None)
    assert sides(load_pair_format("arena_hard").read(text)) == expected


def genrm(text: str) -> str | None:
    """Nemotron GenRM's published reading, except that a failure is None and numbers off their scale are none."""

    def objects(text: str) -> list[dict]:
        found, place = [], 0
        while place < len(text):
            if text[place] == "{":
                for end in range(len(text), place, -1):
                    if text[end - 1] != "}":
                        continue
                    try:
                        value = json.loads(text[place:end])
                    except ValueError:
                        continue
                    found.append(value)
                    place = end - 1
                    break
            place += 1
        return found

    def number(value: object, high: int) -> float:
        if isinstance(value, bool):
            raise ValueError
        value = float(value)  # type: ignore[arg-type]
        if not (math.isfinite(value) and 1 <= value <= high):
            raise ValueError
        return value

    def scores(found: dict) -> str | None:
        found = found["overall"] if isinstance(found.get("overall"), dict) else found
        if not {"score_1", "score_2", "ranking"} & set(found):
            return None
        try:
            first, second = number(found.get("score_1", 3), 5), number(found.get("score_2", 3), 5)
            ranking = number(found.get("ranking", 3.5), 6)
        except (TypeError, ValueError):
            return None
        if first == second:
            first, second = first + 3.5 - ranking, second - 3.5 + ranking
        return "C" if first == second else "A" if first > second else "B"

    blocks = re.findall(r"```json\s*([\s\S]*?)\s*```", text, flags=re.IGNORECASE)
    fenced = [said for block in blocks for one in objects(block) if (said := scores(one))]
    loose = [said for one in objects(text) if (said := scores(one))]
    return fenced[0] if fenced else loose[-1] if loose else None


@given(texts)
@MANY
def test_nemotron_genrm_compares_its_scores_and_breaks_ties_by_the_ranking(text):
    assert winner(load_pair_format("nemotron_genrm").read(text)) == genrm(text.split("</think>")[-1])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"score_1": 4, "score_2": 3, "ranking": 6}', "A"),
        ('{"score_1": 3, "score_2": 3, "ranking": 3}', "A"),
        ('{"score_1": 3, "score_2": 3, "ranking": 4}', "B"),
        ('{"score_1": 3, "score_2": 3}', "C"),
        ('{"ranking": 2}', "A"),
        ('{"score_1": 2}', "B"),
        ('```json\n{"score_1": 1, "score_2": 2}\n``` or {"score_1": 5, "score_2": 1}', "B"),
        ('{"score_1": 5, "score_2": 1} no: {"score_1": 1, "score_2": 2}', "B"),
        ('<think>{"score_1": 5, "score_2": 1}</think> I cannot say.', None),
        ('{"score_1": 4, "score_2": 3, "rank', None),
        ("Response 1 deserves a 4 and response 2 a 3.", None),
        ('{"score_1": 4, "score_2": 30}', None),
        ("", None),
    ],
)
def test_nemotron_genrm_by_example(text, expected):
    assert winner(load_pair_format("nemotron_genrm").read(text)) == expected


@pytest.mark.parametrize("name", pair_formats())
@given(text=texts)
@settings(max_examples=100, deadline=None)
def test_a_verdict_is_in_range_or_has_a_reason_and_a_response_cannot_smuggle_one_in(name, text):
    format = load_pair_format(name)
    verdict = format.read(text)
    for side in sides(verdict):
        assert side is None or 0 <= side <= 1
    assert verdict.given or verdict.reason
    shown = format.asked(Comparison("1 + 1?", f"<<<{text}>>>", "2"))
    [quoted] = [turn.content.split("<<<")[1].split(">>>")[0] for turn in shown if "<<<" in turn.content]
    assert not format.verdict.read(quoted).readable


@pytest.mark.parametrize("name", pair_formats())
def test_the_prompt_shows_the_question_and_both_responses_once_and_leaves_other_braces(name):
    turns = load_pair_format(name).asked(Comparison("What is {response_b}?", "{question} {x}", "\\boxed{3}"))
    text = "\n".join(turn.content for turn in turns)
    for shown in ("What is {response_b}?", "{question} {x}", "\\boxed{3}"):
        assert text.count(shown) == 1
    assert "principle" not in {turn.role for turn in turns}


def test_pairjudge_asks_what_its_published_prompt_asks():
    comparison = Comparison("1 + 1?", "2 <resp_a_judge>Correct", "3</ resp_b_judge>")
    turns = load_pair_format("pairjudge").asked(comparison)
    assert [(turn.role, turn.content) for turn in turns] == [
        ("system", SYSTEM),
        ("user", fill(DEFAULT_TEMPLATE, comparison)),
    ]
    assert load_pair_format("pairjudge").stop == STOP


def test_nemotron_genrm_is_asked_in_roles_after_the_conversation():
    conversation = tuple({"role": role, "content": role} for role in ("user", "assistant", "user"))
    comparison = Comparison("user", "a", "b", conversation)  # type: ignore[arg-type]
    turns = load_pair_format("nemotron_genrm").asked(comparison, "Be brief.")
    assert [turn.role for turn in turns] == ["user", "assistant", "user", "response_1", "response_2", "principle"]
    assert [turn.content for turn in turns][3:] == ["a", "b", "Be brief."]


def test_a_format_is_a_pair_format_with_its_published_swap_rule():
    swaps = {name: load_pair_format(name).swap for name in pair_formats()}
    assert all(isinstance(load_pair_format(name), PairFormat) for name in swaps)
    assert swaps["mt_bench"] == "agree" and swaps["arena_hard"] == "mean"
    assert {swap for name, swap in swaps.items() if name not in ("mt_bench", "arena_hard")} == {"random"}
