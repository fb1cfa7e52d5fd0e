"""The published recipes on the world's base models, in miniature: each leaves a folder that the rewards score with."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from launch.world_rewards import REWARD_MODELS, make
from rewards.armorm import ArmoRMReward
from rewards.outcome import OutcomeReward
from rewards.types import Group, Response
from rl.tasks.arithmetic import ArithmeticTask
from rl.tasks.arithmetic.workshop.attributes import OBJECTIVES
from rl.tasks.arithmetic.workshop.building import Workshop, new_model, open_workshop, save


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    """Base models that know nothing."""
    made = open_workshop(tmp_path, scale=0.001, report=lambda line: None)
    for base in {model.base for model in REWARD_MODELS.values()}:
        save(new_model(made.tokenizer), tmp_path / base)
    return made


def group() -> Group:
    problem = ArithmeticTask().held_out_problems(1)[0]
    return Group(problem, (Response("\n".join(problem.metadata["lines"])),))


def test_the_trained_armorm_has_the_worlds_objectives_and_a_half_precision_decoder(workshop: Workshop):
    assert make("armorm", workshop) > 0
    folder = workshop.folder / "armorm"
    [[score]] = ArmoRMReward(str(folder)).score([group()])
    assert [name.removeprefix("reward/") for name in score.parts if name.startswith("reward/")] == list(OBJECTIVES)
    weights = load_file(folder / "model.safetensors")
    half = {name for name, weight in weights.items() if weight.dtype == torch.float16}
    assert half == {name for name in weights if name.startswith("model.")}


@pytest.mark.e2e
def test_the_outcome_model_is_trained_on_deepspeed_and_scores(workshop: Workshop):
    assert make("orm", workshop) > 0
    [[score]] = OutcomeReward(str(workshop.folder / "orm")).score([group()])
    assert 0 <= score.value <= 1


def test_a_training_that_cannot_start_is_reported_with_its_command(workshop: Workshop):
    (workshop.folder / "outcome_base" / "config.json").unlink()
    with pytest.raises(RuntimeError, match=r"recipe=orm_tiny .* exit code 2"):
        make("orm", workshop)
