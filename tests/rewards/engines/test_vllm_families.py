"""Published reward models on vLLM: the scores of transformers."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
import torch

from rewards.types import Group, Problem, Response
from tests.rewards.odd_texts import odd_solutions
from tests.rewards.options import reward_of
from tests.rewards.published_models import PROCESS, SCALAR

FAMILIES = {**PROCESS, **SCALAR}


def scored(folders: dict[str, str], engine: str) -> dict[str, list[list[float]]]:
    """Steps or values by every family on this engine; vLLM wants a process of its own."""
    groups = [
        Group(Problem(str(number), problem), tuple(Response("\n\n".join(steps)) for steps in solutions))
        for number, (problem, solutions) in enumerate(odd_solutions(5, problems=3, each=3))
    ]
    found = {}
    for name, folder in folders.items():
        reward = reward_of(FAMILIES[name].option, folder, engine=engine, device="cpu")
        scores = [score for row in reward.score(groups) for score in row]
        found[name] = [list(score.steps or [score.value]) for score in scores]
    return found


@pytest.mark.e2e
def test_vllm_gives_the_scores_of_transformers(tmp_path):
    torch.manual_seed(0)
    folders = {}
    for name in ("qwen_math_prm", "reasoneval_7b", "qwen_math_rm"):
        (tmp_path / name).mkdir()
        folders[name] = str(FAMILIES[name].make(tmp_path / name))
    expected = scored(folders, "transformers")
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        found = pool.submit(scored, folders, "vllm").result(timeout=240)
    for name, rows in expected.items():
        for one, other in zip(rows, found[name], strict=True):
            assert other == pytest.approx(one, abs=1e-4 if name in SCALAR else 1e-5), name
