"""The rows of a file, good and bad: a bad one is set aside with its line and reason, never fatal."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from rewards.files.lines import lines_of

Row = TypeVar("Row")
REASON_CHARACTERS = 300


@dataclass(frozen=True)
class Reject:
    """A row that could not be used: where it stands, why, and what it holds."""

    line: int
    reason: str
    row: Any


@dataclass
class Rows(Generic[Row]):
    """The rows of a file that can be used, those that cannot, and fields that nothing reads, by name.

    `unknown_first` holds the first line that such a field stands in.
    """

    path: Path
    rows: list[Row] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)
    unknown_first: dict[str, int] = field(default_factory=dict)

    def notes(self) -> Iterator[str]:
        """What a person should know of the file, in plain lines."""
        for reason, count in Counter(reject.reason for reject in self.rejects).most_common(5):
            first = next(reject.line for reject in self.rejects if reject.reason == reason)
            rows = f"{count} rows were" if count > 1 else "1 row was"
            yield f"{rows} left out: {self.path}, line {first}{' (the first)' if count > 1 else ''}: {reason}"
        others = len({reject.reason for reject in self.rejects}) - 5
        if others > 0:
            yield f"{others} more kinds of bad rows: see rejects.jsonl"
        if self.unknown:
            named = ", ".join(
                f"{name} ({count} rows) first in line {self.unknown_first[name]}"
                for name, count in self.unknown.most_common(8)
            )
            yield f"fields that nothing reads: {named}; in {self.path}"


def read_rows(path: Path, parse: Callable[[Mapping[str, Any], int], Row], known: frozenset[str]) -> Rows[Row]:
    """Every row of a JSONL file or a JSON list; `parse` makes a row of an object and its line, or raises ValueError."""
    found: Rows[Row] = Rows(path)
    for line in lines_of(path):
        if line.fault is not None:
            found.rejects.append(Reject(line.number, line.fault, line.value))
            continue
        try:
            if not isinstance(line.value, dict):
                raise ValueError(f"a row must be a JSON object, not {type(line.value).__name__}")
            for name in (name for name in line.value if name not in known):
                found.unknown[name] += 1
                found.unknown_first.setdefault(name, line.number)
            found.rows.append(parse(line.value, line.number))
        except OverflowError:
            found.rejects.append(Reject(line.number, "a number is too large", line.value))
        except ValueError as error:
            found.rejects.append(Reject(line.number, str(error)[:REASON_CHARACTERS], line.value))
    return found


def write_rejects(path: Path, found: Rows[Any]) -> None:
    """The rows left out, a line each with its place and reason; no file where there are none."""
    path.unlink(missing_ok=True)
    if found.rejects:
        rows = ({"file": str(found.path), "line": r.line, "reason": r.reason, "row": r.row} for r in found.rejects)
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        # What UTF-8 cannot hold, half a character, is written as JSON's own escape.
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
