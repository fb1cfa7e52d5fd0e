from __future__ import annotations

import json
from itertools import islice

import pytest

from rl.tasks.jsonl import JsonlTask


def write(path, *rows):
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return str(path)


def problems(*numbers):
    return [{"problem": f"What is {n} + {n}?", "answer": 2 * n} for n in numbers]


@pytest.fixture
def files(tmp_path):
    return write(tmp_path / "train.jsonl", *problems(1, 2, 3)), write(tmp_path / "test.jsonl", *problems(7, 8))


def test_training_problems_come_without_end_each_once_an_epoch(files):
    stream = JsonlTask(*files).train_problems(seed=1)
    epochs = [sorted(problem.answer for problem in islice(stream, 3)) for _ in range(4)]
    assert epochs == [["2", "4", "6"]] * 4


def test_the_seed_alone_decides_the_order(files):
    def order(seed):
        return [problem.id for problem in islice(JsonlTask(*files).train_problems(seed), 12)]

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_held_out_problems_are_always_the_same_and_not_invented(files):
    task = JsonlTask(*files)
    assert [problem.answer for problem in task.held_out_problems(2)] == ["14", "16"]
    with pytest.raises(ValueError, match="held_out has only 2"):
        task.held_out_problems(3)


def test_an_answer_is_graded_by_value(files):
    task = JsonlTask(*files)
    problem = task.held_out_problems(1)[0]
    assert task.grade(problem, "7 + 7 = 14\nThe answer is: 14.0")
    assert not task.grade(problem, "The answer is: 15")
    assert not task.grade(problem, "")


def test_fields_may_have_other_names_and_prompts_may_be_messages(tmp_path):
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 3 + 3?"}]
    train = write(tmp_path / "a.jsonl", {"q": "What is 1 + 1?", "a": "2"})
    test = write(tmp_path / "b.jsonl", {"q": turns, "a": "6", "id": "x1"})
    task = JsonlTask(train, test, problem="q", answer="a")
    held_out = task.held_out_problems(1)[0]
    assert held_out.id == "x1" and held_out.text == "What is 3 + 3?" and held_out.messages == turns


def test_a_system_message_goes_before_every_question(files):
    problem = JsonlTask(*files, system="Think.").held_out_problems(1)[0]
    assert problem.messages[0] == {"role": "system", "content": "Think."}
    assert problem.text == "What is 7 + 7?"


def test_a_question_with_a_system_message_of_its_own_keeps_it_and_gets_no_second_one(tmp_path, files):
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "2+2?"}]},
    ]
    own = write(tmp_path / "own.jsonl", {"problem": turns, "answer": 4})
    problem = JsonlTask(files[0], own, system="Think.").held_out_problems(1)[0]
    assert problem.messages == [turns[0], {"role": "user", "content": "2+2?"}]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"problem": "x", ', "not valid JSON"),
        ("[1, 2]", "JSON object"),
        ('{"question": "x", "answer": "1"}', "no field 'problem'; it has 'question', 'answer'"),
        ('{"problem": "  ", "answer": "1"}', "'problem' is empty"),
        ('{"problem": "x", "answer": ""}', "'answer' is empty"),
        ('{"problem": "x", "answer": null}', "must hold text"),
        ('{"problem": [{"role": "user"}], "answer": "1"}', "role and content"),
        ('{"problem": [{"role": "user", "content": [{"type": "image"}]}], "answer": "1"}', "not text but 'image'"),
        ('{"problem": [{"role": "assistant", "content": "x"}], "answer": "1"}', "end with a user turn"),
    ],
)
def test_a_broken_line_is_named_by_file_and_number(tmp_path, files, line, complaint):
    broken = write(tmp_path / "broken.jsonl", problems(1)[0], "", line)
    with pytest.raises(ValueError) as caught:
        JsonlTask(broken, files[1])
    assert f"{broken}, line 3: " in str(caught.value) and complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_and_empty_files_are_named(tmp_path, files):
    with pytest.raises(FileNotFoundError, match=r"task\.train.*nowhere"):
        JsonlTask(str(tmp_path / "nowhere.jsonl"), files[1])
    with pytest.raises(ValueError, match=r"task\.held_out.*no problems"):
        JsonlTask(files[0], write(tmp_path / "empty.jsonl"))


def test_a_problem_in_both_files_stops_or_is_dropped_and_counted(tmp_path):
    train, test = write(tmp_path / "a.jsonl", *problems(1, 2)), write(tmp_path / "b.jsonl", *problems(2, 3))
    with pytest.raises(ValueError, match=r"1 of the 2 problems.*task\.overlap=drop"):
        JsonlTask(train, test)
    task = JsonlTask(train, test, overlap="drop")
    assert task.dropped == 1
    assert {problem.answer for problem in islice(task.train_problems(0), 5)} == {"2"}


def test_nothing_left_to_train_on_is_an_error(tmp_path):
    same = write(tmp_path / "a.jsonl", *problems(1))
    with pytest.raises(ValueError, match="no problem that is not held out"):
        JsonlTask(same, same, overlap="drop")


def test_prompts_may_have_no_answers(tmp_path):
    train, held_out = (write(tmp_path / name, {"problem": name}) for name in ("train.jsonl", "test.jsonl"))
    task = JsonlTask(train, held_out, answer=None)
    assert next(task.train_problems(1)).answer is None and not task.graded
    assert JsonlTask(*(write(tmp_path / name, *problems(number)) for number, name in enumerate(("a", "b")))).graded
