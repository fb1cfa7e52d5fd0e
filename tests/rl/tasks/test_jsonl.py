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


def test_training_problems_are_endless_and_each_comes_once_per_epoch(files):
    stream = JsonlTask(*files).train_problems(seed=1)
    epochs = [sorted(problem.answer for problem in islice(stream, 3)) for _ in range(4)]
    assert epochs == [["2", "4", "6"]] * 4


def test_only_the_seed_determines_the_order(files):
    def order(seed):
        return [problem.id for problem in islice(JsonlTask(*files).train_problems(seed), 12)]

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_held_out_problems_are_always_the_same_and_come_from_the_file(files):
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


def test_a_question_keeps_its_own_system_message_and_gets_no_second_one(tmp_path, files):
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
        ("[1, 2]", "a row must be a JSON object, not a list"),
        ('{"question": "x", "answer": "1"}', "no field 'problem'; it has 'question', 'answer'"),
        ('{"problem": "  ", "answer": "1"}', "'problem' is empty"),
        ('{"problem": "x", "answer": ""}', "'answer' is empty"),
        ('{"problem": "x", "answer": null}', "'answer' is empty"),
        ('{"problem": "x", "answer": [1]}', "must be text or a number, not a list"),
        ('{"problem": "cut \\ud83d", "answer": "1"}', "half a character"),
        ('{"problem": ' + "[" * 100_000, "nested more than 100 levels deep"),
        ('{"problem": "x", "answer": NaN}', "is not a finite number"),
        ('{"problem": [{"role": "user"}], "answer": "1"}', "role and content"),
        ('{"problem": [{"role": "user", "content": [{"type": "image"}]}], "answer": "1"}', "not text but 'image'"),
        ('{"problem": [{"role": "assistant", "content": "x"}], "answer": "1"}', "end with a user turn"),
    ],
)
def test_an_unusable_row_is_left_out_and_reported_by_file_and_line(tmp_path, files, line, complaint):
    broken = write(tmp_path / "broken.jsonl", problems(1)[0], "", line)
    task = JsonlTask(broken, files[1])
    assert {problem.answer for problem in islice(task.train_problems(1), 3)} == {"2"}
    note, count = task.notes()
    assert f"1 row was left out: {broken}, line 3: " in note and complaint in note
    assert count == "task.train: 1 problems are used, 1 row was left out: see rejects.jsonl"
    task.describe(tmp_path)
    [reject] = map(json.loads, (tmp_path / "rejects.jsonl").read_text().splitlines())
    assert (reject["file"], reject["line"]) == (broken, 3) and complaint in reject["reason"]


def test_missing_and_empty_files_are_reported_by_name(tmp_path, files):
    with pytest.raises(FileNotFoundError, match=r"train .*nowhere"):
        JsonlTask(str(tmp_path / "nowhere.jsonl"), files[1])
    with pytest.raises(ValueError, match=r"task\.held_out: .*empty\.jsonl has no problem .*: it is empty"):
        JsonlTask(files[0], write(tmp_path / "empty.jsonl", "")).held_out_problems(1)
    with pytest.raises(ValueError, match=r"give it as task\.train=\.\.\."):
        JsonlTask(None, files[1]).train_problems(1)


def test_a_problem_in_both_files_stops_or_is_dropped_and_counted(tmp_path):
    train, test = write(tmp_path / "a.jsonl", *problems(1, 2)), write(tmp_path / "b.jsonl", *problems(2, 3))
    with pytest.raises(ValueError, match=r"1 of the 2 problems.*task\.overlap=drop"):
        JsonlTask(train, test).notes()
    task = JsonlTask(train, test, overlap="drop")
    assert "line 2: also held out" in task.notes()[0]
    assert task.dropped == 1
    assert {problem.answer for problem in islice(task.train_problems(0), 5)} == {"2"}


def test_dialogues_overlap_only_if_all_their_turns_are_the_same(tmp_path):
    def dialogue(question):
        turns = [("user", question), ("assistant", "Well."), ("user", "Please continue.")]
        return {"problem": [{"role": role, "content": content} for role, content in turns], "answer": "1"}

    train = write(tmp_path / "a.jsonl", dialogue("1+1?"), dialogue("2+2?"))
    test = write(tmp_path / "b.jsonl", dialogue("3+3?"), dialogue("2+2?"))
    task = JsonlTask(train, test, overlap="drop")
    assert [problem.messages[0]["content"] for problem in islice(task.train_problems(1), 2)] == ["1+1?", "1+1?"]
    assert task.dropped == 1


def test_held_out_problems_do_not_need_the_training_file(tmp_path, files):
    same = JsonlTask(files[1], files[1])  # training on these would be refused
    assert [problem.answer for problem in same.held_out_problems(2)] == ["14", "16"]
    assert JsonlTask(held_out=files[1]).held_out_problems(1)[0].answer == "14"


