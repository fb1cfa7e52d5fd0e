"""What an update costs: `python -m launch.bench.updates --algorithms grpo ppo dpo --problems 32`.

Runs launch.train with the tiny policy and the verifier for every algorithm and every number of problems (groups), all
in turn, `--repetitions` times. For each it prints the median seconds of an update, the milliseconds per sample, both
also as ratios to the first row, and the overhead: the share of the time that is not drawing, scoring or learning, such
as sync, transfers and bookkeeping. All algorithms learn from the same number of samples, with one optimizer step. The
first update of every run is a warm-up and does not count.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launch.bench.our_loop import machine, our_updates
from rewards.builder import one_line

WORK = ("time/sample", "time/score", "time/learn", "time/wait")
"""The stages that do an update's work. `time/wait` is work too: what is left of a rollout drawn ahead."""


@dataclass
class Cell:
    """One algorithm at one size: the metrics of every update that counts."""

    algorithm: str
    problems: int
    responses: int
    updates: list[dict[str, Any]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Median seconds of an update."""
        return statistics.median(update["seconds"] for update in self.updates)

    @property
    def milliseconds_per_sample(self) -> float:
        """Median milliseconds of one sample."""
        return 1000 * self.seconds / (self.problems * self.responses)

    @property
    def overhead(self) -> float:
        """Median share of an update's time that is not drawing, scoring or learning."""
        return statistics.median(
            1 - sum(update.get(stage, 0.0) for stage in WORK) / update["seconds"] for update in self.updates
        )


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print. Returns the exit code."""
    given = sys.argv[1:] if words is None else list(words)
    options = parse(given)
    try:
        cells = measure(options)
    except (OSError, RuntimeError, ValueError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 1
    where = {"command": shlex.join(["python", "-m", "launch.bench.updates", *given]), **machine()}
    print(markdown(cells, where))
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(content(cells, where), indent=1) + "\n", encoding="utf-8")
    return 0


def parse(words: Sequence[str]) -> argparse.Namespace:
    """The options. Exits with code 2 if they cannot work."""
    parser = argparse.ArgumentParser(
        prog="python -m launch.bench.updates", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--algorithms", nargs="+", choices=["grpo", "ppo", "dpo"], default=["grpo"], help="grpo")
    parser.add_argument("--problems", nargs="+", type=int, default=[32], help="groups of an update (32)")
    parser.add_argument("--responses", type=int, default=8, help="responses per problem (8)")
    parser.add_argument("--max-new-tokens", type=int, default=128, help="longest response in tokens (128)")
    parser.add_argument("--updates", type=int, default=4, help="updates per run, including the warm-up (4)")
    parser.add_argument("--repetitions", type=int, default=2, help="runs of each (2)")
    parser.add_argument("--seed", type=int, default=1, help="of problems and sampling (1)")
    parser.add_argument("--words", default="", help="further arguments of launch.train, in one string")
    parser.add_argument("--output", type=Path, help="a JSON file for the figures")
    options = parser.parse_args(words)
    for name, least in (("responses", 2), ("max_new_tokens", 1), ("updates", 2), ("repetitions", 1)):
        if getattr(options, name) < least:
            parser.error(f"--{name.replace('_', '-')} must be at least {least}")
    if min(options.problems) < 1:
        parser.error("--problems must be at least 1")
    return options


def measure(options: argparse.Namespace) -> list[Cell]:
    """Run every algorithm at every size, in turn. Raises RuntimeError if a run fails."""
    cells = [Cell(name, size, options.responses) for name in options.algorithms for size in options.problems]
    fixed = ("policy=tiny", "task=arithmetic", *shlex.split(options.words))
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(options.repetitions):
            for cell in cells:
                print(f"turn {turn + 1}: {cell.algorithm}, {cell.problems} problems", file=sys.stderr, flush=True)
                cell.updates += our_updates(job_of(cell, options), fixed, Path(folder))
    return cells


def job_of(cell: Cell, options: argparse.Namespace) -> dict[str, Any]:
    """What `our_updates` asks for."""
    return {
        "algorithm": cell.algorithm,
        "problems": cell.problems,
        "responses": cell.responses,
        "max_new_tokens": options.max_new_tokens,
        "max_model_len": 512,
        "updates": options.updates,
        "learning_rate": 5e-4,
        "kl": 0.05,
        "seed": options.seed,
    }


def markdown(cells: Sequence[Cell], where: Mapping[str, str]) -> str:
    """The figures as Markdown."""
    lines = [f"- {name}: {value}" for name, value in where.items()]
    lines += [
        "",
        "| algorithm | problems x responses | s per update | ratio | ms per sample | ratio | overhead | updates |",
        "|---|---|---|---|---|---|---|---|",
    ]
    first = cells[0]
    for cell in cells:
        lines.append(
            f"| {cell.algorithm} | {cell.problems} x {cell.responses} | {cell.seconds:.2f} "
            f"| {cell.seconds / first.seconds:.2f} | {cell.milliseconds_per_sample:.2f} "
            f"| {cell.milliseconds_per_sample / first.milliseconds_per_sample:.2f} | {cell.overhead:.1%} "
            f"| {len(cell.updates)} |"
        )
    return "\n".join(lines)


def content(cells: Sequence[Cell], where: Mapping[str, str]) -> dict[str, Any]:
    """The figures as JSON."""
    rows = [
        {
            "algorithm": cell.algorithm,
            "problems": cell.problems,
            "responses": cell.responses,
            "seconds": [update["seconds"] for update in cell.updates],
            "median": cell.seconds,
            "overhead": cell.overhead,
        }
        for cell in cells
    ]
    return {"measured": dict(where), "rows": rows}


if __name__ == "__main__":
    sys.exit(main())
