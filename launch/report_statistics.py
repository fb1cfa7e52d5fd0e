"""What runs say about rewards and algorithms, in Markdown: `python -m launch.report runs/* --statistics`.

The conclusion in sentences, a table of settings with intervals, and every comparison in words.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from rl.run.past_runs import Run
from rl.study.record import record_of
from rl.study.results import Ranking, Result, result_of, with_metric
from rl.study.settings import Study, arrange
from rl.study.statistics import Summary
from rl.study.words import conclusion, estimate, told_apart


def studied(
    runs: Sequence[Run], left_out: Sequence[tuple[Path, str]], options: Namespace
) -> tuple[Study, list[Result]]:
    """The study of these runs and the results of its exams, the largest first. Names the runs that it leaves out.

    `left_out`: folders that have been named already. Raises ValueError if no run has the metric, or none is finished.
    """
    having, without = with_metric(runs, options.metric)
    study = arrange(having, [*left_out, *((run.folder, f"has no metric {options.metric}") for run in without)])
    for folder, reason in study.left_out[len(left_out) :]:
        print(f"left out: {folder}: {reason}", file=sys.stderr)
    if not study.exams:
        raise ValueError("none of these runs is finished")
    return study, [result_of(exam, options.metric, options.lower_is_better) for exam in study.exams]


def statistics(study: Study, results: Sequence[Result]) -> str:
    """The study in Markdown, exam by exam."""
    records = {run.folder: record_of(run.folder) for run in study.runs}
    return "\n\n".join(_exam(study, result, conclusion(study, result, records)) for result in results)


def _exam(study: Study, result: Result, sentences: Sequence[str]) -> str:
    lines = [f"# {result.exam.label}", ""] if len(study.exams) > 1 else []
    lines += [f"{number}. {line}" for number, line in enumerate(sentences, start=1)]
    for title, ranking in (
        ("settings", result.settings),
        ("rewards, over all algorithms", result.rewards),
        ("algorithms, over all rewards", result.algorithms),
    ):
        if ranking is not None:
            lines += ["", *_table(title, ranking)]
    return "\n".join(lines)


def _table(title: str, ranking: Ranking) -> list[str]:
    lines = [f"| {title} | IQM, 95% interval | mean | every run |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {estimate(one.iqm)} | {one.mean:.3f} | {_points(one)} |" for name, one in ranking.subjects.items()
    ]
    return [*lines, "", *(f"- {line}" for line in told_apart(ranking))]


def _points(one: Summary) -> str:
    return ", ".join(f"{value:.3f}" for value in sorted(one.values, reverse=True))
