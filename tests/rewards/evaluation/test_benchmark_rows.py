from __future__ import annotations

import json
from pathlib import Path

import pytest

from rewards.evaluation.benchmark_rows import (
    PAIR_FIELDS,
    SOLUTION_FIELDS,
    STEP_FIELDS,
    parse_pair,
    parse_solutions,
    parse_steps,
)
from rewards.files.rows import Reject, Rows, read_rows, write_rejects

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
        ([1, 2], "a row must be a JSON object, not a list"),
        (GOOD | {"label": [1]}, "2 answers but 1 labels"),
        (GOOD | {"label": [1, 2]}, "label must be a list of 0 and 1"),
        (GOOD | {"label": ["1", "0"]}, "label must be a list of 0 and 1"),
        (GOOD | {"labels": [0, 0]}, "label and labels differ"),
        ({"prompt": "1+1?", "answers": ["A: 2"]}, "neither labels nor a reference answer"),
        (GOOD | {"answers": [], "label": []}, "the list of answers is empty"),
        (GOOD | {"answers": ["A: 2", None]}, "every response must be a text"),
        (GOOD | {"prompt": " "}, "the prompt is empty"),
        (GOOD | {"prompt": [{"role": "user"}]}, "must be an object with role and content"),
        ({"answers": ["A: 2"], "label": [1]}, "there is no problem"),
        (GOOD | {"step_labels": [[1]]}, "step_labels must have one list per answer"),
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
        (SOLUTION | {"problem": ""}, "the problem is empty"),
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
        (PAIR | {"prompt": 5}, "the prompt must be text or messages, not a number"),
    ],
)
def test_a_bad_pair_is_set_aside(tmp_path, row, reason):
    found = read_rows(written(tmp_path, row, PAIR), parse_pair, PAIR_FIELDS)
    assert len(found.rows) == 1
    assert reason in found.rejects[0].reason


def test_a_pair_may_have_conversations(tmp_path):
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]
    [found] = read_rows(written(tmp_path, PAIR | {"chosen": turns}), parse_pair, PAIR_FIELDS).rows
    assert found.group.responses[0].text == "hello"


def test_fields_that_nothing_reads_are_counted_and_named_by_file_and_line(tmp_path):
    file = written(tmp_path, GOOD, GOOD | {"lable": []}, GOOD | {"hue": 1, "lable": []})
    assert list(read_rows(file, parse_solutions, SOLUTION_FIELDS).notes()) == [
        f"fields that nothing reads: lable (2 rows) first in line 2, hue (1 rows) first in line 3; in {file}"
    ]


def test_a_misspelt_field_is_named_even_if_its_row_cannot_be_used(tmp_path):
    row = {"prompt": "1+1?", "answers": ["A: 2"], "lable": [1]}
    notes = list(read_rows(written(tmp_path, row), parse_solutions, SOLUTION_FIELDS).notes())
    assert any("lable (1 rows) first in line 1" in note for note in notes)


def test_a_number_that_the_parser_cannot_represent_rejects_only_its_row(tmp_path):
    found = read_rows(written(tmp_path, {"x": 10**400}, {"x": 1}), lambda row, _: float(row["x"]), frozenset("x"))
    assert found.rows == [1.0]
    assert found.rejects[0].reason == "a number is too large"


def test_a_reason_that_quotes_a_huge_value_is_cut(tmp_path):
    found = read_rows(written(tmp_path, SOLUTION | {"label": 10**4000}), parse_steps, STEP_FIELDS)
    assert len(found.rejects[0].reason) <= 300


def test_rejects_with_half_a_character_are_written_escaped(tmp_path):
    found = Rows(tmp_path / "rows.jsonl", rejects=[Reject(3, "why", {"text": "cut \ud83d"})])
    write_rejects(tmp_path / "rejects.jsonl", found)
    text = (tmp_path / "rejects.jsonl").read_text()
    assert r"cut \ud83d" in text
    assert json.loads(text)["row"] == {"text": "cut \ud83d"}


def test_rejects_are_written_with_file_line_reason_and_row(tmp_path):
    found = read_rows(written(tmp_path, GOOD | {"label": [1]}), parse_solutions, SOLUTION_FIELDS)
    write_rejects(tmp_path / "rejects.jsonl", found)
    [row] = [json.loads(line) for line in (tmp_path / "rejects.jsonl").read_text().splitlines()]
    assert row["line"] == 1
    assert row["reason"] == "2 answers but 1 labels"
    assert row["row"]["prompt"] == "1+1?"
    assert row["file"].endswith("rows.jsonl")
