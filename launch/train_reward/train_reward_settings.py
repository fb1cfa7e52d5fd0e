"""The settings of launch.train_reward: the keys at the root of configs/train_reward.yaml; and its claim on a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewards.builder import ConfigurationError, build, build_root
from rewards.files.claim import Claim
from rewards.files.digests import file_digest
from rewards.files.lines import check_file
from rewards.training.armorm_fit import ArmoModel
from rl.settings import ClusterSettings, require

GROUPS = ("recipe", "cluster")
HEADS = "recipe.heads"


@dataclass(frozen=True)
class TrainRewardSettings:
    """The keys that are not in a group. configs/train_reward.yaml explains each."""

    folder: str
    data: str
    pairs: str | None = None
    states: str | None = None
    held_out: int = 500
    seed: int = 1
    checkpoint_every: int = 200

    def __post_init__(self) -> None:
        for key in ("held_out", "seed", "checkpoint_every"):
            require(getattr(self, key) >= 0, f"{key} must not be negative, not {getattr(self, key)}")
        for key, path in (("data", self.data), ("pairs", self.pairs)):
            if path is not None:
                check_file(path, key)


def parts_of(
    config: Mapping[str, Any], choices: Mapping[str, str | None]
) -> tuple[TrainRewardSettings, Any, ClusterSettings]:
    """The settings, recipe and cluster of a plain configuration.

    Raises ConfigurationError for unknown keys, bad types or values, and missing files.
    """
    settings = build_root(TrainRewardSettings, config, GROUPS, "configs/train_reward.yaml")
    recipe = build(config["recipe"], "recipe", f"configs/recipe/{choices.get('recipe')}.yaml")
    if isinstance(recipe, ArmoModel) != (settings.pairs is not None):
        raise ConfigurationError(
            "pairs=FILE is missing: ArmoRM's gate is trained on preference pairs"
            if settings.pairs is None
            else "pairs is only for ArmoRM: remove it, this recipe reads only data"
        )
    if settings.states is not None and not isinstance(recipe, ArmoModel):
        raise ConfigurationError("states is only for ArmoRM: remove it, this recipe does not store hidden states")
    return settings, recipe, build(config["cluster"], "cluster", f"configs/cluster/{choices.get('cluster')}.yaml")


def claim_of(settings: TrainRewardSettings, config: Mapping[str, Any]) -> Claim:
    """The claim on the folder: what determines the model, with files by their contents.

    ArmoRM's heads are listed separately, because they may change between starts (see `finished`).
    """
    recipe = dict(config["recipe"])
    heads = {HEADS: recipe.pop("heads")} if "heads" in recipe else {}
    made_from = {
        "recipe": recipe,
        **heads,
        "data": file_digest(Path(settings.data)),
        "pairs": None if settings.pairs is None else file_digest(Path(settings.pairs)),
        "held_out": settings.held_out,
        "seed": settings.seed,
    }
    return Claim(Path(settings.folder), made_from, "made_from.json", "training run")


def finished(claim: Claim) -> bool:
    """Whether the folder has this training and it is finished. An unfinished one may be continued with other heads.

    Raises ValueError if the folder has something else, or a training with other files, another recipe or another seed.
    """
    different, is_done = claim.differences(), (claim.folder / "summary.json").exists()
    if different == [HEADS]:
        if is_done:
            raise claim.refusal(different, " (there, set states to this folder's states to reuse them)")
    elif different:
        raise claim.refusal(different)
    return is_done
