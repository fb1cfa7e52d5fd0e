"""Each option of sampling on the real engine with the shipped policy, against transformers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from rewards.types import Problem
from rl.alignment import pad_rollout, token_ends
from rl.learner.group import LearnerGroup
from rl.learner.losses import PolicyLossSettings
from rl.policy import decode
from rl.sampler import SamplerGroup
from rl.settings import ClusterSettings, LearnerSettings, PolicySettings, RolloutSettings
from rl.stops import stop_ids
from rl.sync import gap
from rl.truncation import Truncation
from rl.types import AnswerGroup, Sample

pytestmark = pytest.mark.e2e

POLICY = Path(__file__).parents[2] / "rl/tasks/arithmetic/models/policy"
ROLLOUT = RolloutSettings(max_new_tokens=64, max_model_len=256)
PROBLEMS = [
    Problem(
        str(i), f"Tom has {i} pens. Day 1: doubles them. Day 2: buys {i}. Day 3: eats 2. How many pens does Tom have?"
    )
    for i in range(3, 9)
]
TEMPERATURE = 1.3  # hot, so that there is much to cut off
TRUNCATIONS = [
    Truncation(top_k=2),
    Truncation(top_p=0.8),
    Truncation(min_p=0.2),
    Truncation(top_k=5, top_p=0.9, min_p=0.02),
]


@pytest.fixture(scope="module")
def sampler(cluster: ClusterSettings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SamplerGroup]:
    logs = tmp_path_factory.mktemp("run") / "logs"
    group = SamplerGroup(PolicySettings(str(POLICY)), ROLLOUT, cluster, log_folder=logs)
    yield group
    group.shutdown()


@pytest.fixture(scope="module")
def model() -> AutoModelForCausalLM:
    return AutoModelForCausalLM.from_pretrained(POLICY, dtype=torch.float32).eval()


def options(truncation: Truncation) -> dict[str, float]:
    return {"temperature": TEMPERATURE, **vars(truncation)}


def samples_of(groups: Sequence[AnswerGroup]) -> list[Sample]:
    return [sample for group in groups for sample in group.samples]


@torch.no_grad()
def renormalized(model: AutoModelForCausalLM, sample: Sample, truncation: Truncation) -> list[float]:
    """log mu of each token of a response: the probabilities that are kept, one position after the other, made to sum
    to 1."""
    ids = torch.tensor([sample.prompt_ids + sample.response_ids])
    logits = model(ids).logits[0, len(sample.prompt_ids) - 1 : -1] / TEMPERATURE
    logprobs = []
    for token, probabilities in zip(sample.response_ids, logits.softmax(dim=-1), strict=True):
        kept = probabilities >= truncation.min_p * probabilities.max()
        if truncation.top_k:
            kept &= probabilities >= probabilities[kept].sort().values[-truncation.top_k :].min()
        order = probabilities.argsort(descending=True)[: int(kept.sum())]
        mass, total, count = 0.0, float(probabilities[order].sum()), 0
        while count < len(order) and (count == 0 or mass < truncation.top_p * total):
            mass, count = mass + float(probabilities[order[count]]), count + 1
        assert token in order[:count], "the engine drew a token that is not kept"
        logprobs.append(float((probabilities[token] / probabilities[order[:count]].sum()).log()))
    return logprobs


@pytest.mark.parametrize("truncation", [Truncation(), *TRUNCATIONS], ids=str)
def test_the_engine_reports_log_probabilities_renormalized_over_the_kept_tokens(
    sampler: SamplerGroup, model: AutoModelForCausalLM, truncation: Truncation
) -> None:
    for sample in samples_of(sampler.sample(PROBLEMS, 4, seed=1, **options(truncation))):
        torch.testing.assert_close(
            torch.tensor(sample.logprobs), torch.tensor(renormalized(model, sample, truncation)), atol=2e-4, rtol=1e-4
        )


@pytest.mark.parametrize("truncation", TRUNCATIONS, ids=str)
def test_the_learner_compares_log_probabilities_of_the_same_distribution(
    sampler: SamplerGroup, cluster: ClusterSettings, tmp_path: Path, truncation: Truncation
) -> None:
    learner = LearnerGroup(
        PolicySettings(str(POLICY)),
        LearnerSettings(ranks=2),
        cluster,
        loss=PolicyLossSettings(),
        temperature=TEMPERATURE,
        truncation=truncation,
        total_updates=1,
        seed=0,
        log_folder=tmp_path / "logs",
        with_reference=False,
    )
    try:
        batch = learner.with_logprobs(pad_rollout(sampler.sample(PROBLEMS, 4, seed=2, **options(truncation)), 0))
    finally:
        learner.shutdown()
    assert batch.kept_logprobs is not None and batch.old_logprobs is not None
    assert gap(batch)["max"] < 1e-3
    unlike = (batch.behaviour_logprobs - batch.old_logprobs)[batch.response_mask].mean()
    assert unlike > 0.01, "the full softmax is another distribution"


def test_a_stop_text_ends_a_response_and_stays_in_it_with_all_log_probabilities(
    sampler: SamplerGroup, model: AutoModelForCausalLM
) -> None:
    free = samples_of(sampler.sample(PROBLEMS, 4, seed=3))
    stop = "\nDay 2:"
    assert sum(stop in sample.text for sample in free) > 12, "the text must be common for this test to say anything"
    before, sampler.stops = sampler.stops, {"stop": (stop,), "stop_ids": ()}
    try:
        stopped = samples_of(sampler.sample(PROBLEMS, 4, seed=3))
    finally:
        sampler.stops = before
    for sample in stopped:
        assert sample.text == decode(sampler.tokenizer, sample.response_ids)
        assert len(sample.logprobs) == len(sample.response_ids)
        if stop in sample.text:
            assert sample.finish_reason == "stop"
            ends = token_ends(sampler.tokenizer, sample.response_ids)
            complete = sample.text.index(stop) + len(stop)
            assert len(ends) == 1 or ends[-2] < complete, "the last token is the one that completes the text"
        ids = torch.tensor([sample.prompt_ids + sample.response_ids])
        with torch.no_grad():
            logprobs = model(ids).logits[0, len(sample.prompt_ids) - 1 : -1].log_softmax(dim=-1)
        expected = logprobs.gather(1, torch.tensor(sample.response_ids)[:, None])[:, 0]
        torch.testing.assert_close(torch.tensor(sample.logprobs), expected, atol=2e-4, rtol=1e-4)
    assert sum(stop in sample.text for sample in stopped) > 12


@pytest.mark.parametrize("kind", ["special token as a text", "token id"])
def test_special_tokens_and_token_ids_also_end_a_response(sampler: SamplerGroup, kind: str) -> None:
    newline = sampler.tokenizer("4\nD", add_special_tokens=False)["input_ids"][1]
    by_text = {"stop": ("<|end|>",), "stop_ids": ()}
    before = sampler.stops
    sampler.stops = by_text if kind.startswith("special") else {"stop": (), "stop_ids": (newline,)}
    try:
        drawn = samples_of(sampler.sample(PROBLEMS, 4, seed=4))
    finally:
        sampler.stops = before
    last = sampler.tokenizer.eos_token_id if kind.startswith("special") else newline
    ended = [sample for sample in drawn if sample.response_ids[-1] == last]
    assert len(ended) > 12
    assert all(
        sample.finish_reason == "stop" and sample.response_ids.index(last) == len(sample.response_ids) - 1
        for sample in ended
    )


def test_a_policy_stops_at_the_end_of_turn_even_if_that_is_not_its_eos_token(
    cluster: ClusterSettings, tmp_path: Path
) -> None:
    other = wrongly_declared(tmp_path / "policy")
    sampler = SamplerGroup(PolicySettings(str(other)), ROLLOUT, cluster, log_folder=tmp_path / "logs")
    try:
        drawn = samples_of(sampler.sample(PROBLEMS, 4, seed=5))
        end = sampler.tokenizer.convert_tokens_to_ids("<|end|>")
        assert stop_ids(sampler.tokenizer, ROLLOUT) == (end,)
    finally:
        sampler.shutdown()
    assert all(sample.finish_reason == "stop" and sample.response_ids[-1] == end for sample in drawn)
    assert not any("<|end|>" in sample.text for sample in drawn)


def wrongly_declared(folder: Path) -> Path:
    """A copy of the shipped policy that declares <|pad|> to be its eos_token in all three files."""
    import json
    import shutil

    shutil.copytree(POLICY, folder)
    for name, key, value in (
        ("tokenizer_config.json", "eos_token", "<|pad|>"),
        ("config.json", "eos_token_id", 0),
        ("generation_config.json", "eos_token_id", 0),
    ):
        file = folder / name
        file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    return folder
