from __future__ import annotations

import json
from pathlib import Path

import pytest

from rewards.files.lines import json_value, lines_of

GOOD = {"prompt": "1+1?"}
UNFIT = [
    (r'{"answers": ["cut \ud83d", "x"]}', r"answers: half a character (\ud83d, a cut emoji) in a text"),
    (r'{"\udc00": 1}', r"half a character (\udc00, a cut emoji) in a text"),
    (r'{"a": {"b\udfff": 1}}', r"a: half a character (\udfff, a cut emoji) in a text"),
    (f'{{"label": [1{"0" * 5000}]}}', "label: an integer has too many digits"),
    (f'{{"steps": {"[" * 200}{"]" * 200}}}', "steps: nested more than 100 levels deep"),
]


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "rows"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(("row", "fault"), UNFIT)
def test_a_value_that_would_break_what_follows_is_refused_with_its_field(tmp_path, row, fault):
    good = json.dumps(GOOD)
    lines = list(lines_of(written(tmp_path, f"{good}\n{row}\n{good}\n")))
    assert [(line.number, line.fault) for line in lines] == [(1, None), (2, fault), (3, None)]
    assert lines[1].value == row[:2000]


@pytest.mark.parametrize(("row", "fault"), UNFIT)
def test_such_an_item_of_a_list_costs_no_other(tmp_path, row, fault):
    good = json.dumps(GOOD)
    lines = list(lines_of(written(tmp_path, f"[{good},\n{row},\n{good}]")))
    assert [(line.number, line.fault) for line in lines] == [(1, None), (2, fault), (3, None)]
    assert lines[1].value == row[:2000]


def test_nesting_that_exhausts_the_stack_is_a_fault_of_its_line(tmp_path):
    deep = '{"x": ' + "[" * 100_000 + "]" * 100_000 + "}"
    lines = list(lines_of(written(tmp_path, f"{deep}\n{json.dumps(GOOD)}\n")))
    assert [line.fault for line in lines] == ["nested more than 100 levels deep", None]
    [line] = lines_of(written(tmp_path, f"[{deep}]"))
    assert "more than 100 levels): the rest of the file is left out" in line.fault


def test_whole_characters_written_as_two_escapes_are_sound():
    assert json_value(r'"\ud83d\ude00"') == "\U0001f600"


def test_a_list_names_the_line_of_each_item_and_loses_only_what_follows_a_broken_one(tmp_path):
    lines = list(lines_of(written(tmp_path, "[\n1,\n\n2,\n3,\n{oops\n]")))
    assert [(line.number, line.value) for line in lines[:3]] == [(2, 1), (4, 2), (5, 3)]
    assert lines[3].number == 6
    assert "the rest of the file is left out" in lines[3].fault


@pytest.mark.parametrize("form", [b"%s\n%s\n", b"[%s,\n%s]"])
def test_bytes_that_are_not_utf8_condemn_their_row_only(tmp_path, form):
    file = tmp_path / "latin"
    file.write_bytes(form % (b'{"prompt": "caf\xe9"}', json.dumps(GOOD).encode()))
    lines = list(lines_of(file))
    assert [line.fault for line in lines] == ["not valid UTF-8", None]
