"""Which runs are alike: runs that differ only in the seed are one setting, and no others are averaged.

Settings are compared if they were examined alike: the same problems, answered in the same way. Everything else in the
resolved configuration may differ, and is what the comparison is about.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from rl.run.past_runs import Run, reward_of

EXAM = ("task", "evaluate", "evaluate_problems")
"""The configuration that decides what an accuracy means. Settings that differ here are not compared."""

SHIPPED = re.compile(r".*/rl/tasks/arithmetic/models/")
"""The folder of the shipped models, which differs from checkout to checkout."""

ABSENT = "-"
"""What is shown for a key that a setting does not have."""


@dataclass(frozen=True)
class Setting:
    """Runs that differ in nothing but the seed, sorted by it.

    label: the setting's name among those it is compared with: `reward`, which is the reward's option with whatever
    else distinguishes the setting, and `algorithm` where there are several.
    """

    label: str
    reward: str
    algorithm: str
    runs: tuple[Run, ...]

    @cached_property
    def config(self) -> dict[str, Any]:
        """The configuration by dotted key, without the seed and keys that do not change results."""
        return comparable(self.runs[0])


@dataclass(frozen=True)
class Exam:
    """Settings whose accuracies mean the same. `label` says what distinguishes the exam; "" if there is only one."""

    label: str
    settings: tuple[Setting, ...]

    @property
    def runs(self) -> list[Run]:
        """All runs of the exam, setting by setting."""
        return [run for setting in self.settings for run in setting.runs]


@dataclass(frozen=True)
class Study:
    """Runs in order. `left_out`: each folder that is not compared, and why in one line."""

    exams: tuple[Exam, ...]
    left_out: tuple[tuple[Path, str], ...] = field(default=())

    @property
    def settings(self) -> list[Setting]:
        """The settings of all exams; the exam with the most runs is first."""
        return [setting for exam in self.exams for setting in exam.settings]

    @property
    def runs(self) -> list[Run]:
        """All compared runs."""
        return [run for exam in self.exams for run in exam.runs]


def arrange(runs: Sequence[Run], left_out: Iterable[tuple[Path, str]] = ()) -> Study:
    """Group runs into settings, and settings into exams.

    Leaves out a run that repeats the configuration and seed of another, and one that is not finished: its last
    evaluation is not that of its last update, so it has had less training than others of its setting.
    """
    kept, out = [], list(left_out)
    seen: dict[str, Run] = {}
    for run in runs:
        key = repr((sorted(comparable(run).items(), key=repr), run.seed))
        if run.missing_updates:
            out.append((run.folder, f"not finished: {run.missing_updates} updates are missing"))
        elif key in seen:
            out.append((run.folder, f"repeats the configuration and the seed of {seen[key].folder}"))
        else:
            seen[key] = run
            kept.append(run)
    by_exam: dict[str, list[Run]] = defaultdict(list)
    for run in kept:
        by_exam[repr(sorted(examined(run).items(), key=repr))].append(run)
    groups = sorted(by_exam.values(), key=len, reverse=True)
    names = _names([examined(group[0]) for group in groups])
    return Study(tuple(_exam(name, group) for name, group in zip(names, groups, strict=True)), tuple(out))


def comparable(run: Run) -> dict[str, Any]:
    """A run's configuration by dotted key, with the shipped models named alike in every checkout."""
    named = run.settings if run.choices else {"name": run.name, **run.settings}
    return {key: SHIPPED.sub("shipped:", value) if isinstance(value, str) else value for key, value in named.items()}


def examined(run: Run) -> dict[str, Any]:
    """The part of a run's configuration that decides what its accuracy means, and the option of its task."""
    held = {key: value for key, value in comparable(run).items() if key.split(".")[0] in EXAM and key != "task.train"}
    return {"task": run.choices.get("task")} | held


def differences(settings: Sequence[Setting]) -> dict[str, list[Any]]:
    """The keys in which settings differ, in the order of the configuration, with each setting's value."""
    keys = list(dict.fromkeys(key for setting in settings for key in setting.config))
    rows = {key: [setting.config.get(key, ABSENT) for setting in settings] for key in keys}
    return {key: values for key, values in rows.items() if len({repr(value) for value in values}) > 1}


def _exam(label: str, runs: Sequence[Run]) -> Exam:
    alike: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        alike[repr(sorted(comparable(run).items(), key=repr))].append(run)
    groups = [sorted(group, key=lambda run: (len(run.seed), run.seed)) for group in alike.values()]
    named = _labels([group[0] for group in groups])
    return Exam(label, tuple(Setting(*names, tuple(group)) for names, group in zip(named, groups, strict=True)))


def _labels(runs: Sequence[Run]) -> list[tuple[str, str, str]]:
    """Label, reward and algorithm of each run: the options, and the keys that tell runs with the same options apart."""
    options = [(reward_of(run.choices) or run.name, run.choices.get("algorithm") or "own") for run in runs]
    alike: dict[tuple[str, str], list[int]] = defaultdict(list)
    for number, names in enumerate(options):
        alike[names].append(number)
    rewards = [reward for reward, _ in options]
    for places in alike.values():
        if len(places) > 1:
            for place, more in zip(places, _names([comparable(runs[place]) for place in places]), strict=True):
                rewards[place] = f"{rewards[place]} {more}".strip()
    several = len({algorithm for _, algorithm in options}) > 1
    return [
        (f"{reward} {algorithm}" if several else reward, reward, algorithm)
        for reward, (_, algorithm) in zip(rewards, options, strict=True)
    ]


def _names(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """What distinguishes each configuration, as `key=value` words with the shortest clear key."""
    keys = dict.fromkeys(key for one in configs for key in one)
    telling = [key for key in keys if len({repr(one.get(key, ABSENT)) for one in configs}) > 1]
    short = [key.rsplit(".", 1)[-1] for key in telling]
    shown = {
        key: key if short.count(name) > 1 else name
        for key, name in zip(telling, short, strict=True)
        if name != "_target_"
    }
    return [" ".join(f"{name}={one.get(key, ABSENT)}" for key, name in shown.items()) for one in configs]
