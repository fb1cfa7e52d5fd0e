"""Packages that one command needs and the locked stack does not have: installed by pip into a folder of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements"


def install(lock: str, folder: Path) -> None:
    """Install requirements/`lock`, without what its packages depend on, into `folder`.

    Raises RuntimeError, in one line, where pip cannot.
    """
    options = ["--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "--only-binary", ":all:"]
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        *options,
        "--target",
        str(folder),
        "-r",
        str(REQUIREMENTS / lock),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "error" in line.lower()] or ["it gave no reason"]
        raise RuntimeError(f"pip cannot install requirements/{lock}: {said[-1].strip()}")
