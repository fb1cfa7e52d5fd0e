"""What the page's script reads: the looks of settings, the rows behind the charts, and the samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from launch.page.charts import look, specifications
from rl.study.browser import Samples
from rl.study.curves import constant, evaluations, figures, stages
from rl.study.results import Result, end
from rl.study.settings import Setting, Study


def data_of(study: Study, results: Sequence[Result], names: Mapping[int, str], samples: Samples) -> dict[str, Any]:
    """What the page's script reads."""
    runs = study.runs
    of_run = [(number, setting, run) for number, setting in enumerate(study.settings) for run in setting.runs]
    drawn, titles = figures(runs)
    same = {name: value for name in titles if (value := constant(drawn[name])) is not None}
    evaluated = evaluations(runs)
    looks = _looks(study, names)
    final = [row for result in results for row in _final(result, names)]
    charts = specifications(
        looks,
        intervals=any(row.get("low") is not None for row in final),
        truth_outside=_leaves_unit(evaluated["truth"]),
        proxy_outside=_leaves_unit(evaluated["proxy"]),
    )
    return {
        "settings": looks,
        "runs": [{"setting": number, "seed": run.seed} for number, _, run in of_run],
        "evaluations": evaluated,
        "figures": drawn,
        "titles": {name: title for name, title in titles.items() if name not in same},
        "same": {titles[name]: value for name, value in same.items()},
        "stages": [
            {"setting": names[id(setting)], "stage": stage, "seconds": round(seconds, 4)}
            for setting in study.settings
            for stage, seconds in _stages(setting).items()
        ],
        "final": final,
        "charts": charts,
        "samples": {"problems": samples.problems, "groups": samples.groups, "samples": samples.samples},
    }


def _leaves_unit(column: Sequence[float | None]) -> bool:
    """Whether a value is outside [0, 1]."""
    return any(value is not None and not 0 <= value <= 1 for value in column)


def _looks(study: Study, names: Mapping[int, str]) -> list[dict[str, Any]]:
    """A colour for each reward, and a dash and symbol for each algorithm in each exam."""
    rewards, algorithms = (
        list(dict.fromkeys(getattr(one, kind) for one in study.settings)) for kind in ("reward", "algorithm")
    )
    return [
        look(names[id(one)], rewards.index(one.reward), place * len(algorithms) + algorithms.index(one.algorithm))
        for place, exam in enumerate(study.exams)
        for one in exam.settings
    ]


def points(before: Mapping[str, Mapping[str, float]], after: Mapping[str, float]) -> list[dict[str, Any]]:
    """Each figure of each reward before training, with the result after it."""
    return [
        {"reward": reward, "figure": name, "before": round(value, 4), "after": round(after[reward], 4)}
        for reward, figures in before.items()
        for name, value in figures.items()
    ]


def _stages(setting: Setting) -> dict[str, float]:
    """Mean seconds per update by stage over the runs of a setting, without their start."""
    totals: dict[str, float] = {}
    for run in setting.runs:
        for stage, seconds in stages(run).items():
            if stage != "start":
                totals[stage] = totals.get(stage, 0.0) + seconds / max(1, run.last_update)
    return {stage: seconds / len(setting.runs) for stage, seconds in totals.items()}


def _final(result: Result, names: Mapping[int, str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for setting in result.exam.settings:
        label, one = names[id(setting)], result.settings.subjects[setting.label]
        rows += [
            {"kind": "run", "setting": label, "seed": run.seed, "value": end(run, result.metric)}
            for run in setting.runs
        ]
        rows.append(
            {"kind": "summary", "setting": label, "value": one.iqm.value, "low": one.iqm.low, "high": one.iqm.high}
        )
    return rows
