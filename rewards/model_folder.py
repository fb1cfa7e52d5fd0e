"""Locate a model by folder or hub name and check what its folder contains. Nothing here loads weights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

Place = Literal["folder", "cache", "hub"]

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")


def is_hub_name(path: str) -> bool:
    """Whether this could be a hub name, `owner/name`. `./name` and `../name` are folders."""
    return _HUB_NAME.fullmatch(path) is not None


def check_model(path: str, *, complete: bool = False) -> None:
    """Raise FileNotFoundError if this is neither a model folder nor a valid hub name.

    A folder needs a config.json and, if `complete`, also weights and a tokenizer. A hub name is not looked up.
    """
    folder = Path(path)
    if not folder.is_dir():
        if is_hub_name(path):
            return
        raise FileNotFoundError(f"there is no model folder {path} (a hub name has the form owner/name)")
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{path} has no config.json, so it is not a model folder{hint_inside(path)}")
    if not complete:
        return
    if not any(file for pattern in _WEIGHTS for file in folder.glob(pattern)):
        raise FileNotFoundError(f"{path} has no weights (model.safetensors)")
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        raise FileNotFoundError(f"{path} has no tokenizer (tokenizer.json): save the model's tokenizer there")


def config_file(path: str) -> Path | None:
    """The model's config.json in its folder or in the local hub cache; None if it is in neither."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    if Path(path).is_dir():
        file = Path(path) / "config.json"
        return file if file.is_file() else None
    try:
        found = try_to_load_from_cache(path, "config.json")
    except HFValidationError:  # not a hub name
        return None
    return Path(found) if isinstance(found, str) else None


def place_of(path: str) -> Place:
    """Where a model is: in a folder, in the local hub cache, or only on the hub."""
    if Path(path).is_dir():
        return "folder"
    return "cache" if config_file(path) else "hub"


def hint_inside(folder: str) -> str:
    """`; there is a model in FOLDER/model` if a subfolder (a run folder, for example) has a config.json, else ""."""
    found = sorted(Path(folder).glob("*/config.json"))
    return f"; there is a model in {found[0].parent}" if found else ""
