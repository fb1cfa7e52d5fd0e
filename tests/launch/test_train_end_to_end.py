"""The real thing, as a person starts it: Ray, vLLM, DeepSpeed and OpenRLHF on CPU, the shipped models."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from launch import report

pytestmark = pytest.mark.e2e


def train(folder: Path | None, *words: str) -> subprocess.CompletedProcess[str]:
    """A small run in this folder; None for words that say themselves where and how."""
    small = [] if folder is None else ["debug=tiny", f"run_dir={folder}"]
    command = [sys.executable, "-m", "launch.train", *small, *words]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    return subprocess.run(command, capture_output=True, text=True, timeout=800, env=environment)


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_with_a_process_reward_learns_reports_and_writes_all_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    done = train(folder, "reward=prm", "evaluate_every=2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "held-out accuracy" in done.stdout and str(folder) in done.stdout.replace("\n", "")
    metrics = lines(folder / "metrics.jsonl")
    updates = [row for row in metrics if "reward/mean" in row]
    assert len(updates) == 2
    for row in updates:
        assert 0 <= row["reward/mean"] <= 1
        assert 0 <= row["accuracy/rollout"] <= 1
        assert row["sync/gap_mean"] < 1e-4
    assert updates[0]["learner/kl"] == pytest.approx(0, abs=1e-6)
    assert updates[1]["learner/kl"] > 0, "the second rollout must come from changed weights"
    samples = lines(folder / "samples.jsonl")
    trained = [row for row in samples if row["stage"] == "train"]
    assert {row["weight_version"] for row in trained} == {0, 1}
    assert all(len(row["score"]["steps"]) >= 1 for row in trained if "value" in row["score"])
    assert yaml.safe_load((folder / "config.yaml").read_text())["updates"] == 2
    assert json.loads((folder / "status.json").read_text())["state"] == "finished"
    assert list((folder / "tensorboard").iterdir())
    from transformers import AutoModelForCausalLM, AutoTokenizer

    assert AutoTokenizer.from_pretrained(folder / "policy").chat_template
    AutoModelForCausalLM.from_pretrained(folder / "policy")
    assert report.main([str(folder), "--html", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "prm came out best" in page and '"steps":[[0,' in page and "debug=tiny" in page


def test_two_ranks_with_sharded_weights_train_the_same_policy_as_one(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    words = ("reward=verifier", "updates=1")
    for name, more in {"one": ("learner.ranks=1",), "two": ("learner.ranks=2", "learner.zero_stage=3")}.items():
        done = train(tmp_path / name, *words, *more)
        assert done.returncode == 0, done.stdout + done.stderr
    one, two = (load_file(tmp_path / name / "policy" / "model.safetensors") for name in ("one", "two"))
    tied = {"lm_head.weight"}  # the same tensor as the embedding: safetensors may or may not name it twice
    assert one.keys() - tied == two.keys() - tied
    for name in one.keys() - tied:
        assert torch.allclose(one[name].float(), two[name].float(), atol=1e-5), name


def test_a_reward_that_always_fails_stops_the_run_with_the_reason_and_keeps_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    done = train(folder, "reward=prm", "reward.max_tokens=5")
    assert done.returncode == 1
    assert "nothing was learned: 2 of 2 updates were skipped" in done.stdout + done.stderr
    status = json.loads((folder / "status.json").read_text())
    assert status["state"] == "failed"
    assert lines(folder / "samples.jsonl")
