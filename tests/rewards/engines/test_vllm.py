from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from rewards.outcome import OutcomeReward
from rewards.process import ProcessReward
from tests.rewards.solutions import group, rollout
from tests.tiny import make_llama, make_tokenizer


def scored(folder: str, engine: str) -> tuple[list, list]:
    """Steps by a process reward and values by an outcome reward; vLLM wants a process of its own."""
    groups = [*rollout(), group(["3 * 4 = 12 apples"] * 12, ["12"])]
    process = ProcessReward(folder, engine=engine, device="cpu").score(groups)
    outcome = OutcomeReward(folder, engine=engine, device="cpu").score(groups)
    return (
        [list(score.steps) for scores in process for score in scores],
        [score.value for scores in outcome for score in scores],
    )


@pytest.mark.e2e
@pytest.mark.parametrize("kind", ["simple", "llama31"])
def test_vllm_gives_the_scores_of_transformers(tmp_path, kind):
    folder = str(make_llama(tmp_path, make_tokenizer(kind), hidden=128))
    steps, values = scored(folder, "transformers")
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        other_steps, other_values = pool.submit(scored, folder, "vllm").result(timeout=240)
    for one, other in zip(steps, other_steps, strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    assert values == pytest.approx(other_values, abs=1e-5)
