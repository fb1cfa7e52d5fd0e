"""Measure reward models as their papers do, and say whether they deserve trust:

    python -m launch.evaluate folder=build/table rewards=[orm,prm] problems=500 rollout.responses=64
    python -m launch.evaluate folder=build/gsm8k input=best-of-n.jsonl rewards=[rlhflow_prm_mistral]
    python -m launch.evaluate folder=build/steps kind=process_bench input=gsm8k.json rewards=[prm]
    python -m launch.evaluate folder=build/pairs kind=reward_bench input=pairs.jsonl rewards=[armorm]

The folder holds report.md, report.tex, report.json, accuracy.png, the scores, the responses that were drawn, and the
rows that could not be used (rejects.jsonl). The same command goes on where it stopped; rewards may be added to it.
Exit codes: 0 done, 1 it broke, 2 it could not start, 130 Ctrl-C.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from launch.command import Composed, carried_out, checked_first
from launch.evaluate import best_of_n, process_bench, reward_bench
from launch.evaluate.grading import Grader
from launch.evaluate.measure import Bench
from launch.evaluate.plot import plot
from launch.evaluate.report import Report
from launch.evaluate.rows import (
    PAIR_FIELDS,
    SOLUTION_FIELDS,
    STEP_FIELDS,
    Row,
    Rows,
    Solutions,
    parse_pair,
    parse_solutions,
    parse_steps,
    read_rows,
    write_rejects,
)
from launch.evaluate.scores import Entry, entries
from launch.evaluate.settings import GROUPS, EvaluateSettings, settings_of
from launch.nodes import ConfigurationError, build
from rewards.types import Reward


def main(words: Sequence[str] | None = None) -> int:
    """Evaluate what `words` ask for. Returns the exit code."""
    job = checked_first("evaluate", words, __doc__, Job)
    return job if isinstance(job, int) else carried_out(job.run, job.folder / "logs" / "evaluate.log", job.folder)


class Job:
    """One evaluation, checked: nothing is started or written but the folder's mark.

    Raises ConfigurationError or OSError for a set-up that cannot work.
    """

    def __init__(self, found: Composed) -> None:
        config = found.config
        self.settings = settings_of(config)
        self.rewards = prepare(entries(self.settings.rewards, found.flags), self.settings)
        drawn = [] if self.settings.input else GROUPS
        self.drawn_by = {name: build(config[name], name, f"configs/{name}") for name in drawn}
        self.folder = Path(self.settings.folder)
        claim(self.folder, self.settings, config)

    def run(self, console: Console) -> None:
        """Score, measure and write the report."""
        bench = Bench(self.rewards, self.folder / "scores", self.settings, console, [])
        report = KINDS[self.settings.kind](self.settings, self.folder, bench, self.drawn_by)
        report.notes += bench.notes
        files = report.write(self.folder)
        console.print(report.markdown(), markup=False, highlight=False, soft_wrap=True)
        console.print(f"files: {', '.join(map(str, files))}", markup=False, highlight=False, soft_wrap=True)


def prepare(chosen: Sequence[Entry], settings: EvaluateSettings) -> list[tuple[Entry, Reward]]:
    """Every reward, its set-up checked; no weights are loaded. Raises ConfigurationError for one that cannot work."""
    given = settings.kind == "process_bench"
    asked = [entry.on_given_steps() if given and entry.process else entry for entry in chosen]
    return [(entry, entry.make()) for entry in asked]


def claim(folder: Path, settings: EvaluateSettings, config: Mapping[str, Any]) -> None:
    """Make the folder, or see that it holds this very evaluation: same responses, perhaps other rewards or figures.

    Raises ConfigurationError where it holds another.
    """
    made_from: dict[str, Any] = {"kind": settings.kind}
    if settings.input:
        made_from["input"] = hashlib.sha256(Path(settings.input).read_bytes()).hexdigest()
    else:
        made_from |= {name: config[name] for name in ("policy", "task", "rollout")}
        made_from["problems"] = settings.problems
    if not settings.input or settings.judge_fields > 1:
        made_from |= {"seed": settings.seed, "judge_fields": settings.judge_fields}
    mark = folder / "made_from.json"
    if mark.exists():
        if json.loads(mark.read_text(encoding="utf-8")) != made_from:
            raise ConfigurationError(f"folder {folder} holds another evaluation: choose another name, or delete it")
        return
    if folder.exists() and any(folder.iterdir()):
        raise ConfigurationError(f"folder {folder} is not empty and holds no evaluation: choose another name")
    folder.mkdir(parents=True, exist_ok=True)
    mark.write_text(json.dumps(made_from, indent=1, ensure_ascii=False), encoding="utf-8")


def of_solutions(settings: EvaluateSettings, folder: Path, bench: Bench, drawn_by: Mapping[str, Any]) -> Report:
    """Responses, from the input or drawn; graded, scored, and brought into tables and a plot."""
    source = Path(settings.input) if settings.input else folder / "responses.jsonl"
    if drawn_by:
        from launch.evaluate.draw import draw  # Ray and transformers take seconds to import

        draw(settings, **drawn_by, output=source, console=bench.console)
    rows = usable(read_rows(source, parse_solutions, SOLUTION_FIELDS), folder, bench)
    sizes = settings.n or best_of_n.default_sizes([len(row.texts) for row in rows])
    rows = large_enough(rows, max(sizes), bench.notes)
    grader = Grader()
    field = grader.grade(rows)
    grader.write(folder / "disagreements.jsonl")
    bench.notes += grader.notes()
    measured = bench.solutions([row.group for row in rows], field.rights, sizes)
    title = "Best of N: " + (source.name if settings.input else "the policy's own samples")
    report = best_of_n.report(field, measured, sizes, settings, title)
    curves = {
        name: points for name, points in report.figures["accuracy"].items() if not name.endswith("weighted majority")
    }
    bounds = [best_of_n.ORACLE, best_of_n.MAJORITY]
    plot(curves, bounds, f"{title}, {len(rows)} problems", folder / "accuracy.png")
    return report


def of_steps(settings: EvaluateSettings, folder: Path, bench: Bench, drawn_by: Mapping[str, Any]) -> Report:
    """ProcessBench's rows, their steps scored."""
    assert settings.input is not None
    rows = usable(read_rows(Path(settings.input), parse_steps, STEP_FIELDS), folder, bench)
    return process_bench.report(rows, bench.steps(rows), settings)


