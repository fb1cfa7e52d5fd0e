"""Record in a folder what work it contains, before the work starts, and compare before the work continues."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Claim:
    """A folder for one piece of work.

    `made_from` is everything the work depends on; it is saved as JSON in the folder's file `mark`. For messages, `what`
    names the work and `key` the option that names the folder.
    """

    folder: Path
    made_from: Mapping[str, Any]
    mark: str
    what: str
    key: str = "folder"

    def differences(self) -> list[str]:
        """The keys in which the work in the folder differs from this; an empty list for a new folder.

        Raises ValueError if the folder contains something else.
        """
        file = self.folder / self.mark
        if not file.exists():
            if self.folder.exists() and any(self.folder.iterdir()):
                raise ValueError(
                    f"{self.key} {self.folder} is not empty and does not contain {self._a_what()}: choose another name"
                )
            return []
        before, now = json.loads(file.read_text(encoding="utf-8")), json.loads(self._text())
        return [key for key in {**before, **now} if before.get(key) != now.get(key)]

    def check(self) -> None:
        """Raise ValueError if the folder contains different work, or something else."""
        if differences := self.differences():
            raise self.refusal(differences)

    def refusal(self, differences: list[str], hint: str = "") -> ValueError:
        """The error for a folder whose work differs in these keys."""
        return ValueError(
            f"{self.key} {self.folder} contains {self._a_what()} that differs in {', '.join(differences)}: "
            f"choose another name{hint}, or delete it"
        )

    def write(self) -> None:
        """Create the folder and write the mark in one atomic step."""
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / f"{self.mark}.part"
        part.write_text(self._text() + "\n", encoding="utf-8")
        part.replace(self.folder / self.mark)

    def take(self) -> None:
        """Check the folder, then write the mark. Raises ValueError as `check` does."""
        self.check()
        self.write()

    def _a_what(self) -> str:
        return f"{'an' if self.what[0] in 'aeiou' else 'a'} {self.what}"

    def _text(self) -> str:
        return json.dumps(self.made_from, indent=1, ensure_ascii=False)
