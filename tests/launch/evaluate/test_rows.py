from __future__ import annotations

import json
from pathlib import Path

import pytest

from launch.evaluate.rows import (
    PAIR_FIELDS,
    SOLUTION_FIELDS,
    STEP_FIELDS,
    parse_pair,
    parse_solutions,
    parse_steps,
    read_rows,
    write_rejects,
)

GOOD = {"prompt": "1+1?", "answers": ["A: 2", "A: 3"], "label": [1, 0]}
SOLUTION = {"problem": "1+1?", "steps": ["1 + 1", "is 3"], "label": 1}
PAIR = {"prompt": "hi", "chosen": "hello", "rejected": "no", "subset": "math-prm"}


def written(tmp_path: Path, *rows: object) -> Path:
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return file


@pytest.mark.parametrize("name", ["label", "labels"])
def test_both_names_of_the_labels_are_read(tmp_path, name):
    row = {"prompt": "1+1?", "answers": ["A: 2", "A: 3"], name: [True, 0]}
    [found] = read_rows(written(tmp_path, row), parse_solutions, SOLUTION_FIELDS).rows
    assert found.labels == (True, False)
    assert found.texts == ["A: 2", "A: 3"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{broken", "not valid JSON (Expecting property name enclosed in double quotes)"),
        ([1, 2], "a row must be a JSON object, not list"),
        (GOOD | {"label": [1]}, "2 answers but 1 labels"),
        (GOOD | {"label": [1, 2]}, "label must be a list of 0 and 1"),
        (GOOD | {"label": ["1", "0"]}, "label must be a list of 0 and 1"),
        (GOOD | {"labels": [0, 0]}, "label and labels differ"),
        ({"prompt": "1+1?", "answers": ["A: 2"]}, "neither labels nor a reference answer"),
        (GOOD | {"answers": [], "label": []}, "the list of answers is empty"),
        (GOOD | {"answers": ["A: 2", None]}, "every response must be a text"),
        (GOOD | {"prompt": " "}, "the prompt is empty"),
        (GOOD | {"prompt": [{"role": "user"}]}, "not of messages with role and content"),
        ({"answers": ["A: 2"], "label": [1]}, "there is no problem"),
        (GOOD | {"step_labels": [[1]]}, "step_labels must hold a list for each answer"),
    ],
)
def test_a_bad_row_is_set_aside_with_its_line_and_reason(tmp_path, row, reason):
    found = read_rows(written(tmp_path, GOOD, row, GOOD), parse_solutions, SOLUTION_FIELDS)
    assert [one.line for one in found.rows] == [1, 3]
    [reject] = found.rejects
    assert reject.line == 2
    assert reason in reject.reason
    [note] = found.notes()
    assert f"rows.jsonl, line 2: {reject.reason}" in note


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (SOLUTION | {"steps": ["1 + 1", " "]}, "step 1 is empty"),
        (SOLUTION | {"steps": []}, "steps must be a list of texts that is not empty"),
        (SOLUTION | {"label": 2}, "label must be the index of a step or -1, not 2 (the solution has 2 steps)"),
        (SOLUTION | {"label": True}, "label must be the index of a step or -1, not True"),
        ({"problem": "?", "steps": ["a"]}, "label must be the index of a step or -1, not None"),
        (SOLUTION | {"problem": ""}, "there is no problem"),
        (SOLUTION | {"steps": ["a\ue000\nb", "c"]}, "U+E000"),
    ],
)
def test_a_bad_solution_in_steps_is_set_aside(tmp_path, row, reason):
    found = read_rows(written(tmp_path, row, SOLUTION), parse_steps, STEP_FIELDS)
    assert len(found.rows) == 1
    assert reason in found.rejects[0].reason


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({**PAIR, "subset": None}, "there is no subset"),
        (PAIR | {"chosen": 3}, "chosen must be a text"),
        ({"prompt": "hi", "chosen": "a", "subset": "s"}, "rejected must be a text"),
        (PAIR | {"prompt": None}, "the prompt is empty"),
    ],
)
def test_a_bad_pair_is_set_aside(tmp_path, row, reason):
    found = read_rows(written(tmp_path, row, PAIR), parse_pair, PAIR_FIELDS)
    assert len(found.rows) == 1
    assert reason in found.rejects[0].reason


def test_a_pair_may_hold_conversations(tmp_path):
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    [found] = read_rows(written(tmp_path, PAIR | {"chosen": turns}), parse_pair, PAIR_FIELDS).rows
    assert found.group.responses[0].text == "hello"


def test_fields_that_nothing_reads_are_named_and_counted(tmp_path):
    found = read_rows(written(tmp_path, GOOD | {"lable": []}, GOOD | {"lable": []}), parse_solutions, SOLUTION_FIELDS)
    assert list(found.notes()) == ["fields that nothing reads: lable (2 rows)"]


def test_a_list_names_the_line_of_each_item_and_loses_only_what_follows_a_broken_one(tmp_path):
    file = tmp_path / "list.json"
    file.write_text(f"[\n{json.dumps(GOOD)},\n\n{json.dumps(GOOD | {'label': [1]})},\n{json.dumps(GOOD)},\n{{oops\n]")
    found = read_rows(file, parse_solutions, SOLUTION_FIELDS)
    assert [one.line for one in found.rows] == [2, 5]
    assert [one.line for one in found.rejects] == [4, 6]
    assert "the rest of the file is left out" in found.rejects[1].reason


def test_a_line_that_is_not_utf8_is_set_aside(tmp_path):
    file = tmp_path / "latin.jsonl"
    file.write_bytes(b'{"prompt": "caf\xe9"}\n' + json.dumps(GOOD).encode() + b"\n")
    found = read_rows(file, parse_solutions, SOLUTION_FIELDS)
    assert found.rejects[0].reason == "not valid UTF-8"
    assert len(found.rows) == 1


def test_rejects_are_written_with_file_line_reason_and_row(tmp_path):
    found = read_rows(written(tmp_path, GOOD | {"label": [1]}), parse_solutions, SOLUTION_FIELDS)
    write_rejects(tmp_path / "rejects.jsonl", found)
    [row] = [json.loads(line) for line in (tmp_path / "rejects.jsonl").read_text().splitlines()]
    assert row["line"] == 1
    assert row["reason"] == "2 answers but 1 labels"
    assert row["row"]["prompt"] == "1+1?"
    assert row["file"].endswith("rows.jsonl")
