"""A model by folder or hub name: one reading of what is given, for the policy, the rewards and the plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from rewards.engines.checkpoint import read_config
from rewards.model_folder import check_model, config_file, hint_inside, is_hub_name, place_of
from rl.policy import check_policy


@pytest.mark.parametrize("name", ["Qwen/Qwen2.5-Math-7B", "RLHFlow/ArmoRM-Llama3-8B-v0.1"])
def test_a_name_with_its_owner_may_be_on_the_hub(name):
    assert is_hub_name(name)
    check_model(name, complete=True)


@pytest.mark.parametrize("path", ["./missing", "../missing", "/missing", "missing", "a/b/c", "~/model", "a b/x"])
def test_a_path_that_is_not_there_is_refused_by_the_policy_and_by_the_rewards_alike(path):
    assert not is_hub_name(path)
    with pytest.raises(ValueError, match="there is no model folder"):
        read_config(path)
    with pytest.raises(FileNotFoundError, match=r"policy\.path: there is no model folder"):
        check_policy(path)


@pytest.mark.parametrize(
    ("missing", "message"),
    [("config.json", "no config.json"), ("model.safetensors", "no weights"), ("tokenizer.json", "no tokenizer")],
)
def test_missing_files_are_reported_by_name(tmp_path: Path, missing: str, message: str):
    for name in {"config.json", "model.safetensors", "tokenizer.json"} - {missing}:
        (tmp_path / name).touch()
    with pytest.raises(FileNotFoundError, match=message):
        check_model(str(tmp_path), complete=True)


def test_a_model_one_folder_further_down_is_pointed_out(tmp_path: Path):
    assert hint_inside(str(tmp_path)) == ""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").touch()
    assert hint_inside(str(tmp_path)) == f"; there is a model in {tmp_path}/model"


def test_a_model_is_in_a_folder_or_on_the_hub(tmp_path: Path):
    assert place_of(str(tmp_path)) == "folder"
    assert config_file(str(tmp_path)) is None
    assert place_of("Qwen/Qwen2.5-Math-7B") in ("hub", "cache")
    assert place_of("not a hub name at all") == "hub"