def of_pairs(settings: EvaluateSettings, folder: Path, bench: Bench, drawn_by: Mapping[str, Any]) -> Report:
    """RewardBench's pairs, scored; or accuracies by subset that the input gives."""
    assert settings.input is not None
    source = Path(settings.input)
    given = reward_bench.given_accuracies(source)
    if given is not None:
        report = Report("RewardBench from given accuracies")
        reward_bench.add_sections({source.stem: given}, report)
        return report
    rows = usable(read_rows(source, parse_pair, PAIR_FIELDS), folder, bench)
    return reward_bench.report(rows, bench.margins(rows), settings)


KINDS: dict[str, Callable[[EvaluateSettings, Path, Bench, Mapping[str, Any]], Report]] = {
    "best_of_n": of_solutions,
    "process_bench": of_steps,
    "reward_bench": of_pairs,
}


def usable(found: Rows[Row], folder: Path, bench: Bench) -> list[Row]:
    """The rows that can be used; the others go to rejects.jsonl and are reported. Raises ValueError for none."""
    write_rejects(folder / "rejects.jsonl", found)
    bench.notes += found.notes()
    if not found.rows:
        why = f": line {found.rejects[0].line}: {found.rejects[0].reason}" if found.rejects else " at all"
        raise ValueError(f"{found.path} has no row that can be used{why}")
    return found.rows


def large_enough(rows: Sequence[Solutions], size: int, notes: list[str]) -> list[Solutions]:
    """The rows with at least `size` responses; the others are counted. Raises ValueError for none."""
    kept = [row for row in rows if len(row.texts) >= size]
    if not kept:
        most = max(len(row.texts) for row in rows)
        raise ValueError(
            f"n={size}: no problem has that many responses, the most is {most}; give smaller sizes as n=[1,{most}]"
        )
    if len(kept) < len(rows):
        counts = Counter(len(row.texts) for row in rows if len(row.texts) < size)
        notes.append(f"{len(rows) - len(kept)} problems with fewer than {size} responses were left out: {dict(counts)}")
    return kept


if __name__ == "__main__":
    sys.exit(main())
