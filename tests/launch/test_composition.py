from __future__ import annotations

import re
import shlex

import pytest
from omegaconf import OmegaConf

from launch.composition import SHIPPED_MODELS, compose
from launch.configuration import plain
from rewards.builder import ConfigurationError


def complaint(*words):
    with pytest.raises(ConfigurationError) as caught:
        compose(words)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_the_defaults_compose_to_one_run():
    (run,) = compose([])
    assert run.choices["algorithm"] == "grpo" and run.config.algorithm._target_.endswith("GRPO")


def test_an_override_reaches_its_key():
    (run,) = compose(["reward=orm", "algorithm.kl=0.01"])
    assert run.config.algorithm.kl == 0.01 and run.choices["reward"] == "orm"


def test_shipped_resolves_to_a_shipped_models_folder():
    (run,) = compose(["policy=tiny"])
    assert plain(run.config)["policy"]["path"] == str(SHIPPED_MODELS / "policy")


def test_a_sweep_composes_every_point_wherever_the_flag_is():
    expected = [("orm", 1), ("orm", 2), ("prm", 1), ("prm", 2)]
    for words in (["-m", "reward=orm,prm", "seed=1,2"], ["reward=orm,prm", "seed=1,2", "--multirun"]):
        assert [(run.choices["reward"], run.config.seed) for run in compose(words)] == expected


def test_an_experiment_may_define_a_sweep():
    runs = compose(["experiment=reward_comparison"])
    assert len(runs) > 2 and len({run.choices["reward"] for run in runs}) > 1


def test_keys_chosen_by_a_sweep_over_experiments_are_accepted():
    words = ["-m", "experiment=reward_matrix", "algorithm=dpo", "seed=1"]
    runs = compose([*words, "experiment/row=orm", "reward.model=mine"])
    assert [run.config.reward.model for run in runs] == ["mine"]
    for key in ("reward.model", "++reward.model"):
        runs = compose([*words, "experiment/row=orm,prm", f"{key}=mine"])
        assert [run.config.reward.model for run in runs] == ["mine", "mine"]
    with pytest.raises(ConfigurationError, match=r"there is no key reward\.model"):
        compose([*words, "experiment/row=orm,verifier", "reward.model=mine"])
    with pytest.raises(ConfigurationError, match=r"did you mean reward.model\?"):
        compose([*words, "experiment/row=orm", "reward.modle=mine"])


@pytest.mark.parametrize(
    ("command", "key", "value"),
    [
        ("train", "reward.model", "/ckpt/step=10-loss=0.5.ckpt"),
        ("train", "reward.model", "/models/a (copy)"),
        ("train", "reward.model", "/models/{a}"),
        ("train", "reward.model", "/models/[1]"),
        ("train", "reward.model", "/models/a#b"),
        ("train", "reward.model", "/models/a,b"),
        ("train", "reward.model", "/models/it's"),
        ("train", "reward.model", '/models/a "b" = c'),
        ("train", "reward.model", "/models/$a=b"),
        ("train", "run_dir", "/ckpt/epoch=3"),
        ("score", "input", "/ckpt/epoch=3"),
        ("evaluate", "folder", "~/models/a!b=c"),
        ("annotate", "folder", "/ckpt/epoch=3"),
        ("train_reward", "folder", "/ckpt/epoch=3"),
    ],
)
def test_a_value_that_needs_quotes_is_refused_with_the_quoting_that_works(command, key, value):
    chosen = {"train": ["reward=orm"], "train_reward": ["recipe=orm_tiny"]}.get(command, [])
    with pytest.raises(ConfigurationError) as caught:
        compose([*chosen, f"{key}={value}"], command)
    text = str(caught.value)
    assert key in text and "\n" not in text
    quoted = re.search(r"(quote the value|if it is one text): (.*)$", text)[2]
    (run,) = compose([*chosen, *shlex.split(quoted)], command)
    assert OmegaConf.select(run.config, key) == value


def test_debug_overrides_everything_except_keys_on_the_command_line():
    (run,) = compose(["debug=tiny", "rollout.problems=7"])
    assert (run.config.updates, run.config.rollout.problems, run.config.rollout.responses) == (2, 7, 4)


def test_a_sweep_may_be_a_range_or_all_options_of_a_pattern(tmp_path):
    assert [run.config.seed for run in compose(["-m", "seed=range(1,4)"])] == [1, 2, 3]
    (tmp_path / "reward").mkdir()
    for name in ("my_one", "my_two"):
        (tmp_path / "reward" / f"{name}.yaml").write_text("defaults: [verifier]\n")
    runs = compose(["-m", "--config-dir", str(tmp_path), "reward=glob(my_*)"])
    assert [run.choices["reward"] for run in runs] == ["my_one", "my_two"]


def test_config_dir_applies_only_to_its_own_command(tmp_path):
    (tmp_path / "reward").mkdir()
    (tmp_path / "reward" / "mine.yaml").write_text("defaults: [verifier]\n")
    compose(["--config-dir", str(tmp_path), "reward=mine"])
    assert "no reward 'mine'" in complaint("reward=mine")


def test_config_dir_adds_options(tmp_path):
    (tmp_path / "algorithm").mkdir()
    (tmp_path / "algorithm" / "mine.yaml").write_text("defaults: [grpo]\nkl: 0.5\n")
    (run,) = compose(["--config-dir", str(tmp_path), "algorithm=mine"])
    assert run.config.algorithm.kl == 0.5 and run.config.algorithm.clip_low == 0.2


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["algorithm.kll=0.01"], ["algorithm.kll", "did you mean algorithm.kl?"]),
        (["algorthm.kl=0.01"], ["did you mean algorithm.kl?"]),
        (["kl=0.01"], ["did you mean algorithm.kl?"]),
        (["rewrd=orm"], ["rewrd", "did you mean reward?"]),
        (["updtes=3"], ["did you mean updates?"]),
        (["reward=orn"], ["no reward 'orn'", "did you mean orm?", "configs/reward"]),
        (["-m", "reward=orm,prn"], ["prn", "did you mean prm?"]),
        (["experiment=quikstart"], ["did you mean quickstart?"]),
        (["reward=null"], ["no reward 'null'"]),
        (["rollout.n=4"], ["rollout has problems, responses"]),
        (["seed.x=1"], ["did you mean seed?"]),
        (["seed"], ["cannot read 'seed'", "key=value"]),
        (["seed=1,2"], ["seed=1,2", "add -m"]),
        (["--multrun"], ["did you mean --multirun?"]),
        (["--config-dir", "no/such/folder"], ["no/such/folder"]),
        (["hydra.swep.dir=x"], ["hydra.swep.dir"]),
        (["hydra.run.dir=x"], ["hydra.run.dir has no effect", "hydra.mode"]),
        (["-m", "seed=interval(1,5)"], ["seed=interval(1,5)", "only lists and ranges"]),
        (["--config-path", "x"], ["--config-path"]),
    ],
)
def test_a_misspelt_word_gives_a_one_line_suggestion(words, expected):
    text = complaint(*words)
    for part in expected:
        assert part in text


def test_a_broken_file_is_named_with_its_line(tmp_path):
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "broken.yaml").write_text("a: 1\nb: c: d\n")
    text = complaint("--config-dir", str(tmp_path), "task=broken")
    assert "broken.yaml, line 2" in text and "YAML" in text


def test_a_mandatory_key_must_be_given():
    (run,) = compose(["policy=hf"])
    with pytest.raises(ConfigurationError, match=r"policy\.path=\.\.\."):
        plain(run.config)
