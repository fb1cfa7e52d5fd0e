"""What launch.train_reward is asked: the keys at the root of configs/train_reward.yaml, and whose folder it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewards.builder import ConfigurationError, build, build_root
from rewards.files.digests import file_digest
from rewards.files.lines import check_file
from rewards.training.armorm_fit import ArmoModel
from rl.settings import ClusterSettings, require

GROUPS = ("recipe", "cluster")
MARK = "made_from.json"
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


def made_from(settings: TrainRewardSettings, config: Mapping[str, Any]) -> dict[str, Any]:
    """What the trained model is a function of; files by their contents. ArmoRM's heads stand apart from its recipe."""
    recipe = dict(config["recipe"])
    heads = {HEADS: recipe.pop("heads")} if "heads" in recipe else {}
    return {
        "recipe": recipe,
        **heads,
        "data": file_digest(Path(settings.data)),
        "pairs": None if settings.pairs is None else file_digest(Path(settings.pairs)),
        "held_out": settings.held_out,
        "seed": settings.seed,
    }


def finished(folder: Path, wanted: Mapping[str, Any]) -> bool:
    """Whether the folder holds this very training (`wanted`, see `made_from`), finished.

    One that is not finished may go on with other heads. Raises ConfigurationError where the folder holds another
    training, of other files, recipe or seed, or something else.
    """
    mark = folder / MARK
    if mark.exists():
        written = json.loads(mark.read_text(encoding="utf-8"))
        is_done = (folder / "summary.json").exists()
        different = [key for key, value in wanted.items() if written.get(key) != value]
        if different == [HEADS] and not is_done:
            return False
        if different:
            hint = (
                " (there states=FOLDER, with this one's states, embeds nothing again)" if different == [HEADS] else ""
            )
            raise ConfigurationError(
                f"folder {folder} holds a training with another {', '.join(different)}: "
                f"choose another name{hint}, or delete it"
            )
        return is_done
    if folder.exists() and any(folder.iterdir()):
        raise ConfigurationError(f"folder {folder} holds something else: choose another name")
    return False


def claim(folder: Path, wanted: Mapping[str, Any]) -> None:
    """Make the folder, and write down which training it holds."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).write_text(json.dumps(wanted, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
