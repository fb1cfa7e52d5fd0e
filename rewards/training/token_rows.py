"""The rows of a training file as token sequences; what cannot be used is set aside with its line and reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from rewards.builder import ConfigurationError
from rewards.files.rows import Reject, Rows, read_rows

Item = TypeVar("Item")


class Lined(NamedTuple):
    """A parsed row, the line it stands on, and the JSON object that it was."""

    line: int
    row: Any
    record: Mapping[str, Any]


@dataclass
class Data(Generic[Item]):
    """The rows that are left, their token sequences, and what was set aside."""

    rows: Rows[Lined]
    items: list[Item]

    @property
    def used(self) -> int:
        """Rows to learn from."""
        return len(self.items)

    @property
    def files(self) -> dict[str, Rows[Lined]]:
        """What was read, under the name that its rejects are written to."""
        return {"rejects": self.rows}

    def notes(self) -> Iterator[str]:
        """What a person should know of the file."""
        yield from self.rows.notes()


def read(recipe: Any, path: Path) -> Data:
    """All rows that `recipe` can learn from. Raises ConfigurationError where nothing can be learned from the file.

    That is asked of the rows which are short enough: the only wrong step may stand in one that is not.
    """
    found = read_lined(path, recipe.parse, recipe.fields)
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


def read_lined(path: Path, parse: Callable[[Mapping[str, Any]], Any], known: frozenset[str]) -> Rows[Lined]:
    """Rows with their lines. Raises ConfigurationError, with the first reason, where none can be used."""
    found = read_rows(path, lambda record, line: Lined(line, parse(record), record), known)
    if not found.rows:
        first = found.rejects[0] if found.rejects else None
        reason = f"line {first.line}: {first.reason}" if first else "the file is empty"
        raise ConfigurationError(f"{path} has no row that can be used; {reason}")
    return found


def set_aside(
    found: Rows[Lined],
    tokenise: Callable[[Sequence[Any]], list[Item]],
    length: Callable[[Item], int],
    max_tokens: int,
) -> list[Item]:
    """The rows as token sequences; those refused by the chat template or too long become rejects."""
    made = _tokenised(found, tokenise)
    kept, items = [], []
    for lined, item in zip(found.rows, made, strict=True):
        reason = item if isinstance(item, str) else None
        if reason is None and length(item) > max_tokens:  # type: ignore[arg-type]
            reason = f"longer than {max_tokens} tokens (max_tokens)"
        if reason is not None:
            found.rejects.append(Reject(lined.line, reason, lined.record))
            continue
        kept.append(lined)
        items.append(item)
    found.rows = kept
    found.rejects.sort(key=lambda reject: reject.line)
    return items  # type: ignore[return-value]


def _tokenised(found: Rows[Lined], tokenise: Callable[[Sequence[Any]], list[Item]]) -> list[Item | str]:
    """An item for each row, or the reason why there is none; all at once where every row is sound.

    Raises ValueError where no row can be rendered: then it is the model, not the rows.
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
