"""Checks the whole configuration before anything starts: no unread keys, correct types, valid combinations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from launch.built_models import hint, not_built
from launch.stand_ins import AbsentTask, with_stand_ins
from rewards.builder import ConfigurationError, build, build_reward, build_root, checked, one_line, verify
from rewards.model_folder import place_of
from rewards.types import Reward
from rl import checks
from rl.algorithms import Algorithm
from rl.cluster import check_placement
from rl.learner.setup import check_critic
from rl.policy import check_policy, load_tokenizer, prompt_ids, prompt_lengths
from rl.run_settings import RunSettings
from rl.settings import (
    ClusterSettings,
    EvaluationSettings,
    LearnerSettings,
    LoggerSettings,
    LoopSettings,
    PolicySettings,
    RolloutSettings,
)
from rl.stops import end_of_turn, ends_in_words, stop_ids
from rl.tasks import FileTask, Task

SETTINGS: dict[str, type] = {
    "policy": PolicySettings,
    "rollout": RolloutSettings,
    "learner": LearnerSettings,
    "cluster": ClusterSettings,
    "logger": LoggerSettings,
    "evaluate": EvaluationSettings,
}
"""Groups whose `_target_` must be this class."""

KINDS: dict[str, type] = {"algorithm": Algorithm, "task": Task, "reward": Reward}
"""Groups that choose a class, and the base class it must have."""

WATCHED = dict[str, dict[str, Any]] | list[str] | None
"""Rewards to watch: options of the group reward on the command line, their nodes by name once composed."""

RUN_KEYS = {"run_dir": str | None, "resume": str | None, "dry_run": bool, "watch": WATCHED}
"""Root keys that launch.train reads; the others belong to LoopSettings."""


def plain(config: DictConfig) -> dict[str, Any]:
    """The configuration as nested dicts and lists, interpolations resolved.

    Raises ConfigurationError for a missing mandatory key, and for an interpolation that cannot be resolved.
    """
    try:
        if missing := sorted(OmegaConf.missing_keys(config)):
            raise ConfigurationError(f"{missing[0]} has no default: give it as {missing[0]}=...")
        resolved = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigurationError(one_line(error)) from error
    assert isinstance(resolved, dict)
    return {str(key): value for key, value in resolved.items()}


def check(
    config: Mapping[str, Any], choices: Mapping[str, str | None] | None = None, absent: list[str] | None = None
) -> RunSettings:
    """The settings of a run from its plain configuration; starts and loads nothing heavy.

    `choices` names the option of each group, for messages. For plans, pass a list as `absent`: a model, problem file
    or GPU that this machine lacks then adds a line to the list instead of an error, and checks that need it are
    skipped. Raises ConfigurationError with the first error, in one line.
    """
    nodes = {**SETTINGS, **KINDS}
    root = "configs/train.yaml"
    loop = build_root(LoopSettings, config, [*nodes, *RUN_KEYS], root)
    for key, annotation in RUN_KEYS.items():
        checked(config.get(key), annotation, key, root)
    for key in nodes:
        if not isinstance(config.get(key), Mapping):
            raise ConfigurationError(f"{key} is missing: choose one with {key}=... (--help lists them)")
    sources = {key: f"configs/{key}/{option}.yaml" for key, option in (choices or {}).items() if option}
    for (
        key
    ) in nodes:  # verify all before building any, so that a misspelt key is reported before a missing model folder
        verify(config[key], key, sources.get(key, ""))
    unmade = not_built(config)
    if absent is None:
        _raise_first(unmade)
    else:
        absent += unmade
    built = {key: _node(key, config[key], sources.get(key, ""), absent) for key in nodes}
    watched = {name: dict(node) for name, node in (config.get("watch") or {}).items()}
    for name, node in watched.items():
        build_reward(node, f"watch.{name}", f"configs/reward/{name}.yaml")
    settings = RunSettings(
        loop=loop, reward_config=dict(config["reward"]), task_config=dict(config["task"]), watched=watched, **built
    )
    _check_together(settings, absent)
    return settings


def warnings(settings: RunSettings) -> list[str]:
    """Warnings about this configuration, one line each."""
    data = settings.task.notes() if isinstance(settings.task, FileTask) else []
    return [*data, *checks.warnings(settings), *_ends_of_turns(settings)]


def _node(key: str, node: Mapping[str, Any], source: str, absent: list[str] | None) -> Any:
    """Build a group's object and check its class."""
    made = build(node, key, source) if absent is None else _built_or_absent(key, node, source, absent)
    wanted = {**SETTINGS, **KINDS}[key]
    if not isinstance(made, wanted):
        be = "be" if key in SETTINGS else "derive from"
        raise ConfigurationError(f"{key}._target_ must {be} {wanted.__module__}.{wanted.__name__}: {node['_target_']}")
    return made


