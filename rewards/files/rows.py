"""Read the rows of a file; a bad row is set aside with its line and reason and never ends the run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from rewards.files.fields import kind_of, with_fields
from rewards.files.lines import lines_of, unit_of

Row = TypeVar("Row")
REASON_CHARACTERS = 300


@dataclass(frozen=True)
class Reject:
    """A row that cannot be used: its line (its number in a table), the reason, and its content."""

    line: int
    reason: str
    row: Any


@dataclass(frozen=True)
class Parsed(Generic[Row]):
    """A row that can be used: its line (its number in a table), the object in the file, and the parsed result."""

    line: int
    record: dict[str, Any]
    row: Row


@dataclass
class Rows(Generic[Row]):
    """The rows of a file that can be used, those that cannot, and how many rows have each field that nothing reads.

    `unknown_first` has the first line with each such field. `unit` is the unit of a row's position: "line" or "row".
    """

    path: Path
    rows: list[Row] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)
    unknown_first: dict[str, int] = field(default_factory=dict)
    unit: str = "line"

    def first(self) -> str:
        """The end of a message: `; the first, line N: REASON` for the rejected rows, or that the file is empty."""
        if not self.rejects:
            return ": it is empty"
        return f"; the first, {self.unit} {self.rejects[0].line}: {self.rejects[0].reason}"

    def notes(self, kept_in: str = "rejects.jsonl") -> Iterator[str]:
        """Notes on the file for the user, one per line; the rows left out are in the file `kept_in`."""
        for reason, count in Counter(reject.reason for reject in self.rejects).most_common(5):
            first = next(reject.line for reject in self.rejects if reject.reason == reason)
            rows = f"{count} rows were" if count > 1 else "1 row was"
            yield f"{rows} left out: {self.path}, {self.unit} {first}{' (the first)' if count > 1 else ''}: {reason}"
        others = len({reject.reason for reject in self.rejects}) - 5
        if others > 0:
            yield f"{others} more kinds of bad rows: see {kept_in}"
        if self.unknown:
            named = ", ".join(
                f"{name} ({count} rows) first in {self.unit} {self.unknown_first[name]}"
                for name, count in self.unknown.most_common(8)
            )
            yield f"fields that nothing reads: {named}; in {self.path}"


def parsed_rows(
    path: Path, parse: Callable[[dict[str, Any], int], Row], fields: Mapping[str, str] | None = None
) -> Iterator[Parsed[Row] | Reject]:
    """Yield every row of a file: the result of `parse` for the object and its line, or why it cannot be used.

    `parse` raises ValueError with the reason. `fields` maps the names that `parse` reads to those in the file
    (`rewards.files.fields.with_fields`). Raises OSError, and ValueError for a table that cannot be opened.
    """
    for line in lines_of(path):
        if line.fault is not None:
            yield Reject(line.number, line.fault, line.value)
            continue
        try:
            if not isinstance(line.value, dict):
                raise ValueError(f"a row must be a JSON object, not {kind_of(line.value)}")
            yield Parsed(line.number, line.value, parse(with_fields(line.value, fields or {}), line.number))
        except OverflowError:
            yield Reject(line.number, "a number is too large", line.value)
        except ValueError as error:
            yield Reject(line.number, str(error)[:REASON_CHARACTERS], line.value)


def read_rows(
    path: Path,
    parse: Callable[[dict[str, Any], int], Row],
    known: Collection[str] | None,
    fields: Mapping[str, str] | None = None,
) -> Rows[Row]:
    """All rows of a file, as `parsed_rows` yields them; fields that are not in `known` (None: all are) are counted.

    Raises OSError, and ValueError for a table that cannot be opened.
    """
    found: Rows[Row] = Rows(path, unit=unit_of(path))
    for one in parsed_rows(path, parse, fields):
        record = one.record if isinstance(one, Parsed) else one.row
        if known is not None and isinstance(record, dict):
            for name in (name for name in record if name not in known and name not in (fields or {}).values()):
                found.unknown[name] += 1
                found.unknown_first.setdefault(name, one.line)
        if isinstance(one, Parsed):
            found.rows.append(one.row)
        else:
            found.rejects.append(one)
    return found


def write_rejects(path: Path, *files: Rows[Any]) -> None:
    """Write the rows left out of these files, one per line with its position and reason.

    An existing file is replaced, or removed if no row was left out.
    """
    path.unlink(missing_ok=True)
    rows = [
        {"file": str(found.path), found.unit: reject.line, "reason": reject.reason, "row": reject.row}
        for found in files
        for reject in found.rejects
    ]
    if rows:
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        # A lone surrogate, which UTF-8 cannot encode, is written as a JSON escape.
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
