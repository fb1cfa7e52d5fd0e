"""Read the rows of tables: parquet files, and data sets that Hugging Face's `datasets` has saved to disk.

Values are converted to JSON types: times to ISO 8601, decimals to text, tuples to lists. Bytes must be UTF-8.
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
"""A row number, from 1, and a value; or an excerpt of it, and the reason why it cannot be used."""


def is_dataset(path: Path) -> bool:
    """Whether a folder contains one split, as `Dataset.save_to_disk` writes it."""
    return (path / _STATE).is_file()


def splits_of(path: Path) -> list[str]:
    """The splits in a folder that `DatasetDict.save_to_disk` has written; an empty list for any other path."""
    file = path / _SPLITS
    return list(json.loads(file.read_text(encoding="utf-8"))["splits"]) if file.is_file() else []


def dataset_rows(path: Path) -> Iterator[Row]:
    """The rows of a saved data set. Raises ValueError if it cannot be opened."""
    from datasets import load_from_disk  # takes a second to import

    try:
        table = load_from_disk(str(path)).with_format("arrow")
    except Exception as error:
        raise ValueError(f"{path} cannot be opened as a saved data set: {str(error).splitlines()[0]}") from error
    for start in range(0, len(table), ROWS_AT_ONCE):
        yield from _rows(table[start : start + ROWS_AT_ONCE], start)


def parquet_rows(path: Path) -> Iterator[Row]:
    """The rows of a parquet file. Raises ValueError if it cannot be opened."""
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        file = ParquetFile(path)
    except ArrowException as error:
        raise ValueError(f"{path} cannot be opened as parquet: {str(error).splitlines()[0]}") from error
    twice = [name for name, count in Counter(file.schema_arrow.names).items() if count > 1]
    if twice:
        raise ValueError(f"{path} has two columns named {twice[0]!r}")
    number = 0
    try:
        for batch in file.iter_batches(ROWS_AT_ONCE):
            yield from _rows(batch, number)
            number += len(batch)
    except (ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        yield number + 1, "", f"the file is damaged from here on ({reason}): the rest is skipped"


def _rows(table: Any, before: int) -> Iterator[Row]:
    """The rows of a part of a table; the first is number `before` + 1."""
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
    """One row, or the reason why it cannot be read, as text."""
    try:
        return table.slice(place, 1).to_pylist()[0]
    except UnicodeDecodeError:
        return "not valid UTF-8"
    except (ValueError, OverflowError) as error:
        return f"a value that cannot be read ({str(error).splitlines()[0]})"


def plain(value: Any, name: str) -> Any:
    """A value of the column `name`, converted to JSON types. Raises ValueError if that is impossible."""
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
    raise ValueError(f"{name}: a value of type {type(value).__name__}, which is not supported")
