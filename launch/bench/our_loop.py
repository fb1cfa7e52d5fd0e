"""Run launch.train for the benchmarks of the loop, and read what each update cost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from rl.run.origin import origin

FIELDS = ("problems", "responses", "max_new_tokens")


def our_updates(job: Mapping[str, Any], words: Sequence[str], folder: Path) -> list[dict[str, Any]]:
    """The metrics of each update except the first in a run of launch.train; `words` win over the job.

    `seconds` is the whole update, including bookkeeping; `time/...` are its stages. Raises RuntimeError if the run
    fails.
    """
    run = Path(tempfile.mkdtemp(dir=folder)) / "run"
    settings = {f"rollout.{name}": job[name] for name in (*FIELDS, "max_model_len")} | {
        "algorithm": job["algorithm"],
        "updates": job["updates"],
        "seed": job["seed"],
        "learner.learning_rate": job["learning_rate"],
        "evaluate_every": 0,
        "evaluate_problems": 2,
        "checkpoint_every": 0,
        "run_dir": run,
    }
    if job["algorithm"] == "grpo":
        settings["algorithm.kl"] = job["kl"]
    given = {word.split("=")[0] for word in words}
    own = ["reward=verifier", "logger=quiet"]
    own += [f"{key}={value}" for key, value in settings.items() if key not in given]
    finished([sys.executable, "-m", "launch.train", *own, *words], {"OMP_NUM_THREADS": "1"})
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if "time/learn" in row]
    return [after | {"seconds": after["seconds"] - before["seconds"]} for before, after in pairwise(rows)]


def finished(command: Sequence[str], variables: Mapping[str, str]) -> None:
    """Run a process until it ends. Raises RuntimeError with its last line of output if it fails."""
    quiet = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "TRL_EXPERIMENTAL_SILENCE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **quiet, **variables})
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["no output"]
        raise RuntimeError(f"{' '.join(command[1:3])} ended with exit code {done.returncode}: {lines[-1]}")


def machine() -> dict[str, str]:
    """The date, the machine and its load, the commit and the versions."""
    made = origin()
    return {
        "date": made["time"],
        "machine": f"{made['machine']}, {os.cpu_count()} cores",
        "load average at the end (1, 5, 15 minutes)": ", ".join(f"{value:.1f}" for value in os.getloadavg()),
        "commit": f"{made['commit']}{' with changes' if made['dirty'] else ''}",
        "versions": ", ".join(f"{name} {version}" for name, version in made["packages"].items()),
    }
