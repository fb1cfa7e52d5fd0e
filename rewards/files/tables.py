"""The rows of tables: parquet files, and data sets that Hugging Face's `datasets` has saved to disk.

Values become what JSON has: times are written as ISO 8601, decimals as text, tuples as lists. Bytes must be UTF-8.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from rewards.files.values import check_value

ROWS_AT_ONCE = 1024
_STATE, _SPLITS = "state.json", "dataset_dict.json"

Row = tuple[int, Any, str | None]
"""A number, from 1, with a value; or with what is shown of it, and the reason why it cannot be used."""


def is_dataset(path: Path) -> bool:
    """Whether a folder holds one split, as `Dataset.save_to_disk` writes it."""
    return (path / _STATE).is_file()


def splits_of(path: Path) -> list[str]:
    """The splits in a folder that `DatasetDict.save_to_disk` has written; none for any other path."""
    file = path / _SPLITS
    return list(json.loads(file.read_text(encoding="utf-8"))["splits"]) if file.is_file() else []


def dataset_rows(path: Path) -> Iterator[Row]:
    """The rows of a saved data set. Raises ValueError where it cannot be opened."""
    from datasets import load_from_disk  # takes a second to import

    try:
        table = load_from_disk(str(path)).with_format("arrow")
    except Exception as error:
        raise ValueError(f"{path} does not open as a saved data set: {str(error).splitlines()[0]}") from error
    for start in range(0, len(table), ROWS_AT_ONCE):
        yield from _rows(table[start : start + ROWS_AT_ONCE], start)


def parquet_rows(path: Path) -> Iterator[Row]:
    """The rows of a parquet file. Raises ValueError where it cannot be opened."""
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        file = ParquetFile(path)
    except ArrowException as error:
        raise ValueError(f"{path} does not open as parquet: {str(error).splitlines()[0]}") from error
    twice = [name for name, count in Counter(file.schema_arrow.names).items() if count > 1]
    if twice:
        raise ValueError(f"{path} has two columns with the name {twice[0]!r}")
    number = 0
    try:
        for batch in file.iter_batches(ROWS_AT_ONCE):
            yield from _rows(batch, number)
            number += len(batch)
    except (ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        yield number + 1, "", f"the file is damaged from here on ({reason}): the rest is left out"


def _rows(table: Any, before: int) -> Iterator[Row]:
    """The rows of a piece of a table; the first has the number `before` + 1."""
    try:
        found: list[Any] = table.to_pylist()
    except (ValueError, OverflowError):  # a text that is not UTF-8, a date that Python does not have
        found = [_row(table, place) for place in range(len(table))]
    for number, row in enumerate(found, start=before + 1):
        if isinstance(row, str):
            yield number, "", row
            continue
        try:
            value = {name: plain(content, name) for name, content in row.items()}
            check_value(value)
            yield number, value, None
        except ValueError as error:
            yield number, repr(row)[:2000], str(error)


def _row(table: Any, place: int) -> Any:
    """One row, or the reason in words why it cannot be read."""
    try:
        return table.slice(place, 1).to_pylist()[0]
    except UnicodeDecodeError:
        return "not valid UTF-8"
    except (ValueError, OverflowError) as error:
        return f"a value that cannot be read ({str(error).splitlines()[0]})"


def plain(value: Any, name: str) -> Any:
    """A value of the column `name` as JSON has it. Raises ValueError for one that JSON cannot hold."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(inner, name) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner, name) for inner in value]
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{name}: bytes that are not text") from error
    raise ValueError(f"{name}: a value of the type {type(value).__name__}, which is not read")
