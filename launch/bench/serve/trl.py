"""TRL's GRPOTrainer on the service's rewards: does it learn, and are they the rewards of launch.score?"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

from launch.bench.serve.running import service
from launch.composition import compose
from launch.configuration import plain
from launch.packages import install
from rewards.builder import build

TRL = Path("build/trl")
TOLERANCE = 1e-3
"""The largest difference of a reward: the same response in another batch is computed in another order."""


def measure(updates: int, seed: int) -> tuple[dict[str, Any], bool]:
    """The figures by name, and whether the rewards were equal and the mean reward rose.

    Installs TRL into build/trl if it is not there, as launch.bench.loop does.
    """
    if not (TRL / "trl").is_dir():
        install("trl.txt", TRL)
    config = plain(compose(["policy=tiny", "task=arithmetic"])[0].config)
    problems = list(islice(build(config["task"], "task").train_problems(seed), 16 * updates))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        job = {
            "policy": config["policy"]["path"],
            "prompts": [{"prompt": problem.messages, "answer": problem.answer} for problem in problems],
            "updates": updates,
            "seed": seed,
        }
        with service("reward=prm") as running:
            job["url"] = f"http://{running.host}:{running.port}/score"
            (folder / "job.json").write_text(json.dumps(job))
            _run([sys.executable, "-m", "launch.bench.serve.trl_training", name], str(TRL.absolute()))
        steps = json.loads((folder / "steps.json").read_text())
        seen = [json.loads(line) for line in (folder / "seen.jsonl").read_text().splitlines()]
        output = folder / "scores.jsonl"
        _run([sys.executable, "-m", "launch.score", f"input={folder}/seen.jsonl", f"output={output}", "reward=prm"])
        scored = [json.loads(line)["scores"][0] for line in output.read_text().splitlines()]
    differences = [
        abs(row["reward"] - score["value"])
        if row["reward"] is not None and "value" in score
        else 0.0
        if row["reward"] is None and "failure" in score
        else math.inf
        for row, score in zip(seen, scored, strict=True)
    ]
    quarter = max(1, len(steps) // 4)
    rewards = [step["reward"] for step in steps]
    first, last = sum(rewards[:quarter]) / quarter, sum(rewards[-quarter:]) / quarter
    equal = max(differences) <= TOLERANCE
    return {
        "updates": len(steps),
        "rewards": len(seen),
        "largest difference": f"{max(differences):.1e} from launch.score",
        "failed, as in launch.score": sum(row["reward"] is None for row in seen),
        "mean reward": f"{first:.3f} -> {last:.3f} (first and last {quarter} updates)",
        "loss": f"{steps[0]['loss']:.4f} -> {steps[-1]['loss']:.4f}",
    }, equal and last > first


def _run(command: list[str], path: str = "") -> None:
    """Run a process to its end. Raises RuntimeError with the last line that it said."""
    paths = os.pathsep.join(filter(None, [os.getcwd(), path, os.environ.get("PYTHONPATH", "")]))
    quiet = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "TRL_EXPERIMENTAL_SILENCE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **quiet, "PYTHONPATH": paths})
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["it said nothing"]
        raise RuntimeError(f"{' '.join(command[1:3])} ended with exit code {done.returncode}: {said[-1]}")