def test_no_remaining_training_problems_is_an_error(tmp_path):
    same = write(tmp_path / "a.jsonl", *problems(1))
    with pytest.raises(ValueError, match=r"no problem of .* is left; the first, line 1: also held out"):
        JsonlTask(same, same, overlap="drop").train_problems(1)


def test_nested_fields_are_read_and_the_others_become_metadata(tmp_path):
    row = {"extra": {"question": "1+1?", "gold": [{"value": 2}]}, "level": 3, "score": float("nan"), "id": 7}
    task = JsonlTask(held_out=write(tmp_path / "a.jsonl", row), problem="extra.question", answer="extra.gold.0.value")
    [problem] = task.held_out_problems(1)
    assert (problem.id, problem.prompt, problem.answer) == ("7", "1+1?", "2")
    assert problem.metadata == {"extra": row["extra"], "level": 3, "score": None}


@pytest.mark.parametrize("weights", [(2.0, 1.0), (1.0, 1.0), (5.0, 1.0)])
def test_files_are_mixed_by_weight_in_every_part_of_the_stream(tmp_path, weights):
    train = [write(tmp_path / f"{name}.jsonl", *problems(*range(10 * name, 10 * name + 6))) for name in (1, 2)]
    drawn = [p.id[0] for p in islice(JsonlTask(tuple(train), weights=weights).train_problems(3), 120)]
    for end in range(1, 121):
        assert abs(drawn[:end].count("1") - end * weights[0] / sum(weights)) < 1
    ids = [p.id for p in islice(JsonlTask(tuple(train), weights=weights).train_problems(3), 120)]
    first = [one for one in ids if one[0] == "1"]
    assert all(len(set(first[start : start + 6])) == 6 for start in range(0, len(first) - 5, 6)), (
        "an epoch has each once"
    )
    again = [p.id for p in islice(JsonlTask(tuple(train), weights=weights).train_problems(3), 120)]
    other = [p.id for p in islice(JsonlTask(tuple(train), weights=weights).train_problems(4), 120)]
    assert ids == again != other


def test_several_files_without_weights_are_one(tmp_path):
    train = tuple(write(tmp_path / name, *problems(number)) for number, name in ((1, "a.jsonl"), (2, "b.jsonl")))
    assert {problem.answer for problem in islice(JsonlTask(train).train_problems(1), 2)} == {"2", "4"}


@pytest.mark.parametrize(
    ("weights", "message"), [((1.0,), r"one number per file of train \(2\)"), ((1.0, 0.0), "above 0")]
)
def test_weights_that_do_not_match_the_files_are_refused(tmp_path, files, weights, message):
    with pytest.raises(ValueError, match=rf"^weights must be .*{message}"):
        JsonlTask(files, weights=weights)


def by_words(problems):
    return ["the template refuses this" if "9" in p.text else len(p.text.split()) for p in problems]


def test_prompts_that_leave_no_room_are_an_error_that_names_the_longest_or_are_dropped(tmp_path, files):
    long, refused = {"problem": "word " * 30, "answer": 1}, {"problem": "What is 9?", "answer": 9}
    train = write(tmp_path / "long.jsonl", *problems(1), long | {"problem": "word " * 20}, long, refused)
    with pytest.raises(ValueError, match=r"2 of 4 prompts .*long\.jsonl, line 3, has 30: .* by 20 .*overlong=drop"):
        JsonlTask(train, files[1]).fit(by_words, 10)
    task = JsonlTask(train, files[1], overlong="drop")
    task.fit(by_words, 10)
    assert {problem.answer for problem in islice(task.train_problems(1), 5)} == {"2"}
    said = " ".join(task.notes())
    assert "2 rows were left out" in said and "line 2 (the first): the prompt is longer than the 10 tokens" in said
    assert "line 4: the template refuses this" in said and "1 problems are used, 3 rows were left out" in said


def test_digests_change_exactly_when_the_problems_do(tmp_path):
    file = write(tmp_path / "a.jsonl", *problems(1, 2))
    before, described = JsonlTask(file).digests(), tmp_path / "data.json"
    JsonlTask(file).describe(tmp_path)
    write(tmp_path / "a.jsonl", *problems(1), "", *problems(2))
    assert JsonlTask(file).digests() != before, "ids are made of lines, and what a run reports has them"
    write(tmp_path / "a.jsonl", *problems(1, 3))
    assert JsonlTask(file).digests() != before
    assert JsonlTask(file).changed_files(json.loads(described.read_text())) == [file]
    write(tmp_path / "a.jsonl", *problems(1, 2))
    assert JsonlTask(file).digests() == before
    assert JsonlTask(file).changed_files(json.loads(described.read_text())) == []


def test_prompts_may_have_no_answers(tmp_path):
    train, held_out = (write(tmp_path / name, {"problem": name}) for name in ("train.jsonl", "test.jsonl"))
    task = JsonlTask(train, held_out, answer=None)
    assert next(task.train_problems(1)).answer is None and not task.graded
    assert JsonlTask(*(write(tmp_path / name, *problems(number)) for number, name in enumerate(("a", "b")))).graded
