"""A miniature of every training: it leaves a folder that transformers and the rewards can load."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from rewards.outcome import OutcomeReward
from rewards.process import ProcessReward
from rewards.types import Group, Response
from rl.policy import check_policy, load_tokenizer
from rl.tasks.arithmetic import ArithmeticTask
from rl.tasks.arithmetic.workshop.building import Workshop, grow, load, open_workshop
from rl.tasks.arithmetic.workshop.pretraining import TRAINERS


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    made = open_workshop(tmp_path_factory.mktemp("world"), scale=0.001, report=lambda line: None)
    for name in TRAINERS:
        assert TRAINERS[name](made) > 0
    return made


@pytest.fixture(scope="module")
def groups() -> list[Group]:
    (problem,) = ArithmeticTask().held_out_problems(1)
    return [Group(problem, (Response("\n".join(problem.metadata["lines"])), Response("Day 1: what?")))]


def test_a_trained_policy_is_an_ordinary_half_precision_model_folder(workshop: Workshop) -> None:
    folder = workshop.folder / "policy"
    check_policy(str(folder))
    assert load_tokenizer(str(folder)).chat_template
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float16}
    assert (folder / "model.safetensors").stat().st_size < 2_000_000


def test_trained_base_models_can_be_loaded_as_rewards(workshop: Workshop, groups: list[Group]) -> None:
    (steps,) = ProcessReward(str(workshop.folder / "process_base")).score(groups)
    (outcomes,) = OutcomeReward(str(workshop.folder / "outcome_base")).score(groups)
    assert [len(score.steps or ()) for score in steps] == [len(groups[0].problem.metadata["lines"]), 1]
    assert all(0 <= score.value <= 1 for score in [*steps, *outcomes])


def test_a_grown_model_is_unchanged_until_it_is_trained(workshop: Workshop) -> None:
    model = load(workshop.folder / "policy")
    grown = grow(model, 2)
    ids = torch.arange(20).view(2, 10)
    with torch.no_grad():
        assert torch.equal(grown(ids).logits, model(ids).logits)
    assert grown.config.num_hidden_layers == model.config.num_hidden_layers + 2
