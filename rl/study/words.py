"""The conclusion in sentences, made from the figures: what was run, what came out, what to distrust."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from rewards.evaluation.intervals import Estimate
from rl.run.past_runs import Run
from rl.study.predictors import Prediction
from rl.study.record import Record
from rl.study.results import TRUTH, Fall, Ranking, Result
from rl.study.settings import Setting, Study
from rl.study.statistics import LEVEL, Comparison

FEW_SEEDS = 5
"""With fewer seeds per setting, a bootstrap interval is clearly too narrow."""

METRICS = {TRUTH: "held-out accuracy", "reward/held_out": "mean reward on held-out problems"}


def name_of(metric: str) -> str:
    """A metric in words, as far as it has any."""
    return METRICS.get(metric, metric)


def conclusion(study: Study, result: Result, records: Mapping[Path, Record]) -> list[str]:
    """Five sentences on an exam: runs, best and worst, pairs apart, over-optimisation, and reasons for distrust."""
    reasons = distrust(study, result, records)
    return [
        what_was_run(result),
        what_came_out(result),
        what_is_apart(result),
        over_optimisation(result.falls, len(result.exam.runs)),
        "Read with care: " + "; ".join(reasons[:3]) + "."
        if reasons
        else "Nothing in these runs asks for special care.",
    ]


def what_was_run(result: Result) -> str:
    """The runs, settings, seeds, length and cost of an exam, in one sentence."""
    exam = result.exam
    seeds = [len(setting.runs) for setting in exam.settings]
    rewards, algorithms = ({getattr(one, kind) for one in exam.settings} for kind in ("reward", "algorithm"))
    updates = sorted({run.last_update for run in exam.runs})
    samples = sum(run.samples for run in exam.runs)
    hours = sum(run.seconds for run in exam.runs) / 3600
    time = f"{hours:.1f} hours" if hours >= 1 else _count(round(60 * hours), "minute")
    task = exam.runs[0].choices.get("task")
    return (
        f"{_count(len(exam.runs), 'run')} of {_count(len(exam.settings), 'setting')} "
        f"({_count(len(rewards), 'reward')}, {_count(len(algorithms), 'algorithm')}; {_span(seeds)} "
        f"{'seed' if seeds == [1] * len(seeds) else 'seeds'} each){f' on {task}' if task else ''}, "
        f"{_span(updates)} {'update' if updates == [1] else 'updates'} each: {samples:,} samples in {time}."
    )


def what_came_out(result: Result) -> str:
    """The best and the worst setting, with the start."""
    labels = list(result.settings.subjects)
    best = estimate(result.settings.subjects[labels[0]].iqm)
    first = f"{labels[0]} came out best, with {name_of(result.metric)} {best} against {result.start:.3f} at the start"
    if len(labels) == 1:
        return f"{first}; there is nothing to compare it with."
    worst = result.settings.subjects[labels[-1]].iqm
    return f"{first}; {labels[-1]} came out worst, with {estimate(worst)}."


def what_is_apart(result: Result) -> str:
    """How many pairs can be told apart; for the best two, whether, and how many seeds it would take."""
    ranking = result.settings
    if not ranking.comparisons:
        return "With one setting, no question of better or worse arises."
    top = next(one for one in ranking.comparisons if {one.first, one.second} == set(list(ranking.subjects)[:2]))
    if len(ranking.comparisons) == 1:
        return f"{verdict(top)}."
    apart, pairs = sum(one.apart for one in ranking.comparisons), len(ranking.comparisons)
    return f"{apart} of {pairs} pairs of settings can be told apart, corrected for {pairs} tests; {verdict(top)}."


def verdict(one: Comparison) -> str:
    """A comparison in words, without a full stop."""
    difference = one.difference.value or 0.0
    if one.p is None:
        return f"{one.first} and {one.second} cannot be told apart with one seed: run each with more"
    if one.apart:
        better, worse = (one.first, one.second) if difference > 0 else (one.second, one.first)
        low, high = sorted(abs(end) for end in (one.difference.low or 0.0, one.difference.high or 0.0))
        return f"{better} is above {worse} by {abs(difference):.3f} [{low:.3f}, {high:.3f}]"
    seeds = f"{one.pairs} shared seeds" if one.paired else "these seeds"
    if difference == 0:
        return f"{one.first} and {one.second} came out equal"
    told = f"about {one.needed} would tell" if one.needed else "more than 1,000 would be needed to tell"
    return (
        f"{one.first} and {one.second} cannot be told apart with {seeds}; {told} a difference of this size "
        f"({abs(difference):.3f})"
    )


def over_optimisation(falls: Sequence[Fall], runs: int) -> str:
    """In which runs the truth fell, and whether the reward showed it."""
    if not falls:
        return f"No run of {runs} ended clearly below its own peak in held-out accuracy."
    worst = max(falls, key=lambda fall: fall.peak - fall.end)
    hidden = sum(fall.hidden for fall in falls)
    which = "all of them" if hidden == len(falls) > 1 else "it" if len(falls) == 1 else f"{hidden} of them"
    showed = f", and in {which} the reward did not show it" if hidden else ""
    told = "where its reward was not measured"
    if worst.rewards is not None:
        told = "while its reward {} {:.3f} to {:.3f}".format(
            "rose from" if worst.hidden else "fell from", *worst.rewards
        )
    return (
        f"{len(falls)} of {_count(runs, 'run')} ended clearly below {'its' if len(falls) == 1 else 'their'} peak in "
        f"held-out accuracy{showed}; the worst is "
        f"{_title(worst.run)}: {worst.peak:.3f} at update {worst.peak_update} and {worst.end:.3f} at the end, {told}."
    )


def distrust(study: Study, result: Result, records: Mapping[Path, Record]) -> list[str]:
    """Every reason to distrust the comparison, the weightiest first."""
    exam, reasons = result.exam, []
    fewest = min(len(setting.runs) for setting in exam.settings)
    if fewest == 1:
        reasons.append("some settings have a single seed, so they have no interval")
    elif fewest < FEW_SEEDS:
        reasons.append(f"with {fewest} seeds, bootstrap intervals are too narrow")
    if len(study.exams) > 1:
        reasons.append(f"{len(study.exams)} different tasks or evaluations were found, and are compared separately")
    seeds = {tuple(run.seed for run in setting.runs) for setting in exam.settings}
    if len(seeds) > 1:
        reasons.append("settings were run with different seeds, so some pairs share fewer or none")
    if len({run.settings["updates"] for run in exam.runs}) > 1:
        reasons.append("settings were trained for different numbers of updates")
    if early := sum(run.last_update < run.settings["updates"] for run in exam.runs):
        reasons.append(f"{_count(early, 'run')} ended early, as stop_when asked")
    reasons += _versions([records[run.folder] for run in exam.runs])
    if study.left_out:
        reasons.append(f'{_count(len(study.left_out), "folder")} left out, listed under "Left out"')
    failed = sum(sum(value for _, value in run.series("reward/failed")) for run in exam.runs)
    if failed:
        samples = sum(run.samples for run in exam.runs)
        share = f" ({failed / samples:.1%})" if samples else ""
        reasons.append(f"{failed:,.0f} scores failed{share}")
    halves = [
        (high - low) / 2
        for run in exam.runs
        for (_, low), (_, high) in zip(run.series(f"{TRUTH}_low"), run.series(f"{TRUTH}_high"), strict=False)
    ]
    if halves and result.metric == TRUTH:
        reasons.append(f"the held-out problems alone make each run's accuracy uncertain by about {fmean(halves):.3f}")
    return reasons


def _versions(records: Sequence[Record]) -> list[str]:
    reasons = []
    commits = {record.commit for record in records if record.commit}
    if len(commits) > 1:
        reasons.append(f"the runs were made with {len(commits)} versions of the code")
    if any(record.dirty for record in records):
        reasons.append("some runs were made with changes that were not committed")
    if len({tuple(sorted(record.versions.items())) for record in records}) > 1:
        reasons.append("the runs were made with different package versions")
    if any(record.commit is None for record in records):
        reasons.append("some runs do not say which code made them")
    return reasons


def told_apart(ranking: Ranking) -> list[str]:
    """Every comparison in words, those that are apart first."""
    return [verdict(one) for one in sorted(ranking.comparisons, key=lambda one: (not one.apart, one.adjusted or 1.0))]


def what_predicted(found: Sequence[Prediction]) -> str:
    """Which figure before training ordered the rewards as the result did, and whether chance would do."""
    if not found or found[0].correlation is None:
        return "No figure before training differs between these rewards."
    best = found[0]
    told = (
        f"{best.figure} comes closest, with a rank correlation of {best.correlation:+.2f} over {best.rewards} rewards"
    )
    if best.adjusted is not None and best.adjusted < 1 - LEVEL:
        return f"{told}: more than chance (p = {best.adjusted:.2g})."
    return f"{told}, but {best.rewards} rewards are too few to rule out chance (p = {best.adjusted:.2g})."


def estimate(value: Estimate, digits: int = 3) -> str:
    """A figure with its interval as `0.812 [0.790, 0.841]`."""
    if value.value is None:
        return "unknown"
    ends = "" if value.low is None or value.high is None else f" [{value.low:.{digits}f}, {value.high:.{digits}f}]"
    return f"{value.value:.{digits}f}{ends}"


def _title(run: Run) -> str:
    return f"{run.name.replace('_', ' ')} seed {run.seed}"


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def _span(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def seeds_of(setting: Setting) -> str:
    """The seeds of a setting, as `1, 2, 3`."""
    return ", ".join(run.seed for run in setting.runs)
