"""A model of another family is refused with the name of the option that reads it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from rewards.armorm import ArmoRMReward
from rewards.engines.checkpoint import Checkpoint
from rewards.outcome import OutcomeReward
from rewards.process import ProcessReward
from rewards.scalar import ScalarReward
from rewards.step_head import StepHeadReward
from tests.rewards.armorm_tiny import make_armorm
from tests.rewards.published_models import PROCESS, SCALAR

MODELS = {
    "armorm": lambda folder: Path(make_armorm(folder)),
    **{name: PROCESS[name].make for name in ("qwen_math_prm", "skywork_prm", "reasoneval", "trl_prm")},
    **{name: SCALAR[name].make for name in ("qwen_math_rm", "skywork_v2_qwen3", "internlm2_reward", "nemotron_llama")},
}
FITTING = {"skywork_v2_qwen3": "scalar", "nemotron_llama": "rlhflow_prm_mistral"}
ADAPTERS = {
    "armorm": ArmoRMReward,
    "orm": OutcomeReward,
    "prm": ProcessReward,
    "scalar": ScalarReward,
    "step_head": StepHeadReward,
}
READ = {
    ("nemotron_llama", "orm"),
    ("nemotron_llama", "prm"),
    ("armorm", "armorm"),
    ("skywork_v2_qwen3", "scalar"),
    ("trl_prm", "step_head"),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    torch.manual_seed(0)
    return {name: make(tmp_path_factory.mktemp(name)) for name, make in MODELS.items()}


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("name", MODELS)
def test_every_adapter_names_the_option_that_reads_a_model_of_another_family(folders, name, adapter):
    if (name, adapter) in READ:
        ADAPTERS[adapter](str(folders[name]))
        return
    with pytest.raises(ValueError) as refused:
        ADAPTERS[adapter](str(folders[name]))
    message = str(refused.value)
    assert f"set reward={FITTING.get(name, name)}" in message and "\n" not in message


def test_without_weights_on_this_machine_the_architecture_decides(folders, tmp_path):
    (tmp_path / "config.json").write_text((folders["qwen_math_prm"] / "config.json").read_text())
    with pytest.raises(ValueError, match="a process model with Qwen's two-layer head: set reward=qwen_math_prm"):
        ScalarReward(str(tmp_path))


def test_a_model_of_no_known_family_gets_no_advice(folders, tmp_path):
    config = json.loads((folders["trl_prm"] / "config.json").read_text()) | {"architectures": ["Qwen2ForSomething"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"this reward needs one that ends in ForCausalLM$"):
        Checkpoint(str(tmp_path))
