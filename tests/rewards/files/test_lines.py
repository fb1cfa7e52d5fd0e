from __future__ import annotations

import gzip
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
def test_such_an_item_of_a_list_rejects_no_other(tmp_path, row, fault):
    good = json.dumps(GOOD)
    lines = list(lines_of(written(tmp_path, f"[{good},\n{row},\n{good}]")))
    assert [(line.number, line.fault) for line in lines] == [(1, None), (2, fault), (3, None)]
    assert lines[1].value == row[:2000]


def test_nesting_that_would_exhaust_the_stack_is_a_fault_of_its_line(tmp_path):
    deep = '{"x": ' + "[" * 100_000 + "]" * 100_000 + "}"
    lines = list(lines_of(written(tmp_path, f"{deep}\n{json.dumps(GOOD)}\n")))
    assert [line.fault for line in lines] == ["nested more than 100 levels deep", None]
    lines = list(lines_of(written(tmp_path, f"[{deep}, {json.dumps(GOOD)}]")))
    assert [line.fault for line in lines] == ["nested more than 100 levels deep", None]


def test_whole_characters_written_as_two_escapes_are_sound():
    assert json_value(r'"\ud83d\ude00"') == "\U0001f600"


def test_a_list_names_the_line_of_each_item_and_loses_only_what_follows_a_broken_one(tmp_path):
    lines = list(lines_of(written(tmp_path, "[\n1,\n\n2,\n3,\n{oops\n]")))
    assert [(line.number, line.value) for line in lines[:3]] == [(2, 1), (4, 2), (5, 3)]
    assert lines[3].number == 6
    assert "the rest of the file is skipped" in lines[3].fault


@pytest.mark.parametrize("form", [b"%s\n%s\n", b"[%s,\n%s]"])
def test_bytes_that_are_not_utf8_reject_only_their_row(tmp_path, form):
    file = tmp_path / "latin"
    file.write_bytes(form % (b'{"prompt": "caf\xe9"}', json.dumps(GOOD).encode()))
    lines = list(lines_of(file))
    assert [line.fault for line in lines] == ["not valid UTF-8", None]


def faults(file: Path) -> list[tuple[int, str | None]]:
    return [(line.number, line.fault) for line in lines_of(file)]


@pytest.mark.parametrize("first", ["[1, 2]", '[{"prompt": "x"}]', "[" * 5000 + "]" * 5000])
def test_a_line_that_is_a_list_does_not_make_the_file_one(tmp_path, first):
    lines = list(lines_of(written(tmp_path, f"{first}\n" + f"{json.dumps(GOOD)}\n" * 2)))
    assert [line.number for line in lines] == [1, 2, 3]
    assert [line.value for line in lines[1:]] == [GOOD, GOOD]


@pytest.mark.parametrize(
    "broken", ['{"prompt": }', '{"prompt": "x"', '{"prompt": "x}', '{"prompt": [}', '{"prompt": tru}', "{oops}"]
)
@pytest.mark.parametrize("form", ["[%s]", "[\n%s\n]", "[\n  %s\n]"])
def test_a_broken_item_rejects_no_other_item_of_its_list(tmp_path, broken, form):
    between = ", " if form == "[%s]" else ",\n" + form[2:-4]
    file = written(tmp_path, form % between.join([json.dumps(GOOD), broken, json.dumps(GOOD), json.dumps(GOOD)]))
    lines = list(lines_of(file))
    if form == "[%s]" and broken == '{"prompt": "x}':  # where its text ends, nobody can tell
        assert lines[0].value == GOOD and "not valid JSON" in lines[1].fault
        return
    assert [line.value for line in lines if line.fault is None] == [GOOD] * 3
    assert sum(line.fault is not None for line in lines) == 1


def test_a_list_that_is_cut_short_says_so_and_so_does_text_after_one(tmp_path):
    assert faults(written(tmp_path, "[1,\n2")) == [
        (1, None),
        (2, None),
        (2, "the list has no end: the file may be cut short"),
    ]
    assert faults(written(tmp_path, "[1,\n2]\n3"))[-1] == (2, "text after the end of the list, which is skipped")


@pytest.mark.parametrize("row", ['{"a": 1, "a": 2}', '{"x": [{"a": 1, "a": 1}]}'])
def test_a_duplicate_key_is_a_fault(tmp_path, row):
    [line] = lines_of(written(tmp_path, row))
    assert "the key 'a' is given twice" in line.fault


@pytest.mark.parametrize("number", ["1e999", "-1e999", "Infinity"])
def test_a_number_beyond_all_floats_is_a_fault(tmp_path, number):
    [line] = lines_of(written(tmp_path, f'{{"label": {number}}}'))
    assert line.fault == "label: a number is too large"


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("form", ["%s\r\n%s\r\n", "[%s,\r\n%s]"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_byte_order_marks_line_ends_of_windows_and_gzip_are_read(tmp_path, packed, form, mark):
    content = mark + (form % (json.dumps(GOOD), json.dumps(GOOD))).encode()
    file = tmp_path / "rows.any"
    file.write_bytes(gzip.compress(content) if packed else content)
    assert [(line.number, line.value, line.fault) for line in lines_of(file)] == [(1, GOOD, None), (2, GOOD, None)]


def test_a_gzip_file_that_is_cut_short_keeps_what_comes_before(tmp_path):
    file = tmp_path / "rows.jsonl.gz"
    rows = "".join(json.dumps(GOOD | {"n": str(hash(n))}) + "\n" for n in range(20_000))
    file.write_bytes(gzip.compress(rows.encode())[:-2000])
    *good, last = lines_of(file)
    assert good and all(line.fault is None for line in good)
    assert "the compressed file is damaged from here on" in last.fault


def test_a_line_that_is_too_long_rejects_only_itself(tmp_path, monkeypatch):
    monkeypatch.setattr("rewards.files.lines.MOST_BYTES", 2**20)
    file = written(tmp_path, f'{json.dumps(GOOD)}\n{{"x": "{"y" * 5 * 2**20}"}}\n{json.dumps(GOOD)}\n')
    assert faults(file) == [(1, None), (2, "longer than 1 MiB"), (3, None)]
