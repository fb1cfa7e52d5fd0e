"""Compare the speed of the whole loop with TRL's: `python -m launch.bench.loop --models tiny --updates 4`.

Both use the same policy, prompts, group size, lengths and verifier. An update is sampling, grading, learning and sync
together. TRL is installed into build/trl and runs on this project's locked stack with two threads. A first round finds
the best of several micro-batch sizes for it. Then the two take turns, `--repetitions` times. The first update of every
process is a warm-up and does not count. The figures are medians, with the fastest and the slowest update. On a busy
machine they mean little. `--ours` adds a row for this project with further arguments of launch.train.

The result is written to `--output` as JSON and, with `--document`, as Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from launch.bench import our_loop
from launch.bench.our_loop import FIELDS, finished, our_updates
from launch.built_models import folder_of, hint
from launch.composition import compose
from launch.configuration import plain
from launch.packages import install
from rewards.builder import build, one_line

TRL = Path("build/trl")
THREADS = 2

MODELS: dict[str, dict[str, Any]] = {
    "tiny": {
        "words": ("policy=tiny", "task=arithmetic"),
        "sizes": (32, 8, 128),
        "micro_batches": (16, 32, 64),
        "learning_rate": 5e-4,
        "kl": 0.05,
    },
    "smollm2": {
        "words": ("policy=smollm2", "task=sums", "learner.micro_batch_tokens=1024"),
        "sizes": (8, 8, 32),
        "micro_batches": (8, 16, 32),
        "learning_rate": 2e-5,
        "kl": 0.0,
    },
}
"""Per model: policy and task; problems, responses and new tokens per update; TRL's micro-batches; hyperparameters."""


@dataclass
class Row:
    """One way to train: the seconds of every counted update, one list per repetition."""

    name: str
    seconds: list[list[float]] = field(default_factory=list)

    @property
    def every(self) -> list[float]:
        """The seconds of all counted updates."""
        return [second for repetition in self.seconds for second in repetition]

    @property
    def median(self) -> float:
        """The median seconds per update."""
        return statistics.median(self.every)


@dataclass
class Comparison:
    """One model and algorithm: the sizes of an update, and one row per way to train.

    `searched` has TRL's seconds for each micro-batch size of the first round.
    """

    model: str
    algorithm: str
    sizes: dict[str, int]
    micro_batch: int
    searched: dict[int, float]
    rows: list[Row]

    @property
    def samples(self) -> int:
        """Responses per update."""
        return self.sizes["problems"] * self.sizes["responses"]


def main(words: Sequence[str] | None = None) -> int:
    """Measure and report. Returns the exit code."""
    given = sys.argv[1:] if words is None else list(words)
    options = parse(given)
    try:
        if not (TRL / "trl").is_dir():
            print(f"installing TRL into {TRL}", flush=True)
            install("trl.txt", TRL)
        if "smollm2" in options.models and (missing := hint(folder_of("smollm2"))):
            raise RuntimeError(missing)
        found = [compare(options, model, algorithm) for model in options.models for algorithm in options.algorithms]
    except (OSError, RuntimeError, ValueError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 1
    where = {"command": shlex.join(["python", "-m", "launch.bench.loop", *given]), **machine()}
    text = markdown(found, where)
    print(text)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(content(found, where), indent=1) + "\n", encoding="utf-8")
    if options.document:
        options.document.write_text(text, encoding="utf-8")
    return 0


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(
        prog="python -m launch.bench.loop", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=["tiny"], help="tiny")
    parser.add_argument("--algorithms", nargs="+", choices=["grpo", "dpo"], default=["grpo"], help="grpo")
    parser.add_argument(
        "--updates", type=at_least(2), default=3, help="updates per process; the first one does not count (3)"
    )
    parser.add_argument("--repetitions", type=at_least(1), default=2, help="how often each way is measured (2)")
    parser.add_argument("--problems", type=at_least(1), help="problems per update (depends on the model)")
    parser.add_argument("--responses", type=at_least(2), help="responses per problem (depends on the model; DPO: 2)")
    parser.add_argument("--max-new-tokens", type=at_least(1), help="longest response in tokens (depends on the model)")
    parser.add_argument("--micro-batches", nargs="+", type=at_least(1), help="sizes for TRL (depend on the model)")
    parser.add_argument("--bf16", action="store_true", help="add a row for TRL with bf16 autocast")
    parser.add_argument("--ours", action="append", default=[], help="add a row with these arguments of launch.train")
    parser.add_argument("--seed", type=int, default=1, help="seed for problems and sampling (1)")
    parser.add_argument("--output", type=Path, default=Path("build/bench_loop.json"), help="build/bench_loop.json")
    parser.add_argument("--document", type=Path, help="a Markdown file, for example docs/speed.md")
    return parser.parse_args(words)


def at_least(least: int) -> Any:
    """The argparse type for an integer of at least `least`."""

    def number(text: str) -> int:
        if (value := int(text)) < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, not {value}")
        return value

    return number


