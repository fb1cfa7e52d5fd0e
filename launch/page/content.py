"""What the page says: the tables, and the data behind its charts. Everything is plain, ready for the template."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from launch.page.data import data_of, points
from rl.run.past_runs import Run
from rl.study.browser import Samples
from rl.study.curves import cost, measures_kl
from rl.study.predictors import FIGURES, predictions
from rl.study.record import Record
from rl.study.results import Ranking, Result, end, of_rewards
from rl.study.samples import KINDS
from rl.study.settings import Setting, Study, differences
from rl.study.statistics import Comparison
from rl.study.words import conclusion, distrust, estimate, name_of, seeds_of, told_apart, what_predicted


def context_of(
    study: Study, results: Sequence[Result], records: Mapping[Path, Record], samples: Samples
) -> dict[str, Any]:
    """Everything that the template shows.

    `records` are by run folder, `results` those of the study's exams, and `samples` name runs by their place in it.
    """
    names = labels(study)
    runs = study.runs
    exams = [_exam(result, names, samples) for result in results]
    return {
        "title": "Reward study",
        "metric": name_of(results[0].metric),
        "sentences": conclusion(study, results[0], records),
        "reservations": distrust(study, results[0], records),
        "exams": exams,
        "differences": _differences(study.settings, names),
        "cost": [_cost(setting, names, records) for setting in study.settings],
        "runs": [_run(run, setting, names, records[run.folder]) for setting in study.settings for run in setting.runs],
        "left_out": [(str(folder), reason) for folder, reason in study.left_out],
        "unreadable": [(str(folder), count) for folder, count in samples.unreadable.items()],
        "kinds": KINDS,
        "figures": FIGURES,
        "without_kl": sum(not measures_kl(run) for run in runs),
        "data": data_of(study, results, names, samples) | {"prediction": points(exams[0]["before"], exams[0]["after"])},
    }


def labels(study: Study) -> dict[int, str]:
    """The label of each setting by its id(). Settings of the second exam and later ones also name their exam."""
    return {
        id(one): f"{one.label} ({exam.label})" if place else one.label
        for place, exam in enumerate(study.exams)
        for one in exam.settings
    }


def _exam(result: Result, names: Mapping[int, str], samples: Samples) -> dict[str, Any]:
    by_label = {setting.label: setting for setting in result.exam.settings}
    before, after = _before(result, samples), _after(result)
    averaged, predicted = result.rewards is not None, predictions(before, after)
    return {
        "label": result.exam.label,
        "summary": [_summary(by_label[label], label, result, names) for label in result.settings.subjects],
        "apart": told_apart(result.settings),
        "settings": None if averaged else _chances(result.settings),
        "rewards": _chances(result.rewards),
        "algorithms": _chances(result.algorithms),
        "matrix": _matrix(result),
        "predictions": predicted,
        "predicted": what_predicted(predicted),
        "before": before,
        "after": after,
    }


def _summary(setting: Setting, label: str, result: Result, names: Mapping[int, str]) -> dict[str, Any]:
    one = result.settings.subjects[label]
    return {
        "label": names[id(setting)],
        "key": list(names).index(id(setting)),
        "seeds": seeds_of(setting),
        "start": fmean(run.series(result.metric)[0][1] for run in setting.runs),
        "mean": one.mean,
        "iqm": estimate(one.iqm),
        "points": sorted(one.values, reverse=True),
        "verdict": _against_best(label, result.settings),
    }


def _before(result: Result, samples: Samples) -> dict[str, dict[str, float]]:
    """The figures of each reward on the first rollouts, means over its runs."""
    found = {}
    for reward, runs in of_rewards(result.exam.settings).items():
        rows = [samples.first.get(run.folder, {}) for run in runs]
        having = {name: [row[name] for row in rows if name in row] for name in FIGURES}
        found[reward] = {name: fmean(values) for name, values in having.items() if values}
    return found


def _after(result: Result) -> dict[str, float]:
    """The mean over its runs that each reward led to."""
    runs = of_rewards(result.exam.settings)
    return {reward: fmean(end(run, result.metric) for run in of_reward) for reward, of_reward in runs.items()}


def _names(result: Result, kind: str) -> list[str]:
    return list(dict.fromkeys(getattr(one, kind) for one in result.exam.settings))


def _against_best(label: str, ranking: Ranking) -> str:
    best = next(iter(ranking.subjects))
    one = next((one for one in ranking.comparisons if {one.first, one.second} == {best, label}), None)
    if one is None:
        return "best"
    if one.p is None:
        return "unknown: one seed"
    told = f"p = {one.adjusted:.2g}"
    return f"below the best ({told})" if one.apart else f"not told apart from the best ({told})"


def _chances(ranking: Ranking | None) -> dict[str, Any] | None:
    """P(row > column) for every two subjects, and whether they are apart."""
    if ranking is None or len(ranking.subjects) < 2:
        return None
    cells: dict[tuple[str, str], tuple[float, str, bool]] = {}
    for one in ranking.comparisons:
        if (chance := one.improvement.value) is None:
            continue
        cells[one.first, one.second] = (chance, estimate(one.improvement, 2), one.apart)
        cells[one.second, one.first] = (1 - chance, _mirrored(one), one.apart)
    return {
        "names": list(ranking.subjects),
        "rows": [
            {
                "name": name,
                "summary": estimate(ranking.subjects[name].iqm),
                "cells": [cells.get((name, other)) for other in ranking.subjects],
            }
            for name in ranking.subjects
        ],
        "pairs": len(ranking.comparisons),
        "apart": told_apart(ranking),
    }


def _mirrored(one: Comparison) -> str:
    value, low, high = one.improvement
    return f"{1 - (value or 0):.2f}" + ("" if low is None or high is None else f" [{1 - high:.2f}, {1 - low:.2f}]")


def _matrix(result: Result) -> dict[str, Any] | None:
    """Rewards by algorithms: mean and every seed. None if there is a single algorithm or reward."""
    algorithms = _names(result, "algorithm")
    order = {label: place for place, label in enumerate(result.settings.subjects)}
    rewards = list(dict.fromkeys(one.reward for one in sorted(result.exam.settings, key=lambda one: order[one.label])))
    if len(algorithms) < 2 or len(rewards) < 2:
        return None
    cells = {(one.reward, one.algorithm): result.settings.subjects[one.label] for one in result.exam.settings}
    low, high = (pick(one.mean for one in cells.values()) for pick in (min, max))
    return {
        "algorithms": algorithms,
        "rows": [
            (reward, [_cell(cells.get((reward, algorithm)), low, high) for algorithm in algorithms])
            for reward in rewards
        ],
    }


def _cell(found: Any, low: float, high: float) -> dict[str, Any] | None:
    if found is None:
        return None
    shade = (found.mean - low) / (high - low) if high > low else 1.0
    return {"mean": found.mean, "points": found.values, "shade": round(100 * shade)}


def _differences(settings: Sequence[Setting], names: Mapping[int, str]) -> dict[str, Any]:
    return {"names": [names[id(one)] for one in settings], "rows": differences(settings)}


def _cost(setting: Setting, names: Mapping[int, str], records: Mapping[Path, Record]) -> dict[str, Any]:
    reasons: dict[str, int] = {}
    for run in setting.runs:
        for reason, count in records[run.folder].failures.items():
            reasons[reason] = reasons.get(reason, 0) + count
    return {"label": names[id(setting)], **cost(setting.runs), "reasons": reasons}


def _run(run: Run, setting: Setting, names: Mapping[int, str], record: Record) -> dict[str, Any]:
    return {
        "label": names[id(setting)],
        "seed": run.seed,
        "folder": str(run.folder),
        "command": shlex.join(record.command),
        "commit": (record.commit or "")[:12] + (" with changes" if record.dirty else ""),
        "versions": ", ".join(f"{name} {version}" for name, version in record.versions.items()),
        "machine": record.machine,
        "time": record.time,
        "state": record.state or "unknown",
        "resumed": record.resumed,
    }
