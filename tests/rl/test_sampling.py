"""Sampler and learner together on the real stack: samples, weight syncs, and what the log-probability gap catches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import ray
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rewards.types import Problem
from rl.alignment import pad_rollout
from rl.learner.group import LearnerGroup
from rl.learner.losses import PolicyLossSettings
from rl.policy import decode
from rl.sampler import SamplerGroup
from rl.settings import ClusterSettings, LearnerSettings, LoopSettings, PolicySettings, Precision, RolloutSettings
from rl.sync import WeightsDidNotArrive, check_gap, gap, prove_arrival, sync
from rl.types import AnswerGroup, TrainBatch
from rl.weights import Bucket, unpack
from tests.tiny import make_llama, make_tokenizer

pytestmark = pytest.mark.e2e

TEMPERATURE = 0.7
LIMIT = {"fp32": LoopSettings().logprob_gap_fp32, "bf16": LoopSettings().logprob_gap_bf16}
ROLLOUT = RolloutSettings(max_new_tokens=24, max_model_len=160)
# Long enough for whole blocks of the prefix cache.
PROBLEMS = [Problem(f"p{i}", f"Tom buys {i} bags of 4 apples, then finds 5 apples. " * 2) for i in range(6)]


@dataclass
class Pair:
    """A sampler and a learner that started from the same weights."""

    sampler: SamplerGroup
    learner: LearnerGroup
    starved: SamplerGroup  # an engine that asked for more memory than any machine has
    rollout: RolloutSettings = ROLLOUT
    dtype: Precision = "fp32"

    def parts(self) -> Any:
        """What `sync` needs of a run."""
        settings = SimpleNamespace(
            rollout=replace(self.rollout, temperature=TEMPERATURE),
            policy=PolicySettings("p", self.dtype),
            loop=LoopSettings(),
        )
        return SimpleNamespace(settings=settings, sampler=self.sampler, learner=self.learner)

    def sync(self, version: int) -> dict[str, float]:
        return sync(self.parts(), version, PROBLEMS)


def learner_group(folder: Path, cluster: ClusterSettings, logs: Path, **keys: object) -> LearnerGroup:
    settings = LearnerSettings(**({"learning_rate": 1e-3, "micro_batch_tokens": 1000} | keys))  # type: ignore[arg-type]
    return LearnerGroup(
        PolicySettings(str(folder), "bf16" if "bf16" in folder.name else "fp32"),
        settings,
        cluster,
        loss=PolicyLossSettings(kl=0.01),
        temperature=TEMPERATURE,
        total_updates=10,
        seed=0,
        log_folder=logs,
        with_reference=True,
    )


@pytest.fixture(scope="module")
def pair(cluster: ClusterSettings, policy_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    logs = tmp_path_factory.mktemp("run") / "logs"
    policy = PolicySettings(str(policy_folder))
    sampler = SamplerGroup(policy, ROLLOUT, cluster, log_folder=logs)
    learner = learner_group(policy_folder, cluster, logs)
    starved = SamplerGroup(policy, replace(ROLLOUT, kv_cache_gib=100_000), cluster, log_folder=logs / "starved")
    yield Pair(sampler, learner, starved)
    for group in (sampler, learner, starved):
        group.shutdown()


def draw(sampler: SamplerGroup, seed: int) -> list[AnswerGroup]:
    return sampler.sample(PROBLEMS, 4, temperature=TEMPERATURE, seed=seed)


def batch_of(pair: Pair, seed: int) -> tuple[TrainBatch, dict[str, float]]:
    """A rollout ready to train on, and the gap between its sampler and the learner."""
    batch = pad_rollout(draw(pair.sampler, seed), pair.sampler.tokenizer.pad_token_id)
    batch = pair.learner.with_logprobs(batch)
    generator = torch.Generator().manual_seed(seed)
    advantages = torch.randn(len(batch), 1, generator=generator) * batch.response_mask
    return replace(batch, advantages=advantages, old_logprobs=None), gap(batch)


def test_samples_contain_what_the_engine_drew(pair: Pair) -> None:
    groups = draw(pair.sampler, seed=1)
    assert [group.problem for group in groups] == PROBLEMS
    eos = pair.sampler.tokenizer.eos_token_id
    for sample in (sample for group in groups for sample in group.samples):
        assert len(sample.response_ids) == len(sample.logprobs) <= ROLLOUT.max_new_tokens
        assert sample.text == decode(pair.sampler.tokenizer, sample.response_ids)
        assert sample.weight_version == 0
        assert sample.prompt_ids.count(pair.sampler.tokenizer.bos_token_id) == 1
        if sample.finish_reason == "stop":
            assert sample.response_ids[-1] == eos
        else:
            assert sample.finish_reason == "length"
            assert len(sample.response_ids) == ROLLOUT.max_new_tokens


def test_the_same_seed_repeats_the_samples_and_another_does_not(pair: Pair) -> None:
    def drawn(seed: int) -> list[tuple[int, ...]]:
        return [sample.response_ids for group in draw(pair.sampler, seed) for sample in group.samples]

    assert drawn(5) == drawn(5)
    assert drawn(5) != drawn(6)


def test_greedy_takes_the_most_likely_token_each_time(pair: Pair, policy_folder: Path) -> None:
    (group,) = pair.sampler.sample(PROBLEMS[:1], 1, greedy=True, max_new_tokens=8)
    (sample,) = group.samples
    model = AutoModelForCausalLM.from_pretrained(policy_folder, dtype=torch.float32)
    prompt = torch.tensor([sample.prompt_ids])
    expected = model.generate(prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=8)
    assert tuple(expected[0, prompt.shape[1] :].tolist()) == sample.response_ids


def test_a_prompt_too_long_for_the_engine_is_refused_by_its_problem_id(pair: Pair) -> None:
    with pytest.raises(ValueError, match=r"problem long: its prompt has \d+ tokens.*leaves 136"):
        pair.sampler.sample([Problem("long", "apples " * 200)], 1)
    with pytest.raises(ValueError, match="problem empty: the prompt is empty"):
        pair.sampler.sample([Problem("empty", " ")], 1)


def test_after_a_sync_sampler_and_learner_agree(pair: Pair) -> None:
    batch, measured = batch_of(pair, seed=1)
    assert measured["max"] < 1e-4
    pair.learner.update(batch, seed=0)
    proof = pair.sync(1)
    assert 0 <= proof["sync/proof_mean"] <= proof["sync/proof_max"] < 1e-4
    batch, measured = batch_of(pair, seed=2)
    assert measured["max"] < 1e-4
    check_gap(measured, "fp32", LIMIT["fp32"])
    assert draw(pair.sampler, seed=3)[0].samples[0].weight_version == 1


def test_a_skipped_sync_is_detected(pair: Pair) -> None:
    batch, _ = batch_of(pair, seed=4)
    pair.learner.update(batch, seed=0)
    _, measured = batch_of(pair, seed=5)
    with pytest.raises(WeightsDidNotArrive):
        check_gap(measured, "fp32", LIMIT["fp32"])
    with pytest.raises(WeightsDidNotArrive, match="disagree by"):
        prove_arrival(pair.parts(), 1, PROBLEMS)
    pair.sync(2)
    with pytest.raises(WeightsDidNotArrive, match=r"after sync 3 the engines sample with the weights of sync \[2\]"):
        prove_arrival(pair.parts(), 3, PROBLEMS)
    check_gap(batch_of(pair, seed=5)[1], "fp32", LIMIT["fp32"])


def test_an_update_reports_what_it_did(pair: Pair) -> None:
    batch, _ = batch_of(pair, seed=8)
    metrics = pair.learner.update(batch, seed=0)
    assert metrics["tokens"] == float(batch.response_mask.sum())
    assert metrics["kl"] > 0
    assert metrics["loss"] == pytest.approx(metrics["policy_loss"] + metrics["kl_loss"])
    assert metrics["entropy"] == pytest.approx(-float(batch.behaviour_logprobs.sum()) / metrics["tokens"], rel=0.5)


def test_too_little_memory_is_an_error_that_names_the_key_to_change(pair: Pair) -> None:
    with pytest.raises(ValueError, match=r"too little memory for its KV cache: change rollout\.kv_cache_gib"):
        pair.starved.wait()


def test_a_checkpoint_with_another_layout_is_refused(pair: Pair, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no complete learner checkpoint"):
        pair.learner.load_checkpoint(tmp_path)
    pair.learner.save_checkpoint(tmp_path)
    pair.learner.load_checkpoint(tmp_path)
    mark = tmp_path / "learner.json"
    mark.write_text(mark.read_text().replace('"learner.ranks": 1', '"learner.ranks": 2'))
    with pytest.raises(ValueError, match=r"learner\.ranks=2, this run has 1"):
        pair.learner.load_checkpoint(tmp_path)


def test_a_loss_that_is_not_finite_stops_the_update_and_saves_the_batch(pair: Pair) -> None:
    batch, _ = batch_of(pair, seed=9)
    assert batch.advantages is not None
    batch.advantages[0, :] = float("nan")
    with pytest.raises(RuntimeError, match=r"loss is not finite.*the batch is saved in"):
        pair.learner.update(batch, seed=0)
    saved = torch.load(pair.learner.log_folder.parent / "bad_batch.pt")
    assert torch.equal(saved["input_ids"], batch.input_ids)


def test_a_saved_bf16_policy_loads_everywhere_and_syncs(cluster: ClusterSettings, tmp_path: Path) -> None:
    """Two ranks under ZeRO-3, two engines, an output head tied to the embedding; then what happens when they fail."""
    start = make_llama(tmp_path / "start-bf16", make_tokenizer(), hidden=128, spread=0.07, tied=True)
    learner = learner_group(start, cluster, tmp_path / "logs", ranks=2, zero_stage=3)
    saved = tmp_path / "saved-bf16"
    learner.save_policy(saved)
    weights = dict(pair for bucket in ray.get(learner.weights(100_000)) for pair in unpack(bucket))
    loaded = AutoModelForCausalLM.from_pretrained(saved)
    assert loaded.dtype == torch.bfloat16
    assert all(torch.equal(loaded.get_parameter(name), value) for name, value in weights.items())
    assert AutoTokenizer.from_pretrained(saved).chat_template == make_tokenizer().chat_template
    assert loaded.config.use_cache

    rollout = replace(ROLLOUT, engines=2)
    sampler = SamplerGroup(PolicySettings(str(saved), "bf16"), rollout, cluster, log_folder=tmp_path / "logs")
    both = Pair(sampler, learner, sampler, rollout, "bf16")
    batch, measured = batch_of(both, seed=1)
    assert measured["mean"] < 1e-2
    learner.update(batch, seed=0)
    _, measured = batch_of(both, seed=2)
    with pytest.raises(WeightsDidNotArrive):
        check_gap(measured, "bf16", LIMIT["bf16"])
    both.sync(1)
    _, measured = batch_of(both, seed=2)
    assert measured["max"] < 5e-2

    broken = ray.put(Bucket((), np.zeros(0, dtype=np.uint8)))
    ray.internal.free([broken])
    with pytest.raises(RuntimeError, match=r"weight sync 2 failed, engine-[01] is unusable"):
        sampler.load_weights([broken], 2)
    with pytest.raises(RuntimeError, match=r"engine-[01] is unusable because a weight sync failed"):
        draw(sampler, seed=1)
    ray.kill(learner.ranks[1])
    with pytest.raises(RuntimeError, match=r"learner update: .*learner-[01]"):
        learner.update(batch, seed=0)
    learner.shutdown()
    sampler.shutdown()