def _built_or_absent(key: str, node: Mapping[str, Any], source: str, absent: list[str]) -> Any:
    """The object, or a stand-in if its models or files are not on this machine; these are added to `absent`."""
    if key == "reward":
        node, models = with_stand_ins(node, key)
        if models:
            absent.append(f"{', '.join(models)}: not on this machine; {key}'s options cannot be checked")
    try:
        return build(node, key, source)
    except ConfigurationError as error:
        if key != "task" or not isinstance(error.__cause__, FileNotFoundError):
            raise
        absent.append(one_line(error))
        return AbsentTask()


def _check_together(settings: RunSettings, absent: list[str] | None) -> None:
    """Checks that need more than one node, the cheap ones first."""
    try:
        checks.check(settings)
    except ValueError as error:
        raise ConfigurationError(one_line(error)) from error
    lacking = checks.memory(psutil.virtual_memory().available / 2**30, settings)
    if settings.cluster.device == "cuda":
        import torch  # only to count GPUs

        lacking += checks.devices(torch.cuda.device_count(), settings)
    if absent is None:
        _raise_first(lacking)
    else:
        absent += lacking
    try:
        check_placement(settings.cluster, ranks=settings.learner.ranks)
        if absent is None or _models_are_here(settings, absent):
            check_policy(settings.policy.path)
            if settings.algorithm.critic is not None:
                check_critic(settings.algorithm.critic, settings.policy)
            _raise_first(checks.model_length(_positions(settings.policy.path), settings.rollout))
            if not absent or not any(line.startswith("task") for line in absent):
                _check_prompts(settings)
    except ConfigurationError:
        raise
    except (ValueError, OSError) as error:
        raise ConfigurationError(one_line(error)) from error


def _models_are_here(settings: RunSettings, absent: list[str]) -> bool:
    """Whether the policy and the critic are on this machine; if not, adds a line to `absent`."""
    paths = {"policy.path": settings.policy.path}
    if settings.algorithm.critic is not None and settings.algorithm.critic.path is not None:
        paths["algorithm.critic.path"] = settings.algorithm.critic.path
    for path in paths.values():
        if not hint(path):
            check_policy(path)
    names = [key for key, path in paths.items() if place_of(path) == "hub"]
    if names:
        absent.append(f"{', '.join(names)}: not on this machine; tokenizer and prompt lengths cannot be checked")
    return not names


def _check_prompts(settings: RunSettings) -> None:
    """Check that prompts leave room for responses: all prompts of a file, else the held-out ones and one rollout's."""
    tokenizer = load_tokenizer(settings.policy.path, settings.policy.chat_template_kwargs)
    stop_ids(tokenizer, settings.rollout)
    if isinstance(settings.task, FileTask):
        longest = max(settings.rollout.max_new_tokens, settings.evaluate.max_new_tokens or 0)
        room = settings.rollout.max_model_len - longest
        settings.task.fit(partial(prompt_lengths, tokenizer), room)
    try:
        held_out = settings.task.held_out_problems(settings.loop.evaluate_problems)
    except ValueError as error:
        reason = one_line(error)
        place = "" if reason.startswith("task.") else "evaluate_problems: "
        raise ConfigurationError(f"{place}{reason}") from error
    stream = settings.task.train_problems(settings.loop.seed)
    problems = [*held_out, *(next(stream) for _ in range(settings.rollout.problems))]
    for problem in problems:
        if (refusal := settings.reward.refusal(problem)) is not None:
            raise ConfigurationError(f"reward: no response to problem {problem.id} can be scored: {refusal}")
    if isinstance(settings.task, FileTask):
        return
    lengths = [(problem.id, len(prompt_ids(tokenizer, problem))) for problem in problems]
    _raise_first(checks.prompt_lengths(lengths, settings.rollout))
    _raise_first(checks.prompt_lengths(lengths[: len(held_out)], settings.rollout, settings.evaluate))


def _ends_of_turns(settings: RunSettings) -> list[str]:
    """A chat template that does not show how a turn ends leaves only eos_token to end a response."""
    if place_of(settings.policy.path) == "hub":
        return []
    tokenizer = load_tokenizer(settings.policy.path, settings.policy.chat_template_kwargs)
    if end_of_turn(tokenizer) is not None:
        return []
    return [
        "the policy's chat template writes no special token after an assistant's turn: responses end at "
        f"{ends_in_words(tokenizer, settings.rollout)} only; if the policy ends its turns otherwise, name the token in "
        "rollout.stop_token_ids"
    ]


def _positions(path: str) -> int | None:
    """max_position_embeddings of the model in a folder; None for a model on the hub or if it is not given."""
    file = Path(path) / "config.json"
    if not file.is_file():
        return None
    try:
        value = json.loads(file.read_text(encoding="utf-8")).get("max_position_embeddings")
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"policy.path: {file} is not valid JSON ({error.msg})") from error
    return value if isinstance(value, int) else None


def _raise_first(lines: list[str]) -> None:
    if lines:
        raise ConfigurationError(lines[0])
