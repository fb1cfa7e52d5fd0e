"""A run that stopped and went on is the run that never stopped, number for number."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.launch.test_train_end_to_end import lines, train

pytestmark = pytest.mark.e2e

MEASURED = ("time/", "rate/", "seconds", "learner/seconds")
"""Metrics that say how long something took."""


def numbers(folder: Path) -> list[dict]:
    return [
        {name: value for name, value in row.items() if not name.startswith(MEASURED)}
        for row in lines(folder / "metrics.jsonl")
    ]


@pytest.mark.parametrize(
    "algorithm",
    [("algorithm=grpo",), ("algorithm=ppo",), ("algorithm=dpo", "algorithm.margin=0", "algorithm.refresh_every=3")],
    ids=["grpo", "ppo", "dpo"],
)
def test_two_updates_and_two_resumed_ones_equal_four_bit_for_bit(tmp_path: Path, algorithm: tuple[str, ...]) -> None:
    words = ("reward=prm", "evaluate_every=2", "checkpoint_every=2", "learner.minibatches=2", *algorithm)
    for name, more in {"whole": ("updates=4",), "parts": ("updates=2",)}.items():
        done = train(tmp_path / name, *words, *more)
        assert done.returncode == 0, done.stdout + done.stderr
    done = train(None, f"resume={tmp_path / 'parts'}", "updates=4")
    assert done.returncode == 0, done.stdout + done.stderr
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert numbers(parts) == numbers(whole)
    assert (parts / "samples.jsonl").read_text() == (whole / "samples.jsonl").read_text()
    expected, resumed = (load_file(folder / "policy" / "model.safetensors") for folder in (whole, parts))
    assert all(torch.equal(resumed[name], expected[name]) for name in expected)
    stages = json.loads((parts / "status.json").read_text())["stages"]
    assert {"resume", "checkpoint"} <= stages.keys()
