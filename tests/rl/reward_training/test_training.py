"""Every kind trained in miniature on DeepSpeed, and read by whoever reads the published models."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from rewards.judges import VllmJudge
from rewards.outcome import OutcomeReward
from rewards.process import ProcessReward
from rewards.scalar import ScalarReward
from rewards.types import Group, Problem, Response
from rl.reward_training.planning import plan_micros, plan_training
from rl.reward_training.recipes import JudgeModel, ScalarModel, SignModel
from rl.reward_training.settings import TrainingSettings
from rl.tasks.arithmetic.workshop.training_rows import draw_rows
from tests.tiny import make_llama, make_tokenizer

pytestmark = pytest.mark.e2e

SETTINGS = TrainingSettings(
    learning_rate=1e-3,
    batch_sequences=4,
    warmup=0.1,
    dtype="fp32",
    zero_stage=0,
    max_tokens=1024,
    micro_batch_tokens=2048,
)
SEED = 5
ROLLOUT = [Group(Problem("1", "Tom has 3. Day 1: finds 4."), (Response("Day 1: 3 + 4 = 7\nThe answer is: 7"),))]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_llama(tmp_path_factory.mktemp("llama"), make_tokenizer(), hidden=128, spread=0.05))


@pytest.fixture(scope="module")
def alone() -> Iterator[None]:
    """This process as the only rank."""
    with pytest.MonkeyPatch.context() as patch, socket.socket() as probe:
        probe.bind(("", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1])}
        for name, value in {**address, "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}.items():
            patch.setenv(name, value)
        probe.close()
        yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def items_of(recipe, kind: str, count: int = 24) -> list:
    return recipe.items([recipe.parse(row) for row in draw_rows(kind, count)])


def trained(recipe, items: list, folder: Path):
    """The trainer after its last step, the model in `folder`, and the loss on all rows before and after."""
    from rl.learner.strategy import DeviceStrategy  # isort: skip  # sets OpenRLHF up for this machine
    from rl.reward_training.trainer import RewardTrainer

    settings = recipe.training
    costs = [recipe.cost(item) for item in items]
    plan = plan_training(costs, [item.loss_terms for item in items], settings, SEED, settings.layout)
    setup = recipe.setup("cpu", SEED, len(plan))
    strategy = DeviceStrategy(settings.learner(len(plan)), settings.dtype, "cpu", SEED)
    strategy.setup_distributed()
    trainer = RewardTrainer(setup, strategy)
    micros = plan_micros(costs, list(range(len(items))), 1, settings.micro_batch_tokens, "balanced")
    before = trainer.evaluate(items, micros)["loss"]
    reports = [trainer.step(items, step) for step in plan]
    trainer.save_model(folder)
    return trainer, (before, trainer.evaluate(items, micros)["loss"]), reports


def test_every_kind_of_model_is_trained_and_loaded_by_its_reward(alone, llama, tmp_path):
    signs = SignModel(llama, replace(SETTINGS, epochs=3), history="positive", softmax="labels")
    items = items_of(signs, "prm")
    trainer, (before, after), reports = trained(signs, items, tmp_path / "prm")
    assert after < before and reports[-1]["learning_rate"] == 0
    packed = trained(replace(signs, training=replace(signs.training, layout="packed")), items, tmp_path / "packed")
    assert [one["loss"] for one in packed[2]] == pytest.approx([one["loss"] for one in reports], abs=1e-4)

    [[score]] = ProcessReward(str(tmp_path / "prm"), device="cpu").score(ROLLOUT)
    text = {"conversations": []}
    for user in ("Tom has 3. Day 1: finds 4. Day 1: 3 + 4 = 7", "The answer is: 7"):
        text["conversations"] += [{"role": "user", "content": user}, {"role": "assistant", "content": "+"}]
    [item] = signs.items([signs.parse(text)])
    with torch.no_grad():
        ids, columns = torch.tensor(item.ids[None]).long(), torch.tensor(item.positions).long()
        logits = trainer.trainee.module(ids, None, torch.zeros_like(columns), columns)
    expected = logits[:, list(trainer.setup.candidates)].softmax(dim=1)[:, 0]
    assert score.steps == pytest.approx(expected.tolist(), abs=1e-5)

    outcome = SignModel(llama, SETTINGS)
    _, (before, after), _ = trained(outcome, items_of(outcome, "orm"), tmp_path / "orm")
    assert after < before
    assert OutcomeReward(str(tmp_path / "orm"), device="cpu").score(ROLLOUT)[0][0].ok

    scalar = ScalarModel(llama, replace(SETTINGS, epochs=3))
    pairs = items_of(scalar, "pairs")
    trainer, (before, after), _ = trained(scalar, pairs, tmp_path / "rm")
    assert after < before
    classifier = AutoModelForSequenceClassification.from_pretrained(tmp_path / "rm").eval()
    assert type(classifier).__name__ == "LlamaForSequenceClassification"
    ids = torch.tensor(pairs[0].chosen[None]).long()
    with torch.no_grad():
        own = trainer.trainee.module.eval()(ids, attention_mask=torch.ones_like(ids))
        assert torch.allclose(classifier(ids).logits.flatten(), own, atol=1e-5)
    [[score]] = ScalarReward(str(tmp_path / "rm"), device="cpu").score(ROLLOUT)
    [group] = ROLLOUT
    row = {"prompt": group.problem.prompt, "chosen": group.responses[0].text, "rejected": "No."}
    ids = torch.tensor(scalar.items([scalar.parse(row)])[0].chosen[None]).long()
    with torch.no_grad():
        own = trainer.trainee.module(ids, attention_mask=torch.ones_like(ids))
    assert score.value == pytest.approx(float(own), abs=1e-5)

    judge = JudgeModel(llama, SETTINGS, system=None)
    _, (before, after), _ = trained(judge, items_of(judge, "judgements", 12), tmp_path / "judge")
    assert after < before
    VllmJudge(str(tmp_path / "judge"), context_tokens=1024)


def scored_by_vllm(folder: str) -> list[float]:
    [[score]] = ProcessReward(folder, engine="vllm", device="cpu").score(ROLLOUT)
    return list(score.steps)


def test_an_interrupted_training_gives_the_same_model_and_vllm_loads_it(alone, llama, tmp_path, cluster):
    from rl.reward_training import run

    recipe = SignModel(llama, SETTINGS)
    items, lines = items_of(recipe, "prm"), []
    _, _, reports = trained(recipe, items, tmp_path / "whole")
    options = {"cluster": cluster, "seed": SEED, "folder": tmp_path, "checkpoint_every": 2, "report": lines.append}
    run.train(recipe, items, [], **options, stop_after=5)
    summary = run.train(recipe, items, [], **options)
    assert summary["steps"] == 6 and any("continuing after step 4" in line for line in lines)
    metrics = [line for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert len(metrics) == 6 and f'"loss": {reports[-1]["loss"]}' in metrics[-1]
    whole, resumed = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "model"))
    assert all(np.array_equal(whole[name].numpy(), resumed[name].numpy()) for name in whole)

    folder = str(tmp_path / "model")
    [[score]] = ProcessReward(folder, device="cpu").score(ROLLOUT)
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        assert pool.submit(scored_by_vllm, folder).result(timeout=240) == pytest.approx(list(score.steps), abs=1e-5)
