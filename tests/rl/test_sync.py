"""The gap between sampler and learner, which proves that new weights arrived."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from rewards.types import Problem
from rl.settings import LoopSettings, PolicySettings, RolloutSettings
from rl.sync import WeightsDidNotArrive, check_gap, gap, sync
from rl.types import AnswerGroup, Sample, TrainBatch

LIMITS = LoopSettings()


def batch_with(behaviour: list[float], learners: list[float]) -> TrainBatch:
    mask = torch.tensor([[False, True, True]])
    return TrainBatch(
        torch.zeros(1, 3, dtype=torch.long),
        torch.ones(1, 3, dtype=torch.bool),
        mask,
        torch.tensor([behaviour]),
        old_logprobs=torch.tensor([learners]),
    )


def test_the_gap_is_taken_on_response_tokens_only() -> None:
    measured = gap(batch_with([9.0, -1.0, -2.0], [0.0, -1.5, -2.0]))
    assert measured == {"mean": 0.25, "max": 0.5}


def test_a_large_gap_says_that_the_weights_did_not_arrive() -> None:
    with pytest.raises(WeightsDidNotArrive, match=r"disagree by 0\.2 nats per token"):
        check_gap({"mean": 0.2, "max": 3.0}, "bf16", LIMITS.logprob_gap_bf16)


def test_a_nan_gap_counts_as_large() -> None:
    with pytest.raises(WeightsDidNotArrive):
        check_gap(gap(batch_with([0.0, float("nan"), 0.0], [0.0, 0.0, 0.0])), "fp32", LIMITS.logprob_gap_fp32)


def test_rounding_differences_are_accepted() -> None:
    check_gap({"mean": 1e-5, "max": 1e-4}, "fp32", LIMITS.logprob_gap_fp32)
    check_gap({"mean": 1e-2, "max": 0.3}, "bf16", LIMITS.logprob_gap_bf16)
    check_gap({"mean": 0.2, "max": 0.3}, "bf16", 0.5)


class Sampler:
    """Engines whose samples have these log-probabilities; they may be `behind` by some syncs, or draw nothing."""

    def __init__(self, engines: int, logprob: float = -1.0, behind: int = 0, tokens: int = 2) -> None:
        self.engines, self.logprob, self.behind, self.tokens = engines, logprob, behind, tokens
        self.version, self.calls, self.asked = 0, [], []

    def load_weights(self, buckets: list[Any], version: int) -> None:
        self.version = version - self.behind
        self.calls.append("load")

    def sample(self, problems: Sequence[Problem], n: int, **how: Any) -> list[AnswerGroup]:
        self.calls.append("sample")
        self.asked = list(problems)
        drawn = Sample((1,), (2,) * self.tokens, (self.logprob,) * self.tokens, "ab", "stop", self.version)
        return [AnswerGroup.drawn(problem, [drawn]) for problem in problems]

    def forget_prefixes(self) -> None:
        self.calls.append("forget")


class Learner:
    """A learner to whom every token has log-probability -1."""

    def weights(self) -> list[Any]:
        return []

    def with_logprobs(self, batch: TrainBatch) -> TrainBatch:
        return replace(batch, old_logprobs=-1.0 * batch.response_mask)


def parts(sampler: Sampler) -> Any:
    settings = SimpleNamespace(
        rollout=RolloutSettings(engines=sampler.engines), policy=PolicySettings("p"), loop=LIMITS
    )
    return SimpleNamespace(settings=settings, sampler=sampler, learner=Learner())


PROBLEMS = [Problem("a", "?"), Problem("b", "?")]


def test_a_sync_is_proved_and_the_prefix_cache_is_dropped_afterwards() -> None:
    sampler = Sampler(engines=1)
    assert sync(parts(sampler), 3, PROBLEMS) == {"sync/proof_mean": 0.0, "sync/proof_max": 0.0}
    assert sampler.calls == ["load", "sample", "forget"]


@pytest.mark.parametrize(("engines", "rows"), [(1, 4), (3, 6), (4, 4), (7, 7)])
def test_every_engine_takes_part_in_the_proof_even_with_few_problems(engines: int, rows: int) -> None:
    sampler = Sampler(engines)
    sync(parts(sampler), 1, PROBLEMS)
    assert len(sampler.asked) == rows and rows % engines == 0


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        (Sampler(1, logprob=-1.1), "disagree by 0.1 nats per token"),
        (Sampler(1, behind=1), r"after sync 3 the engines sample with the weights of sync \[2\]"),
        (Sampler(1, tokens=0), "after sync 3 the engines sampled no tokens"),
    ],
)
def test_weights_that_did_not_arrive_are_found_right_after_the_sync(sampler: Sampler, message: str) -> None:
    with pytest.raises(WeightsDidNotArrive, match=message):
        sync(parts(sampler), 3, PROBLEMS)
