"""The KL of a trained policy from the one it began with."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from transformers import AutoModelForCausalLM

from launch.report_kl import divergences, kl_from_start, written_tokens
from rl.policy import load_tokenizer
from rl.tasks.arithmetic.workshop.building import load, new_model, save
from rl.tasks.arithmetic.workshop.vocabulary import build_tokenizer


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder whose policy has gone away from its start."""
    folder = tmp_path_factory.mktemp("run")
    start = new_model(build_tokenizer())
    save(start, folder / "start")
    with torch.no_grad():
        start.model.norm.weight.mul_(1.5)
    save(start, folder / "policy")
    task = {"_target_": "rl.tasks.arithmetic.ArithmeticTask"}
    OmegaConf.save({"policy": {"path": str(folder / "start")}, "task": task}, folder / "config.yaml")
    return folder


def test_a_policy_that_has_not_moved_has_no_divergence(run: Path, tmp_path: Path) -> None:
    save(load(run / "start"), tmp_path / "policy")
    (tmp_path / "config.yaml").write_text((run / "config.yaml").read_text())
    assert kl_from_start(tmp_path, problems=2, tokens=4) == pytest.approx(0, abs=1e-6)


def test_the_divergence_is_the_sum_over_the_vocabulary_at_every_written_token(run: Path) -> None:
    trained, start = (
        AutoModelForCausalLM.from_pretrained(run / name, dtype=torch.float32) for name in ("policy", "start")
    )
    prompts = [[0, 5, 6, 7], [0, 9]]
    tokenizer = load_tokenizer(str(run / "policy"))
    torch.manual_seed(3)
    found = divergences(trained, start, prompts, tokenizer, 3)
    torch.manual_seed(3)
    inputs = tokenizer.pad({"input_ids": prompts}, padding_side="left", return_tensors="pt")
    written = trained.generate(**inputs, do_sample=True, top_k=0, max_new_tokens=3, pad_token_id=tokenizer.pad_token_id)
    expected = []
    for prompt, row in zip(prompts, written[:, 4:].tolist(), strict=True):
        for place, token in enumerate(row):
            ids = torch.tensor([[*prompt, *row[:place]]])
            with torch.no_grad():
                p, q = (model(input_ids=ids).logits[0, -1].double().softmax(-1).tolist() for model in (trained, start))
            expected.append(sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)))
            if token == tokenizer.eos_token_id:
                break
    assert found.tolist() == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert max(expected) > 1e-4


def test_tokens_after_the_end_of_a_response_do_not_count() -> None:
    assert written_tokens(torch.tensor([[5, 1, 1, 0], [5, 5, 5, 5]]), end=1).tolist() == [
        [True, True, False, False],
        [True, True, True, True],
    ]
