"""Building the world's models: order, stops and going on; the recipes themselves are tested in tests/rl/tasks."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from launch.world import BASES, STAGES, build_all, main, mark

MAKES = "import sys, pathlib; f = pathlib.Path(sys.argv[1]); f.parent.mkdir(); f.write_text('{}'); print(f)"


def say(lines: list[str]):
    return lambda line: lines.append(line)


def test_every_model_is_trained_once_and_after_the_one_it_starts_from(tmp_path: Path) -> None:
    order: list[str] = []

    def command(name: str) -> list[str]:
        order.append(name)
        assert name not in BASES or mark(tmp_path, BASES[name]).is_file()
        return [sys.executable, "-c", MAKES, str(mark(tmp_path, name))]

    assert build_all(tmp_path, 2, command, say([])) is None
    assert sorted(order) == sorted(STAGES)


def test_existing_models_are_not_trained_again(tmp_path: Path) -> None:
    for name in STAGES:
        mark(tmp_path, name).parent.mkdir()
        mark(tmp_path, name).write_text("{}")
    lines: list[str] = []
    assert build_all(tmp_path, 2, lambda name: ["false"], say(lines)) is None
    assert len(lines) == len(STAGES)


def test_a_failed_training_stops_the_build_and_is_named(tmp_path: Path) -> None:
    def command(name: str) -> list[str]:
        return ["sleep", "60"] if name == "school" else ["false"]

    assert build_all(tmp_path, 2, command, say([])) == "policy"


def test_stopping_the_build_stops_its_processes(tmp_path: Path) -> None:
    child = "import os, pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(60)"
    build = (
        "import sys, pathlib; from launch.world import build_all; from rl.run.stopping import install_sigterm_handler; "
        "install_sigterm_handler(); folder = pathlib.Path(sys.argv[1]); "
        f"build_all(folder, 1, lambda name: [sys.executable, '-c', {child!r}, str(folder / 'pid')], print)"
    )
    process = subprocess.Popen([sys.executable, "-c", build, str(tmp_path)])
    while not (tmp_path / "pid").is_file() or not (tmp_path / "pid").read_text():
        assert process.poll() is None
        time.sleep(0.05)
    process.terminate()
    assert process.wait(timeout=20) != 0
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_miniature_training_from_the_command_line(tmp_path: Path) -> None:
    assert main(["--folder", str(tmp_path), "--only", "policy", "--scale", "0.001"]) == 0
    assert mark(tmp_path, "policy").is_file()
    assert main(["--folder", str(tmp_path), "--measure"]) == 2
