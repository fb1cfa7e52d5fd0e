"""Turn the rows of a training file into token sequences; a bad row is set aside with its line and reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from rewards.builder import ConfigurationError
from rewards.files.rows import Reject, Rows, read_rows

Item = TypeVar("Item")


class TrainingRow(NamedTuple):
    """A parsed row, its line in the file, and the JSON object it was parsed from."""

    line: int
    row: Any
    record: Mapping[str, Any]


@dataclass
class Data(Generic[Item]):
    """The rows to learn from, their token sequences, and the rows that were set aside."""

    rows: Rows[TrainingRow]
    items: list[Item]

    @property
    def used(self) -> int:
        """The number of rows to learn from."""
        return len(self.items)

    @property
    def files(self) -> dict[str, Rows[TrainingRow]]:
        """The file that was read, by the name under which its rejects are written."""
        return {"rejects": self.rows}

    def notes(self) -> Iterator[str]:
        """Notes on the file for the user."""
        yield from self.rows.notes()


def read(recipe: Any, path: Path) -> Data:
    """All rows that `recipe` can learn from. Raises ConfigurationError if nothing can be learned from the file.

    This is decided after the rows that are too long have been set aside: the only wrong step may be in one of them.
    """
    found = read_training_rows(path, recipe.parse, recipe.fields)
    before = len(found.rows)
    items = set_aside(found, recipe.items, len, recipe.training.max_tokens)
    if len(items) < 2:
        raise ConfigurationError(f"data {path}: fewer than 2 rows are left: see recipe.training.max_tokens")
    fault = recipe.fault([one.row for one in found.rows])
    if fault:
        aside = before - len(items)
        more = f" ({aside} rows were set aside: see recipe.training.max_tokens)" if aside else ""
        raise ConfigurationError(f"data {path}: {fault}{more}")
    return Data(found, items)


def read_training_rows(
    path: Path, parse: Callable[[Mapping[str, Any]], Any], known: frozenset[str]
) -> Rows[TrainingRow]:
    """Rows with their lines. Raises ConfigurationError, with the first reason, if no row can be used."""
    found = read_rows(path, lambda record, line: TrainingRow(line, parse(record), record), known)
    if not found.rows:
        first = found.rejects[0] if found.rejects else None
        reason = f"line {first.line}: {first.reason}" if first else "the file is empty"
        raise ConfigurationError(f"{path} has no row that can be used; {reason}")
    return found


def set_aside(
    found: Rows[TrainingRow],
    tokenise: Callable[[Sequence[Any]], list[Item]],
    length: Callable[[Item], int],
    max_tokens: int,
) -> list[Item]:
    """The rows as token sequences; rows that the chat template refuses or that are too long become rejects."""
    made = _tokenised(found, tokenise)
    kept, items = [], []
    for row, item in zip(found.rows, made, strict=True):
        reason = item if isinstance(item, str) else None
        if reason is None and length(item) > max_tokens:  # type: ignore[arg-type]
            reason = f"longer than {max_tokens} tokens (max_tokens)"
        if reason is not None:
            found.rejects.append(Reject(row.line, reason, row.record))
            continue
        kept.append(row)
        items.append(item)
    found.rows = kept
    found.rejects.sort(key=lambda reject: reject.line)
    return items  # type: ignore[return-value]


def _tokenised(found: Rows[TrainingRow], tokenise: Callable[[Sequence[Any]], list[Item]]) -> list[Item | str]:
    """One item per row, or the reason why there is none; in a single call if no row is bad.

    Raises ValueError if no row can be rendered: then the fault is the model's, not the rows'.
    """
    try:
        return list(tokenise([one.row for one in found.rows]))
    except ValueError:
        made: list[Item | str] = []
        for one in found.rows:
            try:
                made += tokenise([one.row])
            except ValueError as error:
                made.append(str(error))
        if all(isinstance(item, str) for item in made):
            raise
        return made
