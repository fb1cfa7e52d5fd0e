"""A tiny policy and small problem files, for whatever needs a configuration that works."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from launch import configuration
from launch.composition import compose
from rl.settings import RunSettings
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
