"""Make the arithmetic world's own models from nothing: `python -m launch.world --folder build/world`.

Policy, process reward model, outcome reward model, each by its recipe in `rl.tasks.arithmetic.building`; then their
quality on held-out problems; then `provenance.json` with command, seed, commit, times and that quality. A model whose
folder holds `made.json` is not made again, so an interrupted build goes on where it stopped. `--measure` only measures,
`python -m launch.world --measure` the shipped ones.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from launch.composition import SHIPPED_MODELS
from launch.quality import measure
from rl.origin import origin
from rl.tasks.arithmetic import quality
from rl.tasks.arithmetic.building import RECIPES, Workshop, open_workshop


def main(words: Sequence[str] | None = None) -> int:
    """Build what is missing, measure, write down where it came from. Returns the exit code."""
    options = parse(words)
    console = Console()
    made = {}
    if not options.measure:
        workshop = open_workshop(options.folder, seed=options.seed, scale=options.scale, report=console.print)
        made = {name: build(name, workshop) for name in RECIPES}
    missing = [name for name in RECIPES if not (options.folder / name / "model.safetensors").is_file()]
    if missing:
        console.print(f"error: {options.folder} has no {', '.join(missing)}: run without --measure", style="red")
        return 2
    found = measure(options.folder, options.problems, options.responses, console)
    console.print(quality.as_table(found), markup=False)
    if not options.measure:
        write_provenance(options.folder, made, found)
        console.print(f"models and provenance.json lie in {options.folder}")
    return 0


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """The command line; argparse refuses what it does not know and names the options."""
    parser = argparse.ArgumentParser(prog="python -m launch.world", description=__doc__, allow_abbrev=False)
    parser.add_argument("--folder", type=Path, help="where the models lie (default: build/world, or the shipped ones)")
    parser.add_argument("--seed", type=int, default=1, help="of every recipe")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full training; 0.01 is a quick trial")
    parser.add_argument("--problems", type=int, default=1000, help="held-out problems to measure on")
    parser.add_argument("--responses", type=int, default=8, help="responses to each")
    parser.add_argument("--measure", action="store_true", help="train nothing, only measure")
    options = parser.parse_args(words)
    if options.folder is None:
        options.folder = SHIPPED_MODELS if options.measure else Path("build/world")
    if options.scale <= 0 or options.problems < 1 or options.responses < 2:
        parser.error("--scale must be above 0, --problems at least 1, --responses at least 2")
    return options


def build(name: str, workshop: Workshop) -> dict[str, float]:
    """Make one model unless it is made; returns its time and last loss."""
    mark = workshop.folder / name / "made.json"
    if mark.is_file():
        workshop.report(f"{name}: made already ({mark})")
        return dict(json.loads(mark.read_text()))
    began = time.monotonic()
    loss = RECIPES[name](workshop)
    made = {"seconds": round(time.monotonic() - began, 1), "loss": round(loss, 4)}
    mark.write_text(json.dumps(made) + "\n")
    return made


def write_provenance(folder: Path, made: dict[str, dict[str, float]], found: dict[str, dict[str, float]]) -> None:
    """What made these models, and how good they are."""
    record = {"command": ["python", "-m", "launch.world", *sys.argv[1:]], **origin(), "made": made, "quality": found}
    (folder / "provenance.json").write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
