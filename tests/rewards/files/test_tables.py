from __future__ import annotations

import datetime
import decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, DatasetDict

from rewards.files.lines import check_file, lines_of, unit_of

ROWS = [{"problem": "1+1?", "extra": {"answer": "2"}}, {"problem": "2+2?", "extra": {"answer": "4"}}]


def test_parquet_and_saved_data_sets_give_the_rows_that_were_written(tmp_path):
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "rows.parquet")
    Dataset.from_list(ROWS).save_to_disk(tmp_path / "saved")
    for name in ("rows.parquet", "saved"):
        path = check_file(tmp_path / name, "task.train")
        assert unit_of(path) == "row"
        assert [(line.number, line.value, line.fault) for line in lines_of(path)] == [
            (1, ROWS[0], None),
            (2, ROWS[1], None),
        ]


def test_a_data_set_that_was_filtered_and_shuffled_is_read_as_it_is(tmp_path):
    chosen = Dataset.from_list([{"n": n} for n in range(3000)]).filter(lambda row: row["n"] % 2 == 0).shuffle(seed=1)
    chosen.save_to_disk(tmp_path / "saved")
    assert [line.value["n"] for line in lines_of(tmp_path / "saved")] == chosen["n"]


def test_what_is_not_a_split_is_refused_with_what_there_is(tmp_path):
    split = Dataset.from_list(ROWS)
    DatasetDict({"train": split, "test": split}).save_to_disk(tmp_path / "all")
    with pytest.raises(FileNotFoundError, match=r"task\.train: .* has several splits: choose one, such as .*all/train"):
        check_file(tmp_path / "all", "task.train")
    with pytest.raises(FileNotFoundError, match="is a folder, but not a data set"):
        check_file(tmp_path, "input")
    with pytest.raises(FileNotFoundError, match="input nowhere: there is no such file"):
        check_file("nowhere", "input")


def test_values_become_what_json_has(tmp_path):
    row = {
        "time": datetime.datetime(2024, 1, 2, 3, 4),
        "price": decimal.Decimal("0.00002"),
        "bytes": b"caf\xc3\xa9",
        "nothing": None,
        "turns": [{"role": "user", "content": "hi"}],
    }
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "rows.parquet")
    [line] = lines_of(tmp_path / "rows.parquet")
    assert line.value == row | {"time": "2024-01-02T03:04:00", "price": "0.00002", "bytes": "caf\u00e9"}


def test_a_bad_value_rejects_only_its_row(tmp_path):
    raw = pa.array([b"good", b"caf\xe9", b"good"], pa.binary())
    broken = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    pq.write_table(pa.table({"text": broken}), tmp_path / "text.parquet")
    pq.write_table(pa.table({"image": raw}), tmp_path / "bytes.parquet")
    lines = [list(lines_of(tmp_path / f"{name}.parquet")) for name in ("text", "bytes")]
    assert [line.fault for line in lines[0]] == [None, "not valid UTF-8", None]
    assert [line.fault for line in lines[1]] == [None, "image: bytes that are not text", None]


def test_a_file_that_cannot_be_opened_is_named(tmp_path):
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match=r"cut\.parquet cannot be opened as parquet"):
        list(lines_of(tmp_path / "cut.parquet"))
