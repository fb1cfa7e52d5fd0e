"""Trackio, which keeps its runs in a local SQLite file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rl.run.trackers import COLUMNS, Tracker, check_rows, require_package


class Trackio(Tracker):
    """Logs to Trackio; `trackio show` opens its page. `space` is a Hugging Face space that gets a copy."""

    def __init__(
        self, project: str = "rewardloop", group: str | None = None, space: str | None = None, sample_rows: int = 32
    ) -> None:
        require_package("trackio")
        check_rows(sample_rows)
        self.project, self.group, self.space, self.sample_rows = project, group, space, sample_rows
        self._run: Any = None

    def start(self, name: str, folder: Path, config: Mapping[str, Any], known_as: str | None) -> str:
        """See Tracker. A run is known by its name."""
        import trackio

        self._run = trackio.init(
            project=self.project,
            name=known_as or name,
            group=self.group,
            space_id=self.space,
            config=dict(config),
            resume="allow" if known_as else "never",
            auto_log_gpu=False,
            auto_log_cpu=False,
            embed=False,
        )
        return known_as or name

    def log(self, update: int, metrics: Mapping[str, float]) -> None:
        """See Tracker."""
        self._run.log(dict(metrics), step=update)

    def samples(self, update: int, rows: Sequence[Sequence[Any]]) -> None:
        """See Tracker."""
        import pandas
        import trackio

        frame = pandas.DataFrame([list(row) for row in rows], columns=list(COLUMNS))
        self._run.log({"samples": trackio.Table(dataframe=frame)}, step=update)

    def finish(self, failed: bool) -> None:
        """See Tracker. Trackio does not record whether a run failed."""
        import trackio

        trackio.finish()
