"""MLflow."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rl.run.trackers import COLUMNS, Tracker, check_rows, flat, require_package

_MOST_PARAMETERS = 100
_LONGEST_VALUE = 6000
"""MLflow's limits: parameters per call, and characters of a value."""


class Mlflow(Tracker):
    """Logs to an MLflow server, or to a SQLite file."""

    def __init__(self, uri: str = "sqlite:///mlflow.db", experiment: str = "rewardloop", sample_rows: int = 32) -> None:
        require_package("mlflow")
        check_rows(sample_rows)
        self.uri, self.experiment, self.sample_rows = uri, experiment, sample_rows
        self._client: Any = None
        self._run = ""

    def start(self, name: str, folder: Path, config: Mapping[str, Any], known_as: str | None) -> str:
        """See Tracker. With a SQLite file the tables of samples are kept in a folder next to it."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        import mlflow

        self._client = mlflow.MlflowClient(tracking_uri=self.uri)
        if known_as:
            self._client.update_run(known_as, status="RUNNING")
            self._run = known_as
            return known_as
        found = self._client.get_experiment_by_name(self.experiment)
        experiment = found.experiment_id if found else self._client.create_experiment(self.experiment, self._files())
        self._run = self._client.create_run(experiment, run_name=name).info.run_id
        parameters = [mlflow.entities.Param(key, str(value)[:_LONGEST_VALUE]) for key, value in flat(config).items()]
        for start in range(0, len(parameters), _MOST_PARAMETERS):
            self._client.log_batch(self._run, params=parameters[start : start + _MOST_PARAMETERS])
        return self._run

    def log(self, update: int, metrics: Mapping[str, float]) -> None:
        """See Tracker."""
        import time

        from mlflow.entities import Metric

        now = int(1000 * time.time())
        self._client.log_batch(self._run, metrics=[Metric(name, value, now, update) for name, value in metrics.items()])

    def samples(self, update: int, rows: Sequence[Sequence[Any]]) -> None:
        """See Tracker."""
        columns = {name: [row[index] for row in rows] for index, name in enumerate(COLUMNS)}
        self._client.log_table(self._run, columns, "samples.json")

    def finish(self, failed: bool) -> None:
        """See Tracker."""
        self._client.set_terminated(self._run, "FAILED" if failed else "FINISHED")

    def _files(self) -> str | None:
        """Where tables go: a server decides itself."""
        if not self.uri.startswith("sqlite:///"):
            return None
        return (Path(self.uri.removeprefix("sqlite:///")).absolute().parent / "mlflow_files").as_uri()
