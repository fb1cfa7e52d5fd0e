"""Models that a command makes: what is said before they are made, in a run and in a plan."""

import sys
from pathlib import Path

import pytest

from launch import configuration, train
from launch.built_models import COMMANDS, folder_of, hint, not_built
from launch.composition import compose
from rewards.builder import ConfigurationError

EXPERIMENTS = ["smollm2_verifier", "smollm2_orm", "smollm2_prm_min", "smollm2_prm_product"]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work where nothing is built."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_hint_for_a_missing_built_model_is_its_command(name: str) -> None:
    assert hint(folder_of(name)) == f"{folder_of(name)} does not exist yet: run {COMMANDS[name]}"
    assert hint(f"build/{name}/deeper").endswith(COMMANDS[name])
    Path("build", name).mkdir(parents=True)
    assert hint(folder_of(name)) == ""


@pytest.mark.parametrize("path", ["build", "build/other", "smollm2", "owner/smollm2", "/models/smollm2", ""])
def test_other_paths_get_no_hint(path: str) -> None:
    assert hint(path) == ""


def test_models_and_nothing_else_are_found_anywhere_in_a_configuration() -> None:
    path = "build/smollm2_rewards/orm/model"
    node = {"reward": {"terms": [{"model": path}, {"model": None}]}, "run_dir": path, "data": path, "updates": 3}
    assert [line.split(":")[0] for line in not_built(node)] == ["reward.terms[0].model"]


@pytest.mark.parametrize(
    ("words", "key", "command"),
    [
        (["policy=smollm2"], "policy.path", "python -m launch.smollm2"),
        (["experiment=smollm2_verifier"], "policy.path", "python -m launch.smollm2"),
        (["experiment=smollm2_prm_min"], "reward.model", "bash launch/smollm2_rewards.sh"),  # makes the policy too
    ],
)
def test_a_run_is_refused_with_the_command_that_makes_its_models(words: list[str], key: str, command: str) -> None:
    (run,) = compose(words)
    with pytest.raises(ConfigurationError, match=f"^{key}: .* does not exist yet: run {command}$"):
        configuration.check(configuration.plain(run.config), run.choices)


def test_the_other_commands_give_the_same_hint(capsys: pytest.CaptureFixture[str]) -> None:
    from launch.annotate.__main__ import main as annotate
    from launch.train_reward.__main__ import main as train_reward

    assert annotate(["folder=steps", "policy=smollm2", "task=sums"]) == 2
    assert "error: policy.path: " in (said := capsys.readouterr().err) and "run python -m launch.smollm2" in said
    assert train_reward(["folder=orm", "data=rows.jsonl", "recipe=smollm2_orm"]) == 2
    assert "error: recipe.model: " in (said := capsys.readouterr().err) and "run python -m launch.smollm2" in said


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_plan_of_every_experiment_works_before_anything_is_built(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py"])
    assert train.main([f"experiment={name}", "dry_run=true"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "run python -m launch.smollm2" in said
    assert ("bash launch/smollm2_rewards.sh" in said) == (name != "smollm2_verifier")


def test_the_experiments_differ_only_in_their_reward() -> None:
    def config(name: str) -> dict:
        (run,) = compose([f"experiment={name}"])
        return configuration.plain(run.config)

    first, *others = map(config, EXPERIMENTS)
    assert first["reward"]["_target_"] == "rewards.verifier.VerifierReward"
    assert [other["reward"].get("aggregation") for other in others] == [None, "min", "product"]
    for other in others:
        assert {**other, "reward": first["reward"]} == first
