"""A tiny policy and small problem files, for whatever needs a configuration that works."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable

import pytest

import rl
from launch import configuration
from launch.composition import compose
from rl.progress import Evaluation, Summary
from rl.run_settings import RunSettings
from tests.tiny import make_llama, make_tokenizer


@pytest.fixture(scope="session")
def policy(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of a random policy."""
    return str(make_llama(tmp_path_factory.mktemp("policy"), make_tokenizer()))


@pytest.fixture(scope="session")
def problem_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Files for training and evaluation, in a form that every file task reads."""
    folder = tmp_path_factory.mktemp("problems")
    for name, numbers in (("train", range(20)), ("test", range(20, 40))):
        rows = [
            {"problem": f"{n} + 1?", "question": f"{n} + 1?", "answer": f"#### {n + 1}", "id": f"{n}"} for n in numbers
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder / "train.jsonl"), str(folder / "test.jsonl")


@pytest.fixture
def words(policy: str) -> list[str]:
    """Overrides with which the defaults need no shipped model and little time."""
    return ["reward=verifier", f"policy.path={policy}", "evaluate_problems=8", "rollout.problems=4"]


@pytest.fixture
def settings_of(words: list[str]) -> Callable[..., RunSettings]:
    """The checked settings of the small configuration with further overrides."""

    def make(*more: str) -> RunSettings:
        (run,) = compose([*words, *more])
        return configuration.check(configuration.plain(run.config), run.choices)

    return make


@pytest.fixture
def loop(monkeypatch, tmp_path):
    """A loop that reports one update; set `loop.error` to make it break. Runs land in an empty working folder."""
    module = types.ModuleType("rl.loop")
    module.seen, module.error = [], None

    def train(settings, run, display):
        module.seen.append(settings)
        display.stage("sample")
        run.log_metrics(1, {"reward/mean": 0.5})
        display.update(1, {"reward/mean": 0.5})
        print("noise of a library")
        if module.error is not None:
            raise module.error
        before, after = Evaluation(0, 0.25, 0.5, 9.0, 8), Evaluation(1, 0.5, 0.5, 9.0, 8)
        return Summary(before, after, 1, 3.0, {"sample": 1.0}, run.path)

    module.train = train
    monkeypatch.setitem(sys.modules, "rl.loop", module)
    monkeypatch.setattr(rl, "loop", module, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py"])
    return module
