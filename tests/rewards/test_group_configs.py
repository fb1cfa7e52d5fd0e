"""Every reward option of these families composes, passes the run's type checks and builds its reward."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import configs
from rewards.builder import build_reward
from rewards.types import Reward
from tests.rewards.armorm_tiny import make_armorm
from tests.tiny import make_llama, make_tokenizer

JUDGED = ["pairjudge", "pairjudge_knockout", "pairjudge_anchor", "pairjudge_reference"]
GENERATED = ["judge", "rm_r1", "rm_r1_distilled"]
ENDPOINTS = ["judge_endpoint", "nemotron_genrm"]
RUBRIC_ENDPOINTS = ["rubric_endpoint", "genrm_principle"]
RUBRICS = ["rubric", "judge_single", *RUBRIC_ENDPOINTS]
SHIPPED = ["armorm_tiny", "rubric_tiny", "pairjudge_tiny", "pairjudge_tiny_knockout"]
URL = "http://127.0.0.1:1/x"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Stand-ins for the models the options name."""
    folder = tmp_path_factory.mktemp("models")
    judge = make_llama(folder / "judge", make_tokenizer("simple"), max_positions=16384)
    (judge / "criterion.yaml").write_text(
        'turns: [{role: user, content: "{criterion} {response}"}]\n'
        "verdict: {kind: word, tag: resp_a_judge, values: {correct: 1, incorrect: 0}}\n"
    )
    (judge / "compare.md").write_text("{question} {response_a} {response_b}")
    return {"armorm": make_armorm(folder / "armorm", max_positions=4096), "judge": str(judge)}


@pytest.mark.parametrize(
    "option",
    [
        "armorm",
        *JUDGED,
        *GENERATED,
        *ENDPOINTS,
        *RUBRICS,
        *SHIPPED,
        "pairjudge_endpoint",
        "remote",
        "mixture",
        "shaped",
    ],
)
def test_a_reward_option_builds_its_reward(option, models):
    words = {
        "armorm": [f"reward.model={models['armorm']}"],
        "pairjudge_endpoint": [f"reward.judge.url={URL}", "reward.judge.model=judge"],
        "remote": [f"reward.url={URL}"],
    } | {name: [f"reward.judge.model={models['judge']}"] for name in JUDGED}
    words |= {name: [f"reward.judge.generator.model={models['judge']}"] for name in GENERATED}
    words |= {name: [f"reward.judge.generator.url={URL}", "reward.judge.generator.model=judge"] for name in ENDPOINTS}
    words |= {name: [f"reward.generator.model={models['judge']}"] for name in ("rubric", "judge_single")}
    words |= {name: [f"reward.generator.url={URL}", "reward.generator.model=judge"] for name in RUBRIC_ENDPOINTS}
    OmegaConf.register_new_resolver("shipped", lambda name: models.get(name, models["judge"]), replace=True)
    with initialize_config_dir(str(Path(configs.__file__).parent), version_base="1.3"):
        config = compose("train", [f"reward={option}", *words.get(option, [])]).reward
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(build_reward(plain), Reward)
