"""The results of an exam: what each setting, reward and algorithm came to, and which of them are apart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from rewards.builder import nearest
from rl.run.past_runs import Run
from rl.study.settings import Exam, Setting, Study
from rl.study.statistics import Comparison, Key, Summary, Values, compare, summary

TRUTH, PROXY = "accuracy/held_out", "reward/held_out"

CLEAR_FALL = 0.05
"""A fall in accuracy below its peak that counts where the runs give no interval of the accuracy."""


@dataclass(frozen=True)
class Fall:
    """A run whose accuracy ended clearly below its peak. Rewards are those at the peak and at the end, if measured."""

    run: Run
    peak_update: int
    peak: float
    end: float
    rewards: tuple[float, float] | None

    @property
    def hidden(self) -> bool:
        """Whether the reward did not fall with the accuracy, so that watching it would not have told."""
        return self.rewards is not None and self.rewards[1] >= self.rewards[0]


@dataclass(frozen=True)
class Ranking:
    """Subjects by name, the best first, and every pair of them compared."""

    subjects: Mapping[str, Summary]
    comparisons: Sequence[Comparison]


@dataclass(frozen=True)
class Result:
    """An exam's results in one metric, at the last evaluation.

    start: the mean of the first evaluations. settings, rewards, algorithms: their rankings; rewards are averaged over
    the algorithms and algorithms over the rewards. The two are None unless there are several of both, and every one was
    run with all of the other kind. falls: the runs that lost accuracy.
    """

    exam: Exam
    metric: str
    start: float
    settings: Ranking
    rewards: Ranking | None
    algorithms: Ranking | None
    falls: Sequence[Fall]


def with_metric(runs: Sequence[Run], metric: str) -> tuple[list[Run], list[Run]]:
    """The runs that have the metric at least once, and the others.

    Raises ValueError, with the nearest name, if none has it.
    """
    having = [run for run in runs if run.series(metric)]
    if runs and not having:
        known = sorted({name for run in runs for row in run.rows for name in row if "/" in name})
        raise ValueError(f"no run has the metric {metric}{nearest(metric, known)}")
    return having, [run for run in runs if not run.series(metric)]


def result_of(exam: Exam, metric: str = TRUTH, lower_is_better: bool = False) -> Result:
    """The results of an exam whose runs all have the metric."""
    of_settings = {setting.label: {Key("", run.seed): end(run, metric) for run in setting.runs}
                   for setting in exam.settings}  # fmt: skip
    return Result(
        exam,
        metric,
        fmean(run.series(metric)[0][1] for run in exam.runs),
        _ranking(of_settings, lower_is_better),
        _averaged(exam.settings, metric, lower_is_better, lambda one: one.reward, lambda one: one.algorithm),
        _averaged(exam.settings, metric, lower_is_better, lambda one: one.algorithm, lambda one: one.reward),
        [fall for run in exam.runs if (fall := fall_of(run)) is not None],
    )


def best_first(study: Study, results: Sequence[Result]) -> Study:
    """The same study, the settings of each exam in the order of their results."""
    order = [list(result.settings.subjects) for result in results]
    exams = [
        replace(exam, settings=tuple(sorted(exam.settings, key=lambda one: place.index(one.label))))
        for exam, place in zip(study.exams, order, strict=True)
    ]
    return replace(study, exams=tuple(exams))


def end(run: Run, metric: str) -> float:
    """The last value of a metric that the run has."""
    return run.series(metric)[-1][1]


def fall_of(run: Run) -> Fall | None:
    """How the run's accuracy fell from its peak; None if it did not clearly: beyond both 95% intervals, or by 0.05."""
    truth = run.series(TRUTH)
    if not truth:
        return None
    update, peak = max(truth, key=lambda point: point[1])
    low, high = dict(run.series(f"{TRUTH}_low")).get(update), dict(run.series(f"{TRUTH}_high")).get(truth[-1][0])
    clear = truth[-1][1] < peak - CLEAR_FALL if low is None or high is None else high < low
    if not clear:
        return None
    proxy = dict(run.series(PROXY))
    rewards = (proxy[update], proxy[truth[-1][0]]) if update in proxy and truth[-1][0] in proxy else None
    return Fall(run, update, peak, truth[-1][1], rewards)


def of_rewards(settings: Iterable[Setting]) -> dict[str, list[Run]]:
    """The runs of each reward, over all algorithms."""
    found: dict[str, list[Run]] = {}
    for setting in settings:
        found.setdefault(setting.reward, []).extend(setting.runs)
    return found


def _averaged(
    settings: Sequence[Setting],
    metric: str,
    lower_is_better: bool,
    subject: Callable[[Setting], str],
    stratum: Callable[[Setting], str],
) -> Ranking | None:
    """A ranking of subjects averaged over strata; None unless several of both were run in every combination."""
    cells = {(subject(one), stratum(one)): one for one in settings}
    subjects, strata = (list(dict.fromkeys(names)) for names in zip(*cells, strict=True))
    if min(len(subjects), len(strata)) < 2 or not len(cells) == len(settings) == len(subjects) * len(strata):
        return None
    values = {
        name: {Key(other, run.seed): end(run, metric) for other in strata for run in cells[name, other].runs}
        for name in subjects
    }
    return _ranking(values, lower_is_better)


def _ranking(values: Mapping[str, Values], lower_is_better: bool) -> Ranking:
    summaries = {name: summary(one) for name, one in values.items()}
    order = sorted(summaries, key=lambda name: summaries[name].iqm.value or 0.0, reverse=not lower_is_better)
    return Ranking({name: summaries[name] for name in order}, compare({name: values[name] for name in order}))
