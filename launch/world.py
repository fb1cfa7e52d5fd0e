"""Train the arithmetic world's models from scratch: `python -m launch.world --folder build/world`.

First it trains the policy and the base models (`rl.tasks.arithmetic.workshop.pretraining`). From the bases it trains
the process and outcome reward models, ArmoRM and the judge with the published recipes (`launch.world_rewards`). As many
models are trained at a time as there are cores. Then it measures their quality on held-out problems and writes
`provenance.json` with command, seed, commit, times and quality. A model whose folder has `made.json` is not trained
again, so an interrupted build continues where it stopped. `--measure` only measures; without `--folder`, the shipped
models.
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
from rl.tasks.arithmetic.workshop.pretraining import STARTS_FROM, TRAINERS

STAGES = [*TRAINERS, *REWARD_MODELS]
"""All models to train, each after the one it starts from."""

BASES = STARTS_FROM | {name: model.base for name, model in REWARD_MODELS.items()}
"""The model that each one starts from. The others start from scratch."""

SHIPPED = ["policy", *REWARD_MODELS]
"""The models that the rest of the project uses."""

KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(2**32),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "MALLOC_TOP_PAD_": str(2**28),
}
"""Settings of the C library's allocator. Without them, a third of the time is spent on new pages, as shapes vary."""

QUIET = {
    "DS_ACCELERATOR": "cpu",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "VLLM_LOGGING_LEVEL": "ERROR",
}
"""Silences progress bars and no-GPU warnings."""


def main(words: Sequence[str] | None = None) -> int:
    """Train the missing models, measure them, and write their provenance. Returns the exit code."""
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
    """Do what the options ask for. Returns the exit code."""
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
            console.print(f"error: training {failed} failed, see above", style="red")
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
    """The command line's options."""
    parser = argparse.ArgumentParser(prog="python -m launch.world", description=__doc__, allow_abbrev=False)
    parser.add_argument("--folder", type=Path, help="the models' folder (build/world; with --measure: the shipped)")
    parser.add_argument("--seed", type=int, default=1, help="seed of all trainings (1)")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full training, for example 0.01 (1)")
    parser.add_argument("--problems", type=int, default=1000, help="held-out problems to measure on (1000)")
    parser.add_argument("--responses", type=int, default=8, help="responses per problem (8)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="trainings at a time (one per core)")
    parser.add_argument("--only", choices=STAGES, help="train only this model, in this process")
    parser.add_argument("--measure", action="store_true", help="only measure, without training")
    options = parser.parse_args(words)
    if options.folder is None:
        options.folder = SHIPPED_MODELS if options.measure else Path("build/world")
    if options.scale <= 0 or options.problems < 1 or options.responses < 2 or options.workers < 1:
        parser.error("--scale must be above 0, --problems and --workers at least 1, --responses at least 2")
    return options


def build_all(
    folder: Path, workers: int, command: Callable[[str], list[str]], report: Callable[[str], None]
) -> str | None:
    """Train the missing models, each in its own process, as soon as the model it starts from exists.

    Returns the name of the first model whose training failed, or None. If one fails, the others are stopped.
    """
    waiting = [name for name in STAGES if not mark(folder, name).is_file()]
    for name in STAGES:
        if name not in waiting:
            report(f"{name}: already trained ({mark(folder, name)})")
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
    """The command that trains one model."""
    words = ["--folder", str(options.folder), "--seed", str(options.seed), "--scale", str(options.scale)]
    return [sys.executable, "-m", "launch.world", "--only", name, *words]


def build(name: str, workshop: Workshop) -> None:
    """Train one model, and write its time and last loss to `made.json`."""
    began = time.monotonic()
    loss = TRAINERS[name](workshop) if name in TRAINERS else make(name, workshop)
    made = {"seconds": round(time.monotonic() - began, 1), "loss": round(loss, 4)}
    mark(workshop.folder, name).write_text(json.dumps(made) + "\n")


def mark(folder: Path, name: str) -> Path:
    """The file that says that a model is trained."""
    return folder / name / "made.json"


def write_provenance(folder: Path, made: dict[str, dict[str, float]], found: dict[str, dict[str, float]]) -> None:
    """Write how these models were trained, and their quality."""
    record = {"command": ["python", "-m", "launch.world", *sys.argv[1:]], **origin(), "made": made, "quality": found}
    (folder / "provenance.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