def compare(options: argparse.Namespace, model: str, algorithm: str) -> Comparison:
    """Find TRL's best micro-batch size, then measure all ways in turn. Raises RuntimeError if a process fails."""
    job = job_of(options, model, algorithm)
    sizes = {name: job[name] for name in FIELDS}
    unit = job["problems"] * (job["responses"] if algorithm == "grpo" else 1)
    candidates = [size for size in options.micro_batches or MODELS[model]["micro_batches"] if unit % size == 0]
    if not candidates:
        raise RuntimeError(f"no micro-batch size divides the {unit} rows of an update: set --micro-batches")
    ours = [(), *(tuple(words.split()) for words in options.ours)]
    rows = [Row(" ".join(("this project", *words))) for words in ours]
    others = [Row("TRL fp32"), *([Row("TRL bf16 autocast")] if options.bf16 else [])]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        searched = {}
        for size in candidates:
            say(f"{model} {algorithm}: TRL with micro-batches of {size}")
            searched[size] = statistics.median(trl_seconds({**job, "micro_batch": size}, folder))
        job["micro_batch"] = min(searched, key=searched.__getitem__)
        for turn in range(options.repetitions):
            for row, words in zip(rows, ours, strict=True):
                say(f"{model} {algorithm}, turn {turn + 1}: {row.name}")
                row.seconds.append(our_seconds(job, (*MODELS[model]["words"], *words), folder))
            for row in others:
                say(f"{model} {algorithm}, turn {turn + 1}: {row.name}")
                row.seconds.append(trl_seconds({**job, "bf16": "bf16" in row.name}, folder))
    return Comparison(model, algorithm, sizes, job["micro_batch"], searched, [*others, *rows])


def job_of(options: argparse.Namespace, model: str, algorithm: str) -> dict[str, Any]:
    """The work for both sides, with the prompts that this project will draw.

    TRL's online DPO draws two responses per prompt; `--responses` with another number raises ValueError.
    """
    preset = MODELS[model]
    problems, responses, new_tokens = preset["sizes"]
    if algorithm == "dpo":
        problems, responses = problems * responses // 2, 2
        if options.responses not in (None, 2):
            raise ValueError(f"--responses must be 2 for dpo, not {options.responses}: TRL's online DPO always draws 2")
    job = {
        "algorithm": algorithm,
        "problems": options.problems or problems,
        "responses": options.responses or responses,
        "max_new_tokens": options.max_new_tokens or new_tokens,
        "max_model_len": 512,
        "updates": options.updates,
        "learning_rate": preset["learning_rate"],
        "kl": preset["kl"],
        "threads": THREADS,
        "seed": options.seed,
        "bf16": False,
    }
    config = plain(compose(list(preset["words"]))[0].config)
    problems_drawn = build(config["task"], "task").train_problems(options.seed)
    drawn = islice(problems_drawn, job["problems"] * options.updates)
    prompts = [{"messages": problem.messages, "answer": problem.answer} for problem in drawn]
    return {**job, "policy": config["policy"]["path"], "prompts": prompts}


def our_seconds(job: Mapping[str, Any], words: Sequence[str], folder: Path) -> list[float]:
    """The seconds of each update except the first in a run of launch.train, including bookkeeping."""
    return [row["seconds"] for row in our_updates(job, words, folder)]


def trl_seconds(job: Mapping[str, Any], folder: Path) -> list[float]:
    """The seconds of each update except the first when TRL's trainer does this job."""
    own = Path(tempfile.mkdtemp(dir=folder))
    (own / "job.json").write_text(json.dumps(job), encoding="utf-8")
    command = [sys.executable, "-m", "launch.bench.trl_loop", str(own / "job.json"), str(own / "seconds.json")]
    path = os.pathsep.join([os.getcwd(), str(TRL.absolute()), os.environ.get("PYTHONPATH", "")])
    finished(command, {"OMP_NUM_THREADS": str(THREADS), "PYTHONPATH": path})
    return list(json.loads((own / "seconds.json").read_text(encoding="utf-8")))[1:]


def say(text: str) -> None:
    """Print what is being measured."""
    print(text, file=sys.stderr, flush=True)


def machine() -> dict[str, str]:
    """`our_loop.machine`, with TRL's version."""
    found = our_loop.machine()
    trl = next(TRL.glob("trl-*.dist-info")).name.split("-")[1].removesuffix(".dist")
    return found | {"versions": f"{found['versions']}, trl {trl}"}


def markdown(found: Sequence[Comparison], where: Mapping[str, str]) -> str:
    """The figures as a Markdown document."""
    lines = ["# Speed of the whole loop, compared with TRL's", ""]
    lines += [f"- {name}: {value}" for name, value in where.items()]
    for one in found:
        sizes = "{problems} x {responses} responses of at most {max_new_tokens} tokens per update".format(**one.sizes)
        searched = ", ".join(f"{size}: {seconds:.2f} s" for size, seconds in one.searched.items())
        base = one.rows[0].median
        lines += [
            "",
            f"## {one.model}, {one.algorithm.upper()}",
            "",
            f"{sizes}; TRL with micro-batches of {one.micro_batch} (first round: {searched}).",
            "",
            "| | seconds per update (fastest to slowest) | updates | samples per second | times TRL fp32 |",
            "|---|---|---|---|---|",
        ]
        for row in one.rows:
            spread = f"{row.median:.2f} ({min(row.every):.2f} to {max(row.every):.2f})"
            rate, times = one.samples / row.median, base / row.median
            lines.append(f"| {row.name} | {spread} | {len(row.every)} | {rate:.1f} | {times:.2f} |")
    return "\n".join(lines) + "\n"


def content(found: Sequence[Comparison], where: Mapping[str, str]) -> dict[str, Any]:
    """The figures as JSON."""
    return {
        "measured": dict(where),
        "comparisons": [
            {
                "model": one.model,
                "algorithm": one.algorithm,
                **one.sizes,
                "micro_batch": one.micro_batch,
                "micro_batches": {str(size): seconds for size, seconds in one.searched.items()},
                "rows": [
                    {
                        "name": row.name,
                        "seconds": row.seconds,
                        "median": row.median,
                        "samples_per_second": one.samples / row.median,
                        "times_trl": one.rows[0].median / row.median,
                    }
                    for row in one.rows
                ],
            }
            for one in found
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
