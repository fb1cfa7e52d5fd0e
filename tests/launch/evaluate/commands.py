"""launch.evaluate as the tests start it, and what it wrote."""

from __future__ import annotations

import json
from pathlib import Path

from launch.evaluate.__main__ import main
from tests.launch.evaluate import rewards

HERE = rewards.__name__


def reward(name: str) -> str:
    """A word for `rewards=[...]`: a class of the tests, named in lower case."""
    return f"{name.lower()}: verifier _target_={HERE}.{name}"


def evaluate(source: Path, *words: str, folder: str = "found") -> int:
    return main([f"input={source}", f"folder={source.parent / folder}", "resamples=50", *words])


def figures(source: Path, folder: str = "found") -> dict:
    return json.loads((source.parent / folder / "report.json").read_text())
