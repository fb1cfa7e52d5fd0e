from __future__ import annotations

import itertools

import pytest

from rewards.chat import ChatTemplate, load_tokenizer
from rewards.outcome import OutcomeReward
from rewards.process import ProcessReward
from rewards.steps import splitter
from rewards.training.annotated import beginnings, empty_steps, outcome_rows, process_rows, question_of, sign
from rewards.training.examples import mark_signs
from rewards.training.row_formats import parse_signs
from rewards.types import Problem, Response
from rl.annotation.summary import figures, lines
from tests.tiny import make_llama, make_tokenizer

SPLIT = splitter("line")


def record(*solutions: tuple[str, list[float]], prompt: object = "2 + 2?", **more: object) -> dict:
    texts = [text for text, _ in solutions]
    return {
        "id": "one",
        "line": 1,
        "prompt": prompt,
        "answers": texts,
        "label": [int(values[-1]) for _, values in solutions],
        "answer": "4",
        "step_spans": [SPLIT(text) for text in texts],
        "step_values": [values for _, values in solutions],
        "left_out": [],
        "undecided": 0,
    } | more


def test_the_hard_label_is_positive_if_any_continuation_is_correct():
    for k in (1, 2, 3, 5):
        for grades in itertools.product((False, True), repeat=k):
            assert sign(sum(grades) / k) == ("+" if any(grades) else "-")


def test_process_data_has_the_published_form():
    [row] = process_rows(record(("first\nsecond\nA: 4", [0.25, 0.0, 1.0])), soft=False, remove="")
    assert row == {
        "conversations": [
            {"role": "user", "content": "2 + 2? first"},
            {"role": "assistant", "content": "+"},
            {"role": "user", "content": "second"},
            {"role": "assistant", "content": "-"},
            {"role": "user", "content": "A: 4"},
            {"role": "assistant", "content": "+"},
        ]
    }


def test_process_data_is_what_the_process_reward_asks(tmp_path):
    policy = str(make_llama(tmp_path / "policy", make_tokenizer()))
    text = "first\n\n  second\nA: 4\n"
    one = record((text, [1.0, 1.0, 1.0]))
    [row] = process_rows(one, soft=False, remove="")
    texts, _ = ProcessReward(policy).steps(text)
    asked = [turn["content"] for turn in row["conversations"] if turn["role"] == "user"]
    assert asked == [f"2 + 2? {texts[0]}", *texts[1:]]


def test_soft_labels_are_added_to_the_signs():
    [row] = process_rows(record(("first\nA: 5", [0.25, 0.0])), soft=True, remove="")
    assert row["values"] == [0.25, 0.0]
    assert [turn["content"] for turn in row["conversations"][1::2]] == ["+", "-"]


def test_outcome_data_has_the_whole_solution_in_one_turn():
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "2 + 2?"}]
    rows = list(outcome_rows(record(("so ки\nA: 4 ки", [1.0, 1.0]), ("A: 5", [0.0]), prompt=messages), remove=" ки"))
    assert [row["conversations"] for row in rows] == [
        [{"role": "user", "content": "2 + 2? so\nA: 4"}, {"role": "assistant", "content": "+"}],
        [{"role": "user", "content": "2 + 2? A: 5"}, {"role": "assistant", "content": "-"}],
    ]


DIALOGUE = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "1 + 1?"},
    {"role": "assistant", "content": "A: 2"},
    {"role": "user", "content": "2 + 2?"},
]


@pytest.mark.parametrize("kind", ["process", "outcome"])
def test_a_model_is_trained_on_the_tokens_that_its_reward_reads_of_a_dialogue(kind, tmp_path):
    policy = str(make_llama(tmp_path / "policy", make_tokenizer()))
    text = "first\nA: 4"
    one = record((text, [1.0, 1.0]), prompt=DIALOGUE)
    [row] = process_rows(one, soft=False, remove="") if kind == "process" else outcome_rows(one, remove="")
    assert row["earlier"] == DIALOGUE[1:3]
    reward = ProcessReward(policy) if kind == "process" else OutcomeReward(policy)
    [asked] = reward.prompts([(Problem("one", tuple(DIALOGUE)), Response(text))])
    signs = parse_signs(row, ("+", "-"))
    [marked] = mark_signs(ChatTemplate(load_tokenizer(policy)), [signs], ("+", "-"), None, "positive")
    assert marked.ids.tolist() == list(asked.ids)
    assert marked.positions.tolist() == list(asked.positions)


def test_a_judge_reads_a_dialogue_as_a_transcript():
    assert question_of(record(prompt=DIALOGUE)) == "User: 1 + 1?\n\nAssistant: A: 2\n\nUser: 2 + 2?"
    assert question_of(record()) == "2 + 2?"


def test_a_step_of_nothing_but_removed_text_takes_its_label_with_it():
    [row] = process_rows(record(("first\nки\nA: 4", [0.5, 0.0, 1.0])), soft=True, remove="ки")
    assert [turn["content"] for turn in row["conversations"]] == ["2 + 2? first", "+", "A: 4", "+"]
    assert row["values"] == [0.5, 1.0]


@pytest.mark.parametrize("text", ["a\nb\nc", "a\n\n  b \nc\n", "a", "\na\nb"])
def test_every_step_but_the_last_is_continued_from_where_the_next_one_begins(text):
    spans = SPLIT(text)
    starts = beginnings(text, spans)
    assert len(starts) == len(spans) - 1
    for start, (own, following) in zip(starts, itertools.pairwise(spans), strict=True):
        assert text.startswith(start)
        assert start.rstrip() == text[: own[1]]
        assert text[len(start) :].startswith(text[slice(*following)])


@pytest.mark.parametrize(
    ("text", "empty"),
    [("a\n\nb", []), ("a\n\n\n\nb", [1]), ("a\n\nb\n\n\n\n", []), ("\n\na\n\n \n\nb", [0, 2]), ("", [])],
)
def test_empty_steps_are_those_before_the_last_one(text, empty):
    assert empty_steps(splitter("blank_line", keep_empty=True)(text)) == empty


def test_the_figures_count_what_a_loop_counts():
    solutions = [("a\nA: 4", [0.5, 1.0]), ("b\nA: 5", [0.25, 0.0]), ("c\nA: 5", [0.0, 0.0])]
    found = figures([record(*solutions, step_labels=[[1, 1], [0, 0], [1, 0]]), record()])
    assert (found["problems"], found["problems_without_solution"], found["solutions"], found["steps"]) == (2, 1, 3, 6)
    assert found["solutions_right"] == pytest.approx(1 / 3)
    assert found["steps_positive"] == pytest.approx(3 / 6)
    assert found["steps_undecided"] == pytest.approx(2 / 6)
    assert found["agreement"] == {
        "steps": 6,
        "agree": pytest.approx(4 / 6),
        "right_step_called_wrong": pytest.approx(1 / 3),
        "wrong_step_called_right": pytest.approx(1 / 3),
    }
    assert any("66.7% agree" in line for line in lines(found))


def test_figures_of_nothing_are_none_and_not_zero():
    found = figures([record()])
    assert found["solutions_right"] is None and "agreement" not in found
    assert "none right" in next(lines(found))


def test_a_system_turn_among_the_earlier_ones_is_refused():
    row = {"conversations": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "+"}]}
    with pytest.raises(ValueError, match="earlier: a system turn"):
        parse_signs(row | {"earlier": DIALOGUE[:3]}, ("+", "-"))
    with pytest.raises(ValueError, match="earlier must be a list"):
        parse_signs(row | {"earlier": []}, ("+", "-"))
