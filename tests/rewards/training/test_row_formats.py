from __future__ import annotations

import math

import pytest

from rewards.training.row_formats import parse_judgement, parse_objectives, parse_preference, parse_signs

LABELS = ("+", "-")


def said(*texts: str, first: str = "user") -> list[dict[str, str]]:
    roles = ("user", "assistant") if first == "user" else ("assistant", "user")
    return [{"role": roles[place % 2], "content": text} for place, text in enumerate(texts)]


def test_a_conversation_gives_its_steps_and_their_labels():
    row = parse_signs({"conversations": said("2 + 2? Add.", "+", "It is 5.", "-")}, LABELS)
    assert (row.users, row.labels, row.system) == (("2 + 2? Add.", "It is 5."), ("+", "-"), None)


def test_a_system_turn_stays_with_its_row():
    row = parse_signs({"messages": [{"role": "system", "content": "Be fair."}, *said("a", "-")]}, LABELS)
    assert row.system == "Be fair." and row.labels == ("-",)


def test_values_are_read_as_shares_only_where_they_are_the_targets():
    record = {"conversations": said("a", "+", "b", "-"), "values": [0.25, 0]}
    assert parse_signs(record, LABELS, soft=True).shares == (0.25, 0.0)
    assert parse_signs(record, LABELS).shares is None


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (None, "there are no values"),
        ([1], "2 shares, one per step, not 1 of them"),
        ("many", "not str"),
        ([0, 1.5], "value of step 1 must be a share"),
        ([math.nan, 0], "value of step 0"),
        ([True, 0], "value of step 0"),
        ([10**400, 0], "value of step 0"),
    ],
)
def test_values_that_are_not_shares_are_refused(values, reason):
    with pytest.raises(ValueError, match=reason):
        parse_signs({"conversations": said("a", "+", "b", "-"), "values": values}, LABELS, soft=True)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({}, "there is no conversation"),
        ({"conversations": said("a", "+"), "messages": said("a", "+")}, "both given"),
        ({"conversations": []}, "list of messages that is not empty"),
        ({"conversations": [{"from": "human", "value": "a"}]}, "must be an object with role and content"),
        ({"conversations": said("a", "+", "b")}, "pairs of user and assistant turns"),
        ({"conversations": said("+", "a", first="assistant")}, "turn 0 is the assistant's"),
        ({"conversations": said("a", "+", " \n", "-")}, "step 1 is empty"),
        ({"conversations": said("a", "good")}, "step 0 is labelled 'good'"),
    ],
)
def test_a_bad_conversation_is_refused_with_its_reason(record, reason):
    with pytest.raises(ValueError, match=reason):
        parse_signs(record, LABELS)


def test_pairs_are_read_as_messages_and_as_texts():
    texts = parse_preference({"prompt": "2 + 2?", "chosen": "4", "rejected": "5"})
    messages = parse_preference({"chosen": said("2 + 2?", "4"), "rejected": said("2 + 2?", "5")})
    assert texts == messages


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"chosen": "4", "rejected": "5"}, "no prompt"),
        ({"prompt": "q", "chosen": "4"}, "rejected must be a list"),
        ({"prompt": "q", "chosen": "4", "rejected": "4"}, "the same"),
        ({"prompt": "q", "chosen": " ", "rejected": "4"}, "chosen: the response is empty"),
        ({"chosen": said("a", "4"), "rejected": said("b", "5")}, "same prompt"),
        ({"chosen": said("a"), "rejected": said("a", "5")}, "end with a response"),
    ],
)
def test_a_bad_pair_is_refused_with_its_reason(record, reason):
    with pytest.raises(ValueError, match=reason):
        parse_preference(record)


def test_objectives_may_be_unknown_but_not_ragged():
    names = ("truth", "style", "length")
    row = parse_objectives({"messages": said("q", "r"), "truth": 0.5, "style": math.nan}, names)
    assert row.values[0] == 0.5 and all(math.isnan(value) for value in row.values[1:])
    listed = parse_objectives({"prompt": "q", "response": "r", "objectives": [1, None, 2]}, names)
    assert listed.values[::2] == (1.0, 2.0) and listed.turns == row.turns
    for bad, reason in (
        ({"objectives": [1, 2]}, "3 numbers, not 2 numbers"),
        ({"objectives": [None, math.nan, None]}, "no objective is known"),
        ({"truth": "high"}, "objective truth must be a number"),
        ({"truth": math.inf}, "objective truth must be a number between -1e"),
        ({"truth": -(10**400)}, "objective truth must be a number between -1e"),
    ):
        with pytest.raises(ValueError, match=reason):
            parse_objectives({"messages": said("q", "r"), **bad}, names)


def test_a_judgement_needs_both_verdicts():
    good = "Checked.\n<resp_a_judge>Correct</resp_a_judge>\n<resp_b_judge>Incorrect</resp_b_judge>"
    asked = {"question": "q", "response_a": "a", "response_b": "b"}
    row = parse_judgement({**asked, "judgement": good})
    assert row.verdict.a and row.verdict.b is False
    assert parse_judgement({"messages": said("compare", good)}).written == good
    with pytest.raises(ValueError, match="no verdict on response B"):
        parse_judgement({**asked, "judgement": good.split("\n<resp_b")[0]})
    with pytest.raises(ValueError, match="response_b is not a text"):
        parse_judgement({**asked, "response_b": None, "judgement": good})
