"""Which work a folder holds: written in it before the work starts, and compared before it continues."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Claim:
    """A folder for one piece of work, which is a function of `made_from`; the folder's file `mark` holds that as JSON.

    `what` names the work and `key` the option that names the folder, for messages.
    """

    folder: Path
    made_from: Mapping[str, Any]
    mark: str
    what: str
    key: str = "folder"

    def differences(self) -> list[str]:
        """The keys in which the work in the folder differs from this; an empty list for a new folder.

        Raises ValueError where the folder holds something else.
        """
        file = self.folder / self.mark
        if not file.exists():
            if self.folder.exists() and any(self.folder.iterdir()):
                raise ValueError(f"{self.key} {self.folder} is not empty and holds no {self.what}: choose another name")
            return []
        before, now = json.loads(file.read_text(encoding="utf-8")), json.loads(self._text())
        return [key for key in {**before, **now} if before.get(key) != now.get(key)]

    def check(self) -> None:
        """Raise ValueError where the folder holds other work, or something else."""
        if differences := self.differences():
            raise self.refusal(differences)

    def refusal(self, differences: list[str], hint: str = "") -> ValueError:
        """The error for a folder whose work differs in these keys."""
        article = "an" if self.what[0] in "aeiou" else "a"
        return ValueError(
            f"{self.key} {self.folder} holds {article} {self.what} with another {', '.join(differences)}: "
            f"choose another name{hint}, or delete it"
        )

    def write(self) -> None:
        """Make the folder and write the mark, which appears when it is whole."""
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / f"{self.mark}.part"
        part.write_text(self._text() + "\n", encoding="utf-8")
        part.replace(self.folder / self.mark)

    def take(self) -> None:
        """Check the folder, then write the mark. Raises ValueError as `check` does."""
        self.check()
        self.write()

    def _text(self) -> str:
        return json.dumps(self.made_from, indent=1, ensure_ascii=False)
