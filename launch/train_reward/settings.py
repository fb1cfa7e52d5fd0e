"""What launch.train_reward is asked: the keys at the root of configs/train_reward.yaml, and whose folder it is."""

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
    """The keys that are not a group's; configs/train_reward.yaml says what each is for."""

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
    """Settings, recipe and cluster of a plain configuration, checked.

    Raises ConfigurationError for unknown keys, other types, bad ranges and files that are missing.
    """
    settings = build_root(TrainRewardSettings, config, GROUPS, "configs/train_reward.yaml")
    recipe = build(config["recipe"], "recipe", f"configs/recipe/{choices.get('recipe')}.yaml")
    if isinstance(recipe, ArmoModel) != (settings.pairs is not None):
        raise ConfigurationError(
            "pairs=FILE is missing: ArmoRM's gate is trained on preference pairs"
            if settings.pairs is None
            else "pairs is ArmoRM's only: leave it out, data holds all that this recipe reads"
        )
    if settings.states is not None and not isinstance(recipe, ArmoModel):
        raise ConfigurationError("states is ArmoRM's only: leave it out, this recipe embeds nothing")
    return settings, recipe, build(config["cluster"], "cluster", f"configs/cluster/{choices.get('cluster')}.yaml")


def claim_of(settings: TrainRewardSettings, config: Mapping[str, Any]) -> Claim:
    """What the trained model is a function of; files by their contents. ArmoRM's heads stand apart from its recipe."""
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
    return Claim(Path(settings.folder), made_from, "made_from.json", "training")


def finished(claim: Claim) -> bool:
    """Whether the folder holds this very training, finished; one that is not finished may continue with other heads.

    Raises ValueError where the folder holds another training, of other files, recipe or seed, or something else.
    """
    different, is_done = claim.differences(), (claim.folder / "summary.json").exists()
    if different == [HEADS]:
        if is_done:
            raise claim.refusal(different, " (there states=FOLDER, with this one's states, embeds nothing again)")
    elif different:
        raise claim.refusal(different)
    return is_done
