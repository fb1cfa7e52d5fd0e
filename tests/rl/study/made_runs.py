"""Run folders made up for tests: every file that a real run writes, with curves and samples of any size."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

CONFIG: dict[str, Any] = {
    "algorithm": {"_target_": "rl.algorithms.grpo.GRPO", "kl": 0.05},
    "reward": {"_target_": "rewards.process.ProcessReward", "model": "/x/rl/tasks/arithmetic/models/prm"},
    "task": {"_target_": "rl.tasks.arithmetic.ArithmeticTask", "largest": 20},
    "learner": {"learning_rate": 5e-4},
    "evaluate_problems": 400,
}
CHOICES = {"algorithm": "grpo", "reward": "prm", "task": "arithmetic", "policy": "tiny"}


def made_run(
    folder: Path,
    seed: int = 1,
    choices: Mapping[str, str] | None = None,
    config: Mapping[str, Any] | None = None,
    accuracies: Sequence[float] = (0.45, 0.6, 0.75),
    rewards: Sequence[float] | None = None,
    every: int = 5,
    samples: int = 0,
    commit: str = "a" * 40,
    state: str = "finished",
) -> Path:
    """Write a run: evaluations of these accuracies `every` updates, the same `samples` samples at each update."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    updates = every * (len(accuracies) - 1)
    named = {
        key: {**CONFIG[key], "_target_": f"made.{option}"}
        for key, option in (choices or {}).items()
        if key in CONFIG and option != CHOICES[key]
    }
    merged = {**CONFIG, **named, **(config or {}), "updates": updates, "seed": seed, "run_dir": str(folder)}
    (folder / "config.yaml").write_text(yaml.safe_dump(merged, sort_keys=False))
    origin = {
        "command": ["python", "-m", "launch.train", f"seed={seed}"],
        "choices": CHOICES | dict(choices or {}),
        "commit": commit,
        "dirty": False,
        "packages": {"torch": "2.13.0"},
        "python": "3.11.7",
        "machine": "Linux",
        "time": "2026-11-25T12:00:00+0000",
    }
    (folder / "origin.json").write_text(json.dumps(origin))
    stages = {"sample": 40.0, "score": 10.0, "learn": 50.0}
    (folder / "status.json").write_text(json.dumps({"state": state, "stages": stages, "failures": {}}))
    rewards = rewards or [1 - one for one in accuracies]
    rows = [_evaluation(0, accuracies[0], rewards[0])]
    for update in range(1, updates + 1):
        rows.append(_training(update, rng))
        if update % every == 0:
            rows.append(_evaluation(update, accuracies[update // every], rewards[update // every]))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if samples:
        drawn = [json.dumps(made_sample(number, rng)) for number in range(samples)]
        lines = (
            line.replace('"update": 1,', f'"update": {update},', 1)
            for update in range(1, updates + 1)
            for line in drawn
        )
        (folder / "samples.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def made_sample(number: int, rng: np.random.Generator, group: int = 8) -> dict[str, Any]:
    """One line of samples.jsonl, of update 1: a solution in three steps, with a score for each."""
    start, more, result = int(rng.integers(2, 20)), int(rng.integers(1, 9)), bool(rng.random() < 0.5)
    lines = [f"Day 1: finds {more}, so {start} + {more} = {start + more}", "Day 2: checks again"]
    lines.append(f"The answer is: {start + more if result else start + more + 1}")
    text = "\n".join(lines)
    spans, at = [], 0
    for line in lines:
        spans.append([at, at + len(line)])
        at += len(line) + 1
    steps = [float(np.clip(rng.normal(0.8 if result else 0.4, 0.2), 0, 1)) for _ in lines]
    return {
        "update": 1,
        "stage": "train",
        "problem_id": f"train-{number // group}",
        "problem": f"Tom has {number // group} pens. Day 1: finds {more}. Day 2: checks again. How many are there?",
        "answer": str(start + more),
        "response": text,
        "finish_reason": "stop",
        "tokens": 30,
        "weight_version": 0,
        "correct": result,
        "score": {"value": min(steps), "steps": steps, "spans": spans},
    }


def _evaluation(update: int, accuracy: float, reward: float) -> dict[str, Any]:
    return {
        "update": update,
        "seconds": 40.0 + 6.0 * update,
        "accuracy/held_out": accuracy,
        "accuracy/held_out_low": accuracy - 0.04,
        "accuracy/held_out_high": accuracy + 0.04,
        "reward/held_out": reward,
        "response/held_out_tokens": 45.0,
    }


def _training(update: int, rng: np.random.Generator) -> dict[str, Any]:
    return {
        "update": update,
        "seconds": 40.0 + 6.0 * update,
        "reward/failed": 0.0,
        "reward/mean": float(0.4 + 0.3 * (1 - np.exp(-update / 10)) + rng.normal(0, 0.02)),
        "reward/flat_groups": float(rng.random() * 0.2),
        "reward/auc": float(0.9 + rng.normal(0, 0.02)),
        "accuracy/rollout": float(0.4 + rng.normal(0, 0.02)),
        "response/count": 256.0,
        "response/tokens": float(45 + rng.normal(0, 1)),
        "response/length": 0.0,
        "response/empty": 0.0,
        "credit/groups_equal": 0.0,
        "learner/kl": float(0.001 * update),
        "learner/clip_fraction": float(rng.random() * 0.1),
        "learner/entropy": float(0.2 + rng.random() * 0.05),
        "learner/grad_norm": float(rng.random()),
        "learner/tokens": 12000.0,
        "sync/gap_mean": 3e-8,
        "sync/gap_max": 1e-5,
        "time/sample": 2.0,
        "time/score": 0.6,
        "time/learn": 2.9,
        "time/sync": 0.2,
    }
