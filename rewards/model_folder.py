"""A model's folder that holds no model itself: the commonest slip is to name the folder above it."""

from __future__ import annotations

from pathlib import Path


def hint_inside(folder: str) -> str:
    """`; a model lies in FOLDER/model` where a folder inside has a config.json (a run's, say); else ''."""
    found = sorted(Path(folder).glob("*/config.json"))
    return f"; a model lies in {found[0].parent}" if found else ""
