"""One split of a task: its files, the problems that can be used, and the rows that cannot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

from rewards.files.digests import file_digest, problems_digest
from rewards.files.lines import check_file
from rewards.files.rows import Reject, Rows, read_rows
from rewards.types import Problem
from rl.tasks import Lengths

Parse = Callable[[dict[str, Any], str], Problem]
"""Turns a row, and an id in case it has none, into a problem; raises ValueError with the reason."""


@dataclass(frozen=True)
class NumberedProblem:
    """A problem and the line (in a table: the row) it comes from."""

    line: int
    problem: Problem


class Split:
    """The problems of one or several files. `key` is the option that names them, such as "task.train".

    Raises ValueError if no row of a file can be used, and OSError if a file cannot be read.
    """

    def __init__(self, paths: Sequence[Path], key: str, parse: Parse) -> None:
        self.key = key
        stems = Counter(path.stem for path in paths)
        self.files = [
            self._read(path, path.stem if stems[path.stem] == 1 else f"{path.parent.name}-{path.stem}", parse)
            for path in paths
        ]

    def _read(self, path: Path, name: str, parse: Parse) -> Rows[NumberedProblem]:
        found = read_rows(path, lambda row, line: NumberedProblem(line, parse(row, f"{name}-{line}")), known=None)
        if not found.rows:
            raise ValueError(f"{self.key}: {path} has no problem that can be used{found.first()}")
        return found

    @property
    def problems(self) -> list[Problem]:
        """All problems, file after file."""
        return [row.problem for found in self.files for row in found.rows]

    def take_out(self, reasons: Sequence[str | None]) -> int:
        """Move the problems with a reason to the rejects; return how many. `reasons` are in the order of `problems`.

        Raises ValueError if no problem of a file would be left.
        """
        place = taken = 0
        for found in self.files:
            kept: list[NumberedProblem] = []
            for row, reason in zip(found.rows, reasons[place : place + len(found.rows)], strict=True):
                if reason is None:
                    kept.append(row)
                else:
                    problem = row.problem
                    found.rejects.append(Reject(row.line, reason, {"id": problem.id, "prompt": problem.prompt}))
            place += len(found.rows)
            taken += len(found.rows) - len(kept)
            found.rows = kept
            found.rejects.sort(key=lambda reject: reject.line)
            if not kept:
                raise ValueError(f"{self.key}: no problem of {found.path} is left{found.first()}")
        if taken:
            self.__dict__.pop("digest", None)
        return taken

    def fit(self, lengths: Lengths, room: int, *, drop: bool) -> None:
        """Remove prompts that cannot be rendered, and with `drop` those longer than `room` tokens.

        Raises ValueError, naming the longest prompt, if one is longer and `drop` is False.
        """
        found = list(lengths(self.problems))
        overlong = {place: length for place, length in enumerate(found) if isinstance(length, int) and length > room}
        if overlong and not drop:
            longest = max(overlong, key=overlong.__getitem__)
            raise ValueError(
                f"{self.key}: {len(overlong)} of {len(found)} prompts are longer than the {room} tokens that "
                "rollout.max_model_len - rollout.max_new_tokens leaves for them; the longest, "
                f"{self.place_of(longest)}, has {overlong[longest]}: raise rollout.max_model_len by "
                f"{overlong[longest] - room} or more, or leave them out with task.overlong=drop"
            )
        reason = f"the prompt is longer than the {room} tokens left for it (task.overlong=drop)"
        self.take_out(
            [
                length if isinstance(length, str) else reason if place in overlong else None
                for place, length in enumerate(found)
            ]
        )

    def place_of(self, number: int) -> str:
        """File and line of a problem, by its index in `problems`."""
        places = [(found, row.line) for found in self.files for row in found.rows]
        found, line = places[number]
        return f"{found.path}, {found.unit} {line}"

    def notes(self) -> list[str]:
        """One-line notes on the files."""
        lines = [note for found in self.files for note in found.notes()]
        rejected = sum(len(found.rejects) for found in self.files)
        if rejected:
            rows = "1 row was" if rejected == 1 else f"{rejected} rows were"
            lines.append(f"{self.key}: {len(self.problems)} problems are used, {rows} left out: see rejects.jsonl")
        return lines

    @cached_property
    def digest(self) -> str:
        """The digest of the problems that are used."""
        return problems_digest(self.problems)

    @cached_property
    def _file_digests(self) -> list[str]:
        return [file_digest(found.path) for found in self.files]

    def description(self) -> dict[str, Any]:
        """Files, counts and digests for data.json."""
        files = [
            {
                "path": str(found.path),
                "sha256": digest,
                "used": len(found.rows),
                "rejected": len(found.rejects),
            }
            for found, digest in zip(self.files, self._file_digests, strict=True)
        ]
        return {"files": files, "problems": len(self.problems), "sha256": self.digest}

    def shuffled(self, seed: int) -> Iterator[Problem]:
        """All problems in a new order every epoch, without end."""
        yield from _epochs(self.problems, Random(f"{seed}"))

    def mixed(self, seed: int, weights: Sequence[float]) -> Iterator[Problem]:
        """Problems of each file in proportion to its weight, without end; each file is reshuffled every epoch.

        The next problem comes from the file furthest behind its share, so any prefix of the stream has the same mix.
        """
        streams = [
            _epochs([row.problem for row in found.rows], Random(f"{seed} {place}"))
            for place, found in enumerate(self.files)
        ]
        shares = [weight / sum(weights) for weight in weights]
        drawn = [0] * len(streams)
        while True:
            total = sum(drawn) + 1
            place = max(range(len(streams)), key=lambda file: (shares[file] * total - drawn[file], -file))
            drawn[place] += 1
            yield next(streams[place])


def paths_of(value: str | Sequence[str] | None, key: str) -> list[Path]:
    """The files that an option names; none for None. Raises FileNotFoundError if one is missing."""
    names = [value] if isinstance(value, str) else list(value or ())
    return [check_file(name, key) for name in names]


def _epochs(problems: list[Problem], order: Random) -> Iterator[Problem]:
    while True:
        yield from order.sample(problems, len(problems))
