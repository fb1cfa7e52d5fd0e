"""The curves of runs as columns of numbers: evaluations against samples, time and KL, and figures of every update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rl.run.past_runs import Run
from rl.study.results import PROXY, TRUTH

FIGURES = {
    "response/tokens": "response length (tokens)",
    "learner/entropy": "entropy (nats per token)",
    "learner/clip_fraction": "clip fraction",
    "reward/flat_groups": "groups with equal rewards",
    "reward/failed": "failed scores",
    "reward/auc": "reward's AUC on the rollout",
    "rollout/gap_mean": "sampler and learner gap (nats)",
    "sync/gap_mean": "sampler and learner gap (nats)",
    "learner/kl": "KL from the start (nats per token)",
    "learner/grad_norm": "gradient norm",
}
"""The figures of an update that are drawn, with their titles. Two names of one title never occur in one run."""

MOST_POINTS = 250
"""A run with more updates is drawn at evenly spaced ones."""

Columns = dict[str, list[Any]]


def measures_kl(run: Run) -> bool:
    """Whether the run measured its KL from a frozen reference. Without one, the logged KL is 0 throughout."""
    return any(value > 0 for _, value in run.series("learner/kl"))


def evaluations(runs: Sequence[Run]) -> Columns:
    """Every evaluation of the runs: the run's number, update, samples, hours, KL from the start, truth and proxy.

    The KL of an update is measured on its samples, which the policy before it drew, so an evaluation takes that of the
    next update, or of the last one at the end. A value that was not measured is None.
    """
    columns: Columns = {name: [] for name in ("run", "update", "samples", "hours", "kl", "truth", "proxy")}
    for number, run in enumerate(runs):
        drawn = dict(run.series("response/count"))
        seconds = {row["update"]: row["seconds"] for row in run.rows}
        kl = dict(run.series("learner/kl")) if measures_kl(run) else {}
        proxy = dict(run.series(PROXY))
        for update, truth in run.series(TRUTH):
            columns["run"].append(number)
            columns["update"].append(update)
            columns["samples"].append(round(sum(count for at, count in drawn.items() if at <= update)))
            columns["hours"].append(_short(seconds[update] / 3600))
            columns["kl"].append(_short(0.0 if update == 0 and kl else kl.get(update + 1, kl.get(update))))
            columns["truth"].append(_short(truth))
            columns["proxy"].append(_short(proxy.get(update)))
    return columns


def figures(runs: Sequence[Run]) -> tuple[Columns, dict[str, str]]:
    """The figures of every update that was drawn, in columns, and the titles of those that some run has."""
    titles = {name: title for name, title in FIGURES.items() if any(run.series(name) for run in runs)}
    if not any(map(measures_kl, runs)):
        titles.pop("learner/kl", None)
    columns: Columns = {name: [] for name in ("run", "update", *titles)}
    for number, run in enumerate(runs):
        rows = [row for row in run.rows if any(name in row for name in titles)]
        step = -(-len(rows) // MOST_POINTS) or 1
        found = {name: dict(run.series(name)) for name in titles}
        for row in rows[::step]:
            columns["run"].append(number)
            columns["update"].append(row["update"])
            for name, series in found.items():
                columns[name].append(_short(series.get(row["update"])))
    merged = {title: name for name, title in titles.items()}
    for name, title in titles.items():
        if merged[title] != name:
            columns[merged[title]] = [
                one if other is None else other
                for one, other in zip(columns.pop(name), columns[merged[title]], strict=True)
            ]
    return columns, {name: title for title, name in merged.items()}


def constant(column: Sequence[float | None]) -> float | None:
    """The value of a column that has only one; None if it has more."""
    values = {value for value in column if value is not None}
    return values.pop() if len(values) == 1 else None


def stages(run: Run) -> dict[str, float]:
    """Wall seconds of a run by stage, summed over its updates."""
    totals: dict[str, float] = {}
    for row in run.rows:
        for name, value in row.items():
            if name.startswith("time/") and isinstance(value, int | float):
                stage = name.removeprefix("time/")
                totals[stage] = totals.get(stage, 0.0) + value
    return totals


def cost(runs: Sequence[Run]) -> Mapping[str, float]:
    """What runs cost in all: hours, samples, sampled tokens, failed scores, and judgements of a pairwise judge."""
    totals = {"hours": 0.0, "samples": 0.0, "tokens": 0.0, "failed": 0.0, "judgements": 0.0}
    for run in runs:
        totals["hours"] += run.seconds / 3600
        totals["samples"] += run.samples
        counts = dict(run.series("response/count"))
        totals["tokens"] += sum(counts.get(at, 0.0) * tokens for at, tokens in run.series("response/tokens"))
        totals["failed"] += sum(value for _, value in run.series("reward/failed"))
        judged = sum(value for _, value in run.series("reward/part/judgements"))  # means over groups
        totals["judgements"] += judged * float(run.settings.get("rollout.problems") or 0)
    return totals


def _short(value: float | None) -> float | None:
    """A number with five significant digits, which no chart shows more of."""
    return None if value is None else float(f"{value:.5g}")
