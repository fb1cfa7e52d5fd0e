"""Every option of every group composes and passes the checks, and says what can be set where it stands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

import configs
from launch import configuration
from launch.composition import compose
from launch.configuration import KINDS, SETTINGS
from rewards.builder import verify
from rl.settings import LoopSettings

FOLDER = Path(configs.__file__).parent
OPTIONS = sorted(path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.glob("*/*.yaml"))
NODES = [option for option in OPTIONS if option.split("/")[0] in {*SETTINGS, *KINDS}]


def needed(option: str, policy: str, problem_files: tuple[str, str]) -> list[str]:
    """Values for the keys of an option that have no default."""
    if option == "algorithm/pure":
        return ["reward=prm"]  # its credit goes to steps
    if option in ("policy/hf", "policy/smollm2"):
        return [f"policy.path={policy}"]
    text = (FOLDER / f"{option}.yaml").read_text()
    if option.startswith("task/") and "train: null" in text:
        return [f"task.train={problem_files[0]}", f"task.held_out={problem_files[1]}"]
    return [f"{key}={policy}" for key in missing(yaml.safe_load(text), option.split("/")[0])]


def missing(node: object, key: str) -> Iterator[str]:
    """Dotted keys of the values that must be given."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield from missing(value, f"{key}.{name}")
    elif node == "???":
        yield key


@pytest.mark.parametrize("option", NODES)
def test_every_option_composes_and_its_keys_fit_its_class(option, policy, problem_files):
    group, name = option.split("/")
    (run,) = compose([f"{group}={name}", *needed(option, policy, problem_files)])
    verify(configuration.plain(run.config)[group], group, f"configs/{option}.yaml")


@pytest.mark.parametrize("option", [option for option in NODES if option.split("/")[0] not in ("reward", "cluster")])
def test_every_option_makes_a_run_that_passes_all_checks(option, policy, problem_files, words):
    group, name = option.split("/")
    fitting = ["rollout.max_model_len=2048", "rollout.max_new_tokens=64"]
    more = needed(option, policy, problem_files)
    own = [word for word in words if not any(word.split("=")[0] == other.split("=")[0] for other in more)]
    (run,) = compose([f"{group}={name}", *own, *more, *fitting])
    configuration.check(configuration.plain(run.config), run.choices)


@pytest.mark.parametrize("option", [option for option in OPTIONS if option.split("/")[0] in ("experiment", "debug")])
def test_every_experiment_composes_to_nodes_that_fit_their_classes(option):
    for run in compose([option.replace("/", "=")]):
        config = configuration.plain(run.config)
        for group in (*SETTINGS, *KINDS):
            verify(config[group], group)


def test_the_reward_matrix_sweeps_every_row_and_only_one_has_step_credit():
    swept = yaml.safe_load((FOLDER / "experiment" / "reward_matrix.yaml").read_text())["hydra"]["sweeper"]["params"]
    rows = {path.stem for path in (FOLDER / "experiment" / "row").glob("*.yaml")}
    assert set(swept["experiment/row"].split(",")) == rows and swept["algorithm"] == "ppo,grpo,dpo"
    runs = compose(["experiment=reward_matrix", "seed=1", "algorithm=dpo"])
    credit = {run.choices["experiment/row"]: run.config.algorithm.credit for run in runs}
    assert credit == {row: "steps" if row == "prm_steps" else "outcome" for row in rows}


@pytest.mark.parametrize("group", ["rollout", "learner", "cluster", "logger", "evaluate"])
def test_every_settings_field_is_in_its_default_file(group):
    (run,) = compose([])
    assert set(run.config[group]) - {"_target_"} == {field.name for field in fields(SETTINGS[group])}


def test_every_loop_field_is_at_the_root_with_its_default():
    (run,) = compose([])
    config = configuration.plain(run.config)
    given = {field.name: config[field.name] for field in fields(LoopSettings)}
    as_written = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    assert as_written == {field.name: field.default for field in fields(LoopSettings)}


@pytest.mark.parametrize("option", OPTIONS)
def test_every_config_starts_with_a_comment_about_its_purpose(option):
    lines = (FOLDER / f"{option}.yaml").read_text().splitlines()
    assert any(line.startswith("# ") and not line.startswith("# @package") for line in lines[:3])
