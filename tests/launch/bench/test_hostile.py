"""Every command either uses a hostile row with its own text, or rejects it with its line and the reason."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launch.bench.hostile import COMMANDS, annotate, check, evaluate, row, score, train
from rewards.files.lines import lines_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
LENIENT = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_every_command_uses_or_rejects_every_hostile_row(tmp_path):
    table, faults = check(300, 7, tmp_path)
    assert faults == []
    assert len(table) > 10 and set(COMMANDS) == {"train", "score", "evaluate", "annotate", "train_reward"}


@LENIENT
@given(changes=st.dictionaries(st.sampled_from([*row(""), "id", "steps", "response"]), JSON, max_size=3))
@pytest.mark.parametrize("read", [score, evaluate])
def test_no_value_of_any_field_stops_a_reader(tmp_path, read, changes):
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join([json.dumps(row("a")), json.dumps(row("b") | changes), json.dumps(row("c"))]))
    outcome = read(file)
    assert sorted([*outcome.used, *outcome.rejects]) == [1, 2, 3]
    assert outcome.used.keys() >= {1, 3} and all(outcome.rejects.values())


@LENIENT
@given(content=st.binary(max_size=200))
def test_no_bytes_in_a_line_stop_a_reader_or_lose_the_neighbouring_lines(tmp_path, content):
    good = json.dumps(row("a")).encode()
    file = tmp_path / "rows.jsonl"
    file.write_bytes(good + b"\n" + content.replace(b"\n", b"") + b"\n" + good)
    found = [line.number for line in lines_of(file) if line.fault is None and line.value == row("a")]
    assert {1, 3} <= set(found)


@pytest.mark.parametrize("read", [train, annotate])
def test_a_file_with_only_bad_rows_is_an_error_or_yields_nothing(tmp_path, read):
    file = tmp_path / "rows.jsonl"
    file.write_text("{}\n[]\n")
    if read is train:
        with pytest.raises(ValueError, match="has no problem that can be used; the first, line 1"):
            read(file)
    else:
        assert read(file).used == {} and len(read(file).rejects) == 2
