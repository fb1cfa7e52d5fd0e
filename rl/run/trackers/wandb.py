"""Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from rl.run.trackers import COLUMNS, Tracker, check_rows, require_package


class Wandb(Tracker):
    """Logs to Weights & Biases; offline it writes into the run folder, from where `wandb sync` uploads it."""

    def __init__(
        self,
        project: str = "rewardloop",
        entity: str | None = None,
        group: str | None = None,
        mode: Literal["offline", "online"] = "offline",
        sample_rows: int = 32,
    ) -> None:
        require_package("wandb")
        check_rows(sample_rows)
        self.project, self.entity, self.group, self.mode = project, entity, group, mode
        self.sample_rows = sample_rows
        self._run: Any = None

    def start(self, name: str, folder: Path, config: Mapping[str, Any], known_as: str | None) -> str:
        """See Tracker."""
        import wandb

        self._run = wandb.init(
            project=self.project,
            entity=self.entity,
            group=self.group,
            mode=self.mode,
            name=name,
            id=known_as,
            resume="allow" if known_as else None,
            dir=str(folder),
            config=dict(config),
            settings=wandb.Settings(silent=True, console="off"),
        )
        return str(self._run.id)

    def log(self, update: int, metrics: Mapping[str, float]) -> None:
        """See Tracker."""
        self._run.log(dict(metrics), step=update)

    def samples(self, update: int, rows: Sequence[Sequence[Any]]) -> None:
        """See Tracker."""
        import wandb

        self._run.log({"samples": wandb.Table(columns=list(COLUMNS), data=[list(row) for row in rows])}, step=update)

    def finish(self, failed: bool) -> None:
        """See Tracker."""
        self._run.finish(exit_code=int(failed))
