"""Read the rows of a file, each with its position; a row that cannot be used comes with the reason.

| file                                                    | position of a row             |
|---------------------------------------------------------|-------------------------------|
| JSONL: one JSON value per line                          | its line, from 1              |
| one JSON list                                           | the line where it begins      |
| parquet                                                 | its number, from 1            |
| a folder written by `save_to_disk` of Hugging Face's    | its number, from 1            |
| `datasets`                                              |                               |

JSONL and lists may be compressed with gzip and may begin with a byte order mark. The format is detected from the
content, not from the name.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from rewards.files.listed import SHOWN_CHARACTERS, is_list, items
from rewards.files.tables import dataset_rows, is_dataset, parquet_rows, splits_of
from rewards.files.values import json_value

MOST_BYTES = 64 * 2**20
"""The longest line; a longer one is skipped, since it would have to fit into memory completely."""

_GZIP, _PARQUET, _BOM = b"\x1f\x8b", b"PAR1", b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Line:
    """A value and its position; if it cannot be used, `fault` is the reason and `value` the start of its text."""

    number: int
    value: Any
    fault: str | None = None


def check_file(path: str | Path, key: str) -> Path:
    """The path, with `~` expanded. Raises FileNotFoundError, naming `key`, if it contains no rows to read."""
    found = Path(path).expanduser()
    if found.is_file() or is_dataset(found):
        return found
    if splits := splits_of(found):
        raise FileNotFoundError(f"{key}: {path} has several splits: choose one, such as {found / splits[0]}")
    if found.is_dir():
        raise FileNotFoundError(f"{key}: {path} is a folder, but not a data set written by save_to_disk")
    raise FileNotFoundError(f"{key} {path}: there is no such file")


def unit_of(path: Path) -> str:
    """The unit of a row's position in this file: "line", or "row" for a table."""
    return "row" if path.is_dir() or (path.is_file() and _first_bytes(path) == _PARQUET) else "line"


def lines_of(path: Path) -> Iterator[Line]:
    """Every row of a file (see the table above). Raises OSError, and ValueError for a table that cannot be opened."""
    if path.is_dir():
        yield from (Line(*row) for row in dataset_rows(path))
    elif _first_bytes(path) == _PARQUET:
        yield from (Line(*row) for row in parquet_rows(path))
    else:
        yield from _text_lines(path)


def _text_lines(path: Path) -> Iterator[Line]:
    number = 0
    with _opened(path) as file:
        try:
            if _begins_list(file):
                # Bytes that are not UTF-8 become lone surrogates, so that only their own item is rejected.
                text = file.read().removeprefix(_BOM).decode("utf-8", errors="surrogateescape")
                if is_list(text):
                    yield from (Line(*item) for item in items(text))
                    return
                file.seek(0)
            for number, raw in enumerate(_raw_lines(file), start=1):
                if number == 1:
                    raw = raw.removeprefix(_BOM)
                if raw.strip():
                    yield _line(number, raw)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            yield Line(number + 1, "", f"the compressed file is damaged from here on ({error}): the rest is skipped")


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    with path.open("rb") as file:
        if _first_bytes(path)[:2] == _GZIP:
            with gzip.GzipFile(fileobj=file) as unpacked:
                yield unpacked  # type: ignore[misc]
        else:
            yield file


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4)


def _begins_list(file: BinaryIO) -> bool:
    if file.read(len(_BOM)) != _BOM:
        file.seek(0)
    first = file.read(1)
    while first.isspace():
        first = file.read(1)
    file.seek(0)
    return first == b"["


def _raw_lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines as bytes; one that is too long is cut to slightly more than MOST_BYTES, which marks it."""
    while raw := file.readline(MOST_BYTES + 1):
        rest = raw
        while len(rest) > MOST_BYTES and not rest.endswith(b"\n"):
            rest = file.readline(MOST_BYTES + 1)
        yield raw


def _line(number: int, raw: bytes) -> Line:
    if len(raw) > MOST_BYTES:
        return Line(number, repr(raw[:SHOWN_CHARACTERS]), f"longer than {MOST_BYTES // 2**20} MiB")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return Line(number, repr(raw[:SHOWN_CHARACTERS]), "not valid UTF-8")
    try:
        return Line(number, json_value(text))
    except ValueError as error:
        return Line(number, text[:SHOWN_CHARACTERS].rstrip("\n"), str(error))
