"""A reward from its option in configs/reward, on a model made for a test."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

import configs
from rewards.builder import build_reward
from rewards.types import Reward


@cache
def _node(option: str) -> str:
    with initialize_config_dir(str(Path(configs.__file__).parent), version_base="1.3"):
        return OmegaConf.to_yaml(compose("train", [f"reward={option}"]).reward)


def reward_of(option: str, model: Path | str, **changes: Any) -> Reward:
    """The reward of `configs/reward/OPTION.yaml` on this model, in fp32, up to the model's own limit."""
    node = yaml.safe_load(_node(option))
    return build_reward({**node, "model": str(model), "dtype": "fp32", "max_tokens": None, **changes})
