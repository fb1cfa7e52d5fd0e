"""Experiment trackers: a run's numbers and some of its samples, sent to a service in addition to the run folder.

The run folder stays the record. A tracker that fails is switched off with a visible event; the run continues.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rewards.builder import one_line

COLUMNS = ("update", "problem", "answer", "response", "correct", "reward", "tokens")
"""The columns of a table of samples."""

INSTALL = ".venv/bin/pip install --no-deps -r requirements/trackers.txt"


class Tracker(ABC):
    """One service. A constructor checks its options and that the package is installed, and imports nothing heavy.

    `sample_rows` is the number of responses of each evaluation that go into a table, 0 for none.
    """

    sample_rows: int

    @abstractmethod
    def start(self, name: str, folder: Path, config: Mapping[str, Any], known_as: str | None) -> str:
        """Begin a run called `name`, or continue the one that the service knows as `known_as`.

        `folder` is the run folder, `config` the resolved configuration. Returns what the service calls the run.
        """

    @abstractmethod
    def log(self, update: int, metrics: Mapping[str, float]) -> None:
        """Send the numbers of an update. Names are those of metrics.jsonl; values are finite."""

    @abstractmethod
    def samples(self, update: int, rows: Sequence[Sequence[Any]]) -> None:
        """Send a table of samples with the columns `COLUMNS`."""

    @abstractmethod
    def finish(self, failed: bool) -> None:
        """Send what is left and close the run."""


class Tracking:
    """A tracker as the run folder uses it: an error switches it off and is reported once, the run continues."""

    def __init__(self, tracker: Tracker, tell: Callable[[str], None]) -> None:
        self.tracker = tracker
        self.tell = tell
        self.fault: str | None = None
        self.known_as: str | None = None
        self._running = False

    def start(self, folder: Path, config: Mapping[str, Any], known_as: str | None) -> None:
        """See `Tracker.start`."""
        self.known_as = known_as
        self._attempt(self._start, folder, config, known_as)

    def log(self, update: int, metrics: Mapping[str, float]) -> None:
        """See `Tracker.log`."""
        if self._running and metrics:
            self._attempt(self.tracker.log, update, metrics)

    def samples(self, update: int, rows: Sequence[Sequence[Any]]) -> None:
        """See `Tracker.samples`; sends the first `sample_rows` rows."""
        if self._running and self.tracker.sample_rows and rows:
            self._attempt(self.tracker.samples, update, rows[: self.tracker.sample_rows])

    def finish(self, failed: bool) -> None:
        """See `Tracker.finish`."""
        if self._running:
            self._attempt(self.tracker.finish, failed)
        self._running = False

    def _start(self, folder: Path, config: Mapping[str, Any], known_as: str | None) -> None:
        self.known_as = self.tracker.start(folder.name, folder, config, known_as)
        self._running = True

    def _attempt(self, work: Callable[..., None], *arguments: Any) -> None:
        try:
            work(*arguments)
        except Exception as error:  # whatever the service or the network throws: the run does not depend on it
            name = type(self.tracker).__name__
            self.fault = f"{name} failed and is switched off: {type(error).__name__}: {one_line(error)}"
            self._running = False
            self.tell(self.fault)


def require_package(name: str) -> None:
    """Raise ValueError with the command that installs it, unless the package is installed."""
    if find_spec(name) is None:
        raise ValueError(f"the package {name} is not installed: {INSTALL}")


def check_rows(sample_rows: int) -> None:
    """Raise ValueError for a negative number of rows."""
    if sample_rows < 0:
        raise ValueError(f"sample_rows must not be negative, not {sample_rows}")


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with keys such as `reward.model`."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{prefix}{key}"
        found |= flat(value, f"{name}.") if isinstance(value, Mapping) and value else {name: value}
    return found
