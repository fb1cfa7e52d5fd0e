"""A real language model on the real stack: SmolLM2 samples, its log-probabilities agree after a sync, GRPO and DPO
update it.

The model is made once, as a person makes it. The tests are skipped only where pip cannot get its package.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.launch.test_train_end_to_end import lines, train

pytestmark = pytest.mark.e2e

TINY = (
    "policy=smollm2",
    "task=sums",
    "task.largest=9",
    "reward=shaped",  # right answers, the shorter the better: some responses are always better than others
    "reward.centre=null",
    "reward.sigmoid_scale=null",
    "reward.length_penalty=0.2",
    "~reward.reward.model",
    "reward.reward._target_=rewards.verifier.VerifierReward",
    "updates=1",
    "evaluate_every=0",
    "evaluate_problems=4",
    "checkpoint_every=0",
    "rollout.problems=2",
    "rollout.responses=4",
    "rollout.max_new_tokens=16",
    "learner.learning_rate=2e-5",
    "learner.micro_batch_tokens=1024",
    "logger.progress=plain",
)
"""Two problems with four responses of 16 tokens."""


@pytest.fixture(scope="module")
def model() -> Path:
    """build/smollm2, made if it is not there."""
    command = [sys.executable, "-m", "launch.smollm2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=800)
    if "pip cannot install" in done.stderr:
        pytest.skip(f"SmolLM2 cannot be fetched: {done.stderr.strip()}")
    assert done.returncode == 0, done.stdout + done.stderr
    return Path("build/smollm2")


def update_of(folder: Path, *words: str) -> dict:
    """Train one update and return its metrics."""
    done = train(None, *TINY, f"run_dir={folder}", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    (update,) = (row for row in lines(folder / "metrics.jsonl") if "reward/mean" in row)
    assert update["sync/gap_mean"] < 1e-4, "sampler and learner compute the same"
    assert update["sync/proof_mean"] < 1e-4, "and do so with the new weights"
    assert update["learner/skipped"] == 0 and update["response/count"] == 8
    return update


def test_the_model_equals_the_published_one_up_to_rounding(model: Path) -> None:
    from rewards.types import Problem
    from rl.policy import load_tokenizer, prompt_ids

    config = json.loads((model / "config.json").read_text())
    assert (config["vocab_size"], config["num_hidden_layers"], config["hidden_size"]) == (49152, 30, 576)
    tokenizer = load_tokenizer(str(model))
    for name, token, place in (("bos", "<|im_start|>", 1), ("eos", "<|im_end|>", 2), ("pad", "<|endoftext|>", 0)):
        assert getattr(tokenizer, f"{name}_token") == token
        assert getattr(tokenizer, f"{name}_token_id") == config[f"{name}_token_id"] == place
    assert tokenizer.decode(prompt_ids(tokenizer, Problem("1", "What is 12 + 3?"))) == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nWhat is 12 + 3?<|im_end|>\n<|im_start|>assistant\n"
    )
    text = "It's  12 +  3,\n\n  4.5 (é▁x) — 1,000"
    assert tokenizer.tokenize("a  12") == ["a", "ĠĠ", "1", "2"], "a digit is a token of its own, as in training"
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids) == text


def test_grpo_samples_updates_and_syncs_it(model: Path, tmp_path: Path) -> None:
    from safetensors import safe_open

    update = update_of(tmp_path / "run", "algorithm=grpo", "algorithm.kl=0")
    assert update["reward/group_std"] > 0 and update["learner/rows"] == 8
    name = "model.layers.0.self_attn.q_proj.weight"
    with (
        safe_open(model / "model.safetensors", "pt") as before,
        safe_open(tmp_path / "run" / "policy" / "model.safetensors", "pt") as after,
    ):
        change = (after.get_tensor(name) - before.get_tensor(name)).abs()
    assert 0 < change.max() < 1e-4, "one step of Adam at a rate of 2e-5"


def test_dpo_learns_from_its_pairs(model: Path, tmp_path: Path) -> None:
    update = update_of(tmp_path / "run", "algorithm=dpo")
    assert update["learner/pairs"] == update["credit/pairs"] > 0
