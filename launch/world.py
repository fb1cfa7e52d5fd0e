"""Make the arithmetic world's own models from nothing: `python -m launch.world --folder build/world`.

The policy and the base models by their schools (`rl.tasks.arithmetic.workshop.schools`), the process and the outcome
reward model, ArmoRM and the judge by the published recipes (`launch.world_rewards`), as many at a time as there are
cores; then their quality on held-out problems; then `provenance.json` with command, seed, commit, times and that
quality. A model whose folder holds `made.json` is not made again, so an interrupted build continues where it stopped.
`--measure` only measures, `python -m launch.world --measure` the shipped ones.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from transformers.utils.logging import disable_progress_bar

from launch.composition import SHIPPED_MODELS
from launch.world_rewards import REWARD_MODELS, make
from rl.run.origin import origin
from rl.run.stopping import exit_code, install_sigterm_handler, stop_reason
from rl.tasks.arithmetic.workshop import quality
from rl.tasks.arithmetic.workshop.building import Workshop, open_workshop
from rl.tasks.arithmetic.workshop.measuring import measure
from rl.tasks.arithmetic.workshop.schools import SCHOOLS, STARTS_FROM

STAGES = [*SCHOOLS, *REWARD_MODELS]
"""All that is made; what starts from another comes after it."""

BASES = STARTS_FROM | {name: model.base for name, model in REWARD_MODELS.items()}
"""What each starts from, where it does not start from nothing."""

SHIPPED = ["policy", *REWARD_MODELS]
"""What the rest of the project reads."""

KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(2**32),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "MALLOC_TOP_PAD_": str(2**28),
}
"""Settings of the C library's allocator: batches of ever new shapes else spend a third of the time on fresh pages."""


QUIET = {
    "DS_ACCELERATOR": "cpu",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "VLLM_LOGGING_LEVEL": "ERROR",
}
"""Silences progress bars and no-GPU warnings."""


def main(words: Sequence[str] | None = None) -> int:
    """Build what is missing, measure, write down where it came from. Returns the exit code."""
    install_sigterm_handler()
    try:
        return build_and_measure(parse(words))
    except KeyboardInterrupt as error:
        print(
            f"error: {stop_reason(error)}; run the same command to resume",
            file=sys.stderr,
        )
        return exit_code(error)


def build_and_measure(options: argparse.Namespace) -> int:
    """What the options ask for. Returns the exit code."""
    console = Console()
    made: dict[str, dict[str, float]] = {}
    report = partial(print, flush=True)
    if not options.measure:
        workshop = open_workshop(options.folder, seed=options.seed, scale=options.scale, report=report)
        if options.only:
            build(options.only, workshop)
            return 0
        failed = build_all(options.folder, options.workers, partial(command, options), report)
        if failed:
            console.print(f"error: the recipe of {failed} failed, see above", style="red")
            return 1
        made = {name: json.loads(mark(options.folder, name).read_text()) for name in STAGES}
    missing = [name for name in SHIPPED if not (options.folder / name / "model.safetensors").is_file()]
    if missing:
        console.print(f"error: {options.folder} has no {', '.join(missing)}: run without --measure", style="red")
        return 2
    os.environ.update(QUIET)
    disable_progress_bar()
    found = measure(options.folder, options.problems, options.responses, console)
    console.print(quality.as_table(found), markup=False)
    if not options.measure:
        write_provenance(options.folder, made, found)
        console.print(f"models and provenance.json are in {options.folder}")
    return 0


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """The command line; argparse refuses what it does not know and names the options."""
    parser = argparse.ArgumentParser(prog="python -m launch.world", description=__doc__, allow_abbrev=False)
    parser.add_argument("--folder", type=Path, help="where the models lie (default: build/world, or the shipped ones)")
    parser.add_argument("--seed", type=int, default=1, help="of every recipe")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full training; 0.01 is a quick trial")
    parser.add_argument("--problems", type=int, default=1000, help="held-out problems to measure on")
    parser.add_argument("--responses", type=int, default=8, help="responses to each")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="recipes at a time (default: cores)")
    parser.add_argument("--only", choices=STAGES, help="only this recipe, in this process")
    parser.add_argument("--measure", action="store_true", help="train nothing, only measure")
    options = parser.parse_args(words)
    if options.folder is None:
        options.folder = SHIPPED_MODELS if options.measure else Path("build/world")
    if options.scale <= 0 or options.problems < 1 or options.responses < 2 or options.workers < 1:
        parser.error("--scale must be above 0, --problems and --workers at least 1, --responses at least 2")
    return options


def build_all(
    folder: Path, workers: int, command: Callable[[str], list[str]], report: Callable[[str], None]
) -> str | None:
    """Make what is missing, each recipe in a process of its own as soon as what it starts from is there.

    Returns the name of the first recipe that failed, or None; where one fails the others are ended.
    """
    waiting = [name for name in STAGES if not mark(folder, name).is_file()]
    for name in STAGES:
        if name not in waiting:
            report(f"{name}: made already ({mark(folder, name)})")
    threads = {"OMP_NUM_THREADS": str(max((os.cpu_count() or 1) // workers, 1))}
    running: dict[str, subprocess.Popen] = {}
    try:
        while waiting or running:
            ready = [name for name in waiting if name not in BASES or mark(folder, BASES[name]).is_file()]
            for name in ready[: workers - len(running)]:
                waiting.remove(name)
                running[name] = subprocess.Popen(command(name), env=os.environ | KEEP_MEMORY | QUIET | threads)
            time.sleep(0.2)
            for name in [name for name, process in running.items() if process.poll() is not None]:
                if running.pop(name).returncode:
                    return name
    finally:
        for process in running.values():
            process.terminate()
            process.wait()
    return None


def command(options: argparse.Namespace, name: str) -> list[str]:
    """The command that makes one model."""
    words = ["--folder", str(options.folder), "--seed", str(options.seed), "--scale", str(options.scale)]
    return [sys.executable, "-m", "launch.world", "--only", name, *words]


def build(name: str, workshop: Workshop) -> None:
    """Make one model and write down its time and last loss."""
    began = time.monotonic()
    loss = SCHOOLS[name](workshop) if name in SCHOOLS else make(name, workshop)
    made = {"seconds": round(time.monotonic() - began, 1), "loss": round(loss, 4)}
    mark(workshop.folder, name).write_text(json.dumps(made) + "\n")


def mark(folder: Path, name: str) -> Path:
    """The file that says that a model is made."""
    return folder / name / "made.json"


def write_provenance(folder: Path, made: dict[str, dict[str, float]], found: dict[str, dict[str, float]]) -> None:
    """What made these models, and how good they are."""
    record = {"command": ["python", "-m", "launch.world", *sys.argv[1:]], **origin(), "made": made, "quality": found}
    (folder / "provenance.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
