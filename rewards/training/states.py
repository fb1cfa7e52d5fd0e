"""Record what the embedded states in a folder were made from: they are reused only for the same rows and model.

The heads are not part of that: other heads can be fitted to existing states in minutes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rewards.files.claim import Claim
from rewards.files.digests import file_digest
from rewards.training import armorm_fit

_WEIGHTS = (".safetensors", ".bin", ".json")


def claim_of_states(folder: Path, recipe: armorm_fit.ArmoModel, sides: Mapping[str, Sequence[np.ndarray]]) -> Claim:
    """Everything that states depend on: the model, how it is run, and the token sequences (L,) of every side.

    A model in a folder is identified by the contents of its files, one on the hub by its name.
    """
    place = Path(recipe.model)
    made_from = {
        "recipe.model": _files_digest(place) if place.is_dir() else recipe.model,
        "recipe.dtype": recipe.dtype,
        "recipe.device": recipe.device,
        "recipe.batch_tokens": recipe.batch_tokens,
        "conversations a file": armorm_fit.SHARD,
        **{f"{name} rows": _sequences_digest(sequences) for name, sequences in sides.items()},
    }
    return Claim(folder, made_from, "embedded_from.json", "embedding", "states")


def _files_digest(folder: Path) -> str:
    files = sorted(path for path in folder.iterdir() if path.suffix in _WEIGHTS)
    return hashlib.sha256("".join(path.name + file_digest(path) for path in files).encode()).hexdigest()


def _sequences_digest(sequences: Sequence[np.ndarray]) -> str:
    sha = hashlib.sha256()
    for ids in sequences:
        sha.update(len(ids).to_bytes(8, "little") + ids.tobytes())
    return sha.hexdigest()
