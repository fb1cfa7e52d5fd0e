from __future__ import annotations

import pytest

from rewards.files.responses import group_of, records


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
        ({"problem": None, "responses": ["a"]}, "there is no problem"),
        ({"problem": " ", "responses": ["a"]}, "the prompt is empty"),
        ({"problem": 5, "responses": ["a"]}, "the prompt must be text or messages, not a number"),
        ({"problem": [{"role": "assistant", "content": "q"}], "responses": ["a"]}, "must end with a user turn"),
        ({"problem": "q"}, "there are no responses"),
        ({"problem": "q", "responses": "a"}, "there are no responses"),
        ({"problem": "q", "responses": ["a", 1]}, "response 1 is not"),
        ({"problem": "q", "responses": ["a"], "answer": True}, "answer must be text or a number, not a boolean"),
        ({"problem": "q", "responses": ["a"], "answer": ["1"]}, "answer must be text or a number, not a list"),
        ({"problem": "q", "responses": ["a"], "answer": float("nan")}, "answer is not a finite number"),
        ({"problem": "q", "responses": ["a"], "id": {}}, "id must be text or a number, not an object"),
    ],
)
def test_a_record_that_lacks_something_says_what(record, message):
    with pytest.raises(ValueError, match=message):
        group_of(record, 1)


def test_other_fields_are_metadata_and_what_judges_responses_is_not():
    record = {"problem": "q", "responses": ["a"], "label": [1], "scores": [], "level": 3, "extra": {"x": float("nan")}}
    assert group_of(record, 1).problem.metadata == {"level": 3, "extra": {"x": None}}


def test_content_parts_are_texts():
    parts = [{"type": "text", "text": "1 + "}, {"type": "text", "text": "1"}]
    for prompt in (parts, [{"role": "user", "content": parts}]):
        assert group_of({"prompt": prompt, "responses": [parts]}, 1).problem.text == "1 + 1"
    assert group_of({"prompt": "q", "responses": [parts]}, 1).responses[0].text == "1 + 1"


@pytest.mark.parametrize(("number", "text"), [(0.00002, "0.00002"), (12, "12"), (1.5, "1.5"), (1e21, "1" + "0" * 21)])
def test_a_number_as_answer_is_written_without_an_exponent(number, text):
    assert group_of({"problem": "q", "responses": [], "answer": number}, 1).problem.answer == text


@pytest.mark.parametrize(("text", "line"), [('{"a": 1}\n\n{"a": \n', 3), ('[{"a": 1},\n {"a"]', 2), ("{}\n4", 2)])
def test_a_broken_line_is_named_by_its_number(tmp_path, text, line):
    file = tmp_path / "in.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=f"line {line}"):
        list(records(file))


def test_a_json_list_is_read_as_well_as_lines(tmp_path):
    file = tmp_path / "in.json"
    file.write_text('[\n {"a": 1},\n {"a": 2}]')
    assert list(records(file)) == [{"a": 1}, {"a": 2}]
