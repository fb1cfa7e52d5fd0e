from __future__ import annotations

import shutil

import pytest
from omegaconf import OmegaConf

from launch import configuration
from rewards.builder import ConfigurationError
from rl import checks
from rl.settings import LearnerSettings, LoopSettings, RolloutSettings


def test_a_valid_configuration_becomes_settings(settings_of):
    settings = settings_of("algorithm.kl=0.01", "updates=3", "seed=4")
    assert settings.algorithm.kl == 0.01
    assert settings.loop == LoopSettings(updates=3, seed=4, evaluate_problems=8)
    assert settings.rollout.problems == 4
    assert settings.reward_config["_target_"] == "rewards.verifier.VerifierReward"
    assert hasattr(settings.reward, "score")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("+algorithm.kll=0.1", ["algorithm.kll", "configs/algorithm/grpo.yaml", "did you mean kl?"]),
        ("+updats=3", ["updats", "did you mean updates?"]),
        ("algorithm.kl=abc", ["algorithm.kl", "expected float", "'abc'"]),
        ("updates=abc", ["updates", "expected int"]),
        ("updates=0", ["updates must be at least 1"]),
        ("dry_run=3", ["dry_run", "expected bool"]),
        ("failed_scores=drop", ["failed_scores", "drop_sample"]),
        ("rollout.temperature=0", ["rollout.temperature must be at least 0.01"]),
        ("rollout.responses=1", ["rollout.responses=1", "2 or more"]),
        ("learner.minibatches=500", ["learner.minibatches=500", "32 responses"]),
        ("learner.micro_batch_tokens=100", ["learner.micro_batch_tokens=100", "rollout.max_model_len"]),
        ("rollout.max_new_tokens=500", ["prompts", "rollout.max_model_len="]),
        ("rollout.max_model_len=4096", ["2048 positions"]),
        ("rollout.kv_cache_gib=100000", ["rollout.kv_cache_gib=100000", "GiB of memory is free"]),
        ("policy.path=no/such/model/folder", ["policy.path", "no/such/model/folder"]),
        ("policy._target_=rl.settings.LoggerSettings", ["policy"]),
        ("reward._target_=rl.settings.require", ["reward"]),
        ("~algorithm", ["algorithm is missing"]),
    ],
)
def test_an_error_is_one_line_that_names_the_key(settings_of, override, expected):
    with pytest.raises(ConfigurationError) as caught:
        settings_of(override)
    assert "\n" not in str(caught.value)
    for word in expected:
        assert word in str(caught.value)


def something_else(**options: object) -> object:
    """Takes every key and is no settings class."""
    return object()


def test_a_class_of_the_wrong_group_is_refused(settings_of):
    with pytest.raises(ConfigurationError, match=r"logger\._target_ must be rl\.settings\.LoggerSettings"):
        settings_of(f"logger._target_={__name__}.something_else")


def test_an_unresolvable_interpolation_is_a_one_line_error():
    config = OmegaConf.create({"a": "${nowhere.b}"})
    with pytest.raises(ConfigurationError, match="nowhere"):
        configuration.plain(config)


def test_long_prompts_are_counted_and_the_message_says_what_to_change():
    rollout = RolloutSettings(max_new_tokens=100, max_model_len=160)
    (line,) = checks.prompt_lengths([("a", 60), ("b", 61), ("c", 90)], rollout)
    assert line.startswith("2 of 3 prompts") and "problem c" in line and "rollout.max_model_len=190" in line
    assert checks.prompt_lengths([("a", 60)], rollout) == []


def test_a_warm_up_longer_than_the_run_is_refused():
    loop = LoopSettings(updates=3)
    assert checks.warm_up(loop, LearnerSettings(warmup_updates=3, minibatches=2)) == []
    assert "6 optimizer steps" in checks.warm_up(loop, LearnerSettings(warmup_updates=7, minibatches=2))[0]


def test_a_missing_gpu_is_an_error_before_the_run(settings_of):
    settings = settings_of()
    on_gpu = type(settings.cluster)(device="cuda")
    settings = type(settings)(**{**settings.__dict__, "cluster": on_gpu})
    assert "cluster=cpu" in checks.devices(0, settings)[0]
    assert checks.devices(1, settings) == []


def test_truncated_sampling_is_only_a_warning(settings_of):
    assert configuration.warnings(settings_of()) == []
    (line,) = configuration.warnings(settings_of("rollout.top_p=0.9", "rollout.min_p=0.1"))
    assert line.startswith("rollout.top_p=0.9 rollout.min_p=0.1: the KL")
    assert configuration.warnings(settings_of("rollout.top_p=0.9", "algorithm.kl=0")) == [], "nothing is estimated"
    kept = ("rollout.top_p=0.9", "algorithm.kl=0", "algorithm.correction=token")
    assert configuration.warnings(settings_of(*kept)) == [], "its weight is 0.9 or more, inside the band"


def test_a_template_that_does_not_show_how_a_turn_ends_is_a_warning(settings_of, policy, tmp_path):
    silent = tmp_path / "silent"
    shutil.copytree(policy, silent)
    template = silent / "chat_template.jinja"
    template.write_text(template.read_text().replace("<|end|>", ""))
    (line,) = configuration.warnings(settings_of(f"policy.path={silent}"))
    assert "writes no special token after an assistant's turn" in line and "rollout.stop_token_ids" in line
