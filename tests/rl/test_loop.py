"""One learner update from scored responses, round a learner that only remembers what it was asked."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from rewards.types import Score
from rl.algorithms.dpo import DPO
from rl.algorithms.grpo import GRPO
from rl.algorithms.ppo import PPO
from rl.collect import Collected
from rl.loop import learn
from rl.progress import Silent
from rl.settings import LoopSettings, PolicySettings
from rl.types import LogProbs, Preferences, TrainBatch, UpdateReport
from rl.weights import WeightsDidNotArrive
from tests.rl.algorithms.scored import scored_batch


class Learner:
    """Answers with the sampler's own log-probabilities; `calls` says what was asked in which order."""

    def __init__(self, off_by: float = 0.0) -> None:
        self.calls: list[str] = []
        self.data: TrainBatch | Preferences | None = None
        self.off_by = off_by

    def logprobs(self, batch: TrainBatch) -> LogProbs:
        self.calls.append("logprobs")
        zeros = torch.zeros_like(batch.behaviour_logprobs)
        return LogProbs(batch.behaviour_logprobs + self.off_by * batch.response_mask, zeros, zeros)

    def update(self, data: TrainBatch | Preferences, seed: int) -> UpdateReport:
        self.calls.append("update")
        self.data = data
        return UpdateReport({"loss": 0.5})

    def refresh_reference(self) -> None:
        self.calls.append("refresh")


def learnt(algorithm, values: list[list[float]], update: int = 1, learner: Learner | None = None):
    """What `learn` says, and the learner that was asked."""
    learner = learner or Learner()
    scored = scored_batch([[Score.of(value) for value in group] for group in values])
    settings = SimpleNamespace(loop=LoopSettings(), policy=PolicySettings("p"), algorithm=algorithm)
    parts = SimpleNamespace(learner=learner, sampler=SimpleNamespace(tokenizer=scored.tokenizer))
    for samples in scored.rollout.samples:
        for place, sample in enumerate(samples):
            samples[place] = type(sample)(**{**vars(sample), "weight_version": update - 1})
    drawn = Collected(scored.rollout, scored.scores, list(range(len(values))))
    return learn(settings, parts, drawn, update, Silent()), learner


@pytest.mark.parametrize("algorithm", [GRPO(), PPO(), DPO()])
def test_every_algorithm_gives_the_learner_something_to_train_on(algorithm) -> None:
    metrics, learner = learnt(algorithm, [[1.0, 0.0], [0.0, 1.0]])
    assert learner.calls == ["logprobs", "update"]
    assert metrics["learner/loss"] == 0.5 and metrics["learner/rows"] == len(learner.data)
    assert any(name.startswith("credit/") for name in metrics)


def test_without_a_single_pair_the_update_is_skipped_and_that_is_said() -> None:
    metrics, learner = learnt(DPO(), [[1.0, 1.0]])
    assert learner.calls == ["logprobs"]
    assert metrics["learner/rows"] == 0 and "learner/loss" not in metrics


@pytest.mark.parametrize(("every", "refreshed"), [(0, []), (1, [2, 3, 4, 5]), (2, [3, 5])])
def test_the_reference_becomes_the_policy_at_the_start_of_each_iteration(every, refreshed) -> None:
    found = []
    for update in range(1, 6):
        _, learner = learnt(DPO(refresh_every=every), [[1.0, 0.0]], update)
        if "refresh" in learner.calls:
            assert learner.calls[0] == "refresh", "before anything is measured against it"
            found.append(update)
    assert found == refreshed


def test_weights_that_did_not_arrive_stop_the_update() -> None:
    learner = Learner(off_by=0.1)
    with pytest.raises(WeightsDidNotArrive):
        learnt(GRPO(), [[1.0, 0.0]], learner=learner)
    assert "update" not in learner.calls
