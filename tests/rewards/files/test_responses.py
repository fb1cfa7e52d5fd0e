from __future__ import annotations

import json

import pytest

from rewards.files.responses import group_of, groups, records


@pytest.mark.parametrize(
    ("record", "texts"),
    [
        ({"problem": "q", "responses": ["a", "b"], "answer": 12}, ["a", "b"]),
        ({"prompt": "q", "answers": ["a"], "label": [1], "answer": "12"}, ["a"]),
        ({"question": "q", "response": "a", "answer": "12"}, ["a"]),
        ({"problem": "q", "steps": ["a\nb", "c"], "answer": "12"}, ["a\nb\n\nc"]),
    ],
)
def test_every_published_form_is_read(record, texts):
    group = group_of(record, 3)
    assert (group.problem.text, group.problem.answer, group.problem.id) == ("q", "12", "3")
    assert [response.text for response in group.responses] == texts


def test_a_prompt_may_be_chat_messages():
    group = group_of({"prompt": [{"role": "user", "content": "q"}], "response": "a"}, 1)
    assert group.problem.text == "q"
    assert group.problem.answer is None


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"responses": ["a"]}, "there is no problem"),
        ({"problem": "", "responses": ["a"]}, "there is no problem"),
        ({"problem": "q"}, "there are no responses"),
        ({"problem": "q", "responses": "a"}, "there are no responses"),
        ({"problem": "q", "responses": [1]}, "every response must be a text"),
    ],
)
def test_a_record_that_lacks_something_is_named_by_its_number(tmp_path, record, message):
    file = tmp_path / "in.jsonl"
    file.write_text('{"problem": "q", "responses": []}\n' + json.dumps(record))
    with pytest.raises(ValueError, match=f"record 2: {message}"):
        list(groups(file))


@pytest.mark.parametrize(("text", "line"), [('{"a": 1}\n\n{"a": \n', 3), ('[{"a": 1},\n {"a"]', 2), ("{}\n4", 2)])
def test_a_broken_line_is_named_by_its_number(tmp_path, text, line):
    file = tmp_path / "in.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=f"line {line}"):
        list(records(file))


def test_a_line_that_would_break_a_tokenizer_is_named_before_anything_is_scored(tmp_path):
    file = tmp_path / "in.jsonl"
    file.write_text('{"problem": "q", "response": "a"}\n{"problem": "q", "response": "\\ud83d"}\n')
    with pytest.raises(ValueError, match="line 2: response: half a character"):
        list(groups(file))


def test_a_json_list_is_read_as_well_as_lines(tmp_path):
    file = tmp_path / "in.json"
    file.write_text('[\n {"a": 1},\n {"a": 2}]')
    assert list(records(file)) == [{"a": 1}, {"a": 2}]
