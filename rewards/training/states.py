"""Embedded states in a folder, and whose they are: they are used again for the same rows and the same model only.

Heads are no part of that: on states that are there other heads can be fitted in minutes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rewards.builder import ConfigurationError
from rewards.files.digests import file_digest
from rewards.training import armorm_fit

MARK = "embedded_from.json"
_WEIGHTS = (".safetensors", ".bin", ".json")


def embedded_from(recipe: armorm_fit.ArmoModel, sides: Mapping[str, Sequence[np.ndarray]]) -> dict[str, str | int]:
    """What states are a function of: the model, how it is run, and the token sequences (L,) of every side.

    A model in a folder counts by its files' contents, one of the hub by its name.
    """
    place = Path(recipe.model)
    return {
        "recipe.model": _files_digest(place) if place.is_dir() else recipe.model,
        "recipe.dtype": recipe.dtype,
        "recipe.device": recipe.device,
        "recipe.batch_tokens": recipe.batch_tokens,
        "conversations a file": armorm_fit.SHARD,
        **{f"{name} rows": _sequences_digest(sequences) for name, sequences in sides.items()},
    }


def check_states(folder: Path, wanted: Mapping[str, str | int]) -> None:
    """Raise ConfigurationError where `folder` holds states of something else (see `embedded_from`), or no states."""
    mark = folder / MARK
    if mark.exists():
        written = json.loads(mark.read_text(encoding="utf-8"))
        different = [key for key, value in wanted.items() if written.get(key) != value]
        if different:
            raise ConfigurationError(
                f"states {folder} were embedded with another {', '.join(different)}: choose another folder"
            )
    elif folder.exists() and any(folder.iterdir()):
        raise ConfigurationError(f"states {folder} holds something else: choose another folder")


def mark_states(folder: Path, wanted: Mapping[str, str | int]) -> None:
    """Make the folder, and write down whose states it holds."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARK).write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")


def _files_digest(folder: Path) -> str:
    files = sorted(path for path in folder.iterdir() if path.suffix in _WEIGHTS)
    return hashlib.sha256("".join(path.name + file_digest(path) for path in files).encode()).hexdigest()


def _sequences_digest(sequences: Sequence[np.ndarray]) -> str:
    sha = hashlib.sha256()
    for ids in sequences:
        sha.update(len(ids).to_bytes(8, "little") + ids.tobytes())
    return sha.hexdigest()
