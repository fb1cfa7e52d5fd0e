"""Install packages that only one command needs, and that are not in the locked stack, into a separate folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements"


def install(lock: str, folder: Path) -> None:
    """Install the packages in requirements/`lock`, without their dependencies, into `folder`.

    Raises RuntimeError, in one line, if pip fails.
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
        errors = [line for line in done.stderr.splitlines() if "error" in line.lower()] or ["it gave no reason"]
        raise RuntimeError(f"pip cannot install requirements/{lock}: {errors[-1].strip()}")
