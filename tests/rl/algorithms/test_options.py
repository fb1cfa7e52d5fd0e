"""Every option of every algorithm does something: another loss, other advantages or pairs, another plan, a refusal."""

from __future__ import annotations

import dataclasses
import importlib
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
import torch
from omegaconf import OmegaConf

from rewards.types import Score
from rl.algorithms import Algorithm
from rl.learner.losses import PolicyLossSettings
from rl.settings import CriticSettings
from rl.types import Preferences, TrainBatch
from tests.rl.algorithms.scored import scored_batch

pytestmark = pytest.mark.e2e  # importing OpenRLHF takes many seconds

FILES = {path.stem: path for path in (Path(__file__).parents[3] / "configs" / "algorithm").glob("*.yaml")}

OTHER_VALUES: dict[str, list[Any]] = {
    "objectives": [{"verifier": 1.0}],
    "constant_length": [7],
    "dual_clip": [1.01],
    "kl_target": [3.0],
    "overlong_limit": [5],
    "gamma": [0.5],
    "lam": [0.5],
    "correction_low": [0.97, 1.2],
    "correction_high": [1.02],
    "kl_horizon": [7],
    "margin": [0.25],
    "label_smoothing": [0.1],
}
"""Values to try where the type does not tell; numbers are otherwise doubled, or set to 3 where they are 0."""

CONTEXT: dict[str, dict[str, Any]] = {
    "correction_mode": {"correction": "token", "correction_low": 0.9, "correction_high": 1.1},
    "correction_low": {"correction": "token"},
    "correction_high": {"correction": "token"},
    "kl_in": {"kl": 0.1, "kl_estimator": "k2"},
    "kl_estimator": {"kl": 0.1, "kl_in": "reward"},
    "kl_target": {"kl": 0.1, "kl_in": "reward"},
    "kl_horizon": {"kl": 0.1, "kl_in": "reward", "kl_target": 3.0},
    "min_form_temperature": {
        "GRPO": {"credit": "min_form", "baseline": "leave_one_out", "scale": "none"},
        "PPO": {"credit": "steps", "shaping": "min_form"},
    },
    "clip_eta": {"credit": "steps", "shaping": "clip"},
    "overlong_limit": {"overlong_buffer": 2, "overlong_limit": 8},
    "overlong_buffer": {"overlong_limit": 8, "overlong_buffer": 2},
    "constant_length": {"aggregation": "constant", "constant_length": 5},
    "ratio": {"aggregation": "sequence"},
    "baseline": {"scale": "none"},
    "centre": {"credit": "steps"},
    "shaping": {"credit": "steps"},
}
"""The other options under which an option acts, where it does not act on its own."""

SILENT = {"kl_in", "kl_estimator"}
"""Options that may say nothing on their own: where KL goes is harmless while kl=0, and relatives of GRPO set it."""


def config_of(name: str) -> dict[str, Any]:
    config = OmegaConf.load(FILES[name])
    for parent in config.pop("defaults", []):
        config = OmegaConf.merge(OmegaConf.create(config_of(parent)), config)
    whole = OmegaConf.create({"algorithm": config, "rollout": {"max_new_tokens": 26}})
    return OmegaConf.to_container(whole, resolve=True)["algorithm"]


@cache
def algorithm_of(name: str) -> Any:
    config = config_of(name)
    module, _, kind = config.pop("_target_").rpartition(".")
    if "critic" in config:
        config["critic"] = CriticSettings(**{key: config["critic"][key] for key in config["critic"] if key[0] != "_"})
    algorithm = getattr(importlib.import_module(module), kind)(**config)
    assert isinstance(algorithm, Algorithm)
    return algorithm


def other_values(algorithm: Any, name: str) -> list[Any]:
    value, hint = getattr(algorithm, name), get_type_hints(type(algorithm))[name]
    if name in OTHER_VALUES:
        return [other for other in OTHER_VALUES[name] if other != value]
    if get_origin(hint) is Literal:
        return [other for other in get_args(hint) if other != value]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, CriticSettings):
        return [dataclasses.replace(value, learning_rate=1.0)]
    return [type(value)(value * 2) if value else 3]


def scored() -> Any:
    """Two groups of three with steps, parts and matches; every log-probability is a little off every other."""
    texts = [["ab\ncd", "abcdef\nab", "a\nb\nc"], ["abc\nabc", "ab\nabcd", "ab\na"]]
    groups = []
    for number, group in enumerate(texts):
        scores = []
        for place, text in enumerate(group):
            lines = text.split("\n")
            ends = [sum(len(line) + 1 for line in lines[: end + 1]) - 1 for end in range(len(lines))]
            steps = [0.9 / (1 + index + place + 2 * number) for index in range(len(lines))]
            spans = list(zip([0, *(end + 1 for end in ends[:-1])], ends, strict=True))
            parts = {"verifier": float(place == number)}
            matches = {other: float(place > other) for other in range(3) if other != place}
            scores.append(
                Score.of(0.08 * place**2 + 0.3 * number, steps=steps, spans=spans, parts=parts, matches=matches)
            )
        groups.append(scores)
    made = scored_batch(groups, texts, cut=[1])
    generator = torch.Generator().manual_seed(3)
    batch, mask = made.batch, made.batch.response_mask

    def noise(scale: float) -> torch.Tensor:
        return scale * torch.randn(mask.shape, generator=generator) * mask

    batch.old_logprobs = -mask.float() + noise(0.3)
    batch.behaviour_logprobs = batch.old_logprobs + noise(0.2)
    batch.reference_logprobs = batch.old_logprobs + noise(0.3)
    batch.values = noise(1.0)
    return made


def loss_of(algorithm: Any, data: TrainBatch | Preferences, monkeypatch: pytest.MonkeyPatch) -> float:
    """The loss as the learner takes it, for a policy that has moved from `old_logprobs`."""
    import rl.learner.policy as policy
    import rl.learner.preference as preference

    def moved(actor: Any, rows: TrainBatch, temperature: float) -> torch.Tensor:
        wave = torch.sin(torch.arange(rows.response_mask.numel()).float()).reshape(rows.response_mask.shape)
        old = torch.zeros(()) if rows.old_logprobs is None else rows.old_logprobs
        return (old + 0.4 * wave - 1e-2) * rows.response_mask

    settings = algorithm.loss()
    around = {"loss": settings, "strategy": SimpleNamespace(device="cpu", world_size=1), "actor": None}
    if isinstance(settings, PolicyLossSettings):
        assert isinstance(data, TrainBatch)
        monkeypatch.setattr(policy, "token_logprobs", moved)
        learner: Any = SimpleNamespace(**around, _reference_of=lambda rows: rows.reference_logprobs)
        learner.setup = SimpleNamespace(temperature=1.0)
        learner.loss_terms = policy.policy_loss(settings)
        if not settings.kl:
            data = dataclasses.replace(data, reference_logprobs=None)
        step = SimpleNamespace(tokens=int(data.response_mask.sum()), sequences=len(data))
        return float(policy.PolicyLearner._micro_loss(learner, data_rows(data), step)[0])
    monkeypatch.setattr(preference, "token_logprobs", moved)
    pair_loss = preference.DPOLoss(settings.beta, settings.label_smoothing, settings.ipo)
    assert isinstance(data, Preferences)
    reference = 0.9 * moved(None, data.batch, 1.0)
    data = dataclasses.replace(data, batch=dataclasses.replace(data.batch, reference_logprobs=reference))
    learner = SimpleNamespace(**around, pair_loss=pair_loss)
    return float(preference.PreferenceLearner._micro_loss(learner, data, list(range(len(data))))[0])


def data_rows(batch: TrainBatch) -> TrainBatch:
    return batch.select(list(range(len(batch))))


def outcome(algorithm: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """All that an algorithm decides: its plan, what it makes of two rollouts one after the other, and its loss."""
    plan = [
        algorithm.needs_reference,
        algorithm.needs_old_logprobs,
        algorithm.refresh_every,
        algorithm.critic,
        algorithm.group_relative,
        algorithm.needs_steps,
        algorithm.needs_matches,
        algorithm.dynamic_sampling,
    ]
    numbers: list[float] = []
    for _ in range(2):  # what is steered shows in the second only
        data = algorithm.prepare(scored()).data
        paired = [data.chosen, data.rejected] if isinstance(data, Preferences) else []
        sides = [data.batch.select(rows) for rows in paired] or [data]
        for side in sides:
            for tensor in (side.input_ids, side.advantages, side.returns):
                numbers += [] if tensor is None else [round(float(x), 6) for x in tensor.flatten()]
        numbers.append(round(loss_of(algorithm, data, monkeypatch), 6))
    return plan, numbers


OPTIONS = [
    (name, field.name) for name in sorted(FILES) for field in dataclasses.fields(algorithm_of(name)) if field.init
]


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_changing_an_option_changes_the_loss_or_the_plan_or_is_refused(
    name: str, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    algorithm = algorithm_of(name)
    for value in [] if option in SILENT else other_values(algorithm, option):
        assert acts(algorithm, option, value, monkeypatch), f"{option}={value} is accepted and changes nothing"


@pytest.mark.parametrize(("name", "option"), [pair for pair in OPTIONS if pair[0] in ("grpo", "gspo", "ppo", "dpo")])
def test_an_option_changes_the_loss_or_the_plan_when_it_applies(
    name: str, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = CONTEXT.get(option, {})
    if (name, option) in (("gspo", "aggregation"), ("gspo", "constant_length")):
        pytest.skip("sequence ratios need means of sequences")
    algorithm = dataclasses.replace(algorithm_of(name), **context.get(type(algorithm_of(name)).__name__, context))
    for value in other_values(algorithm, option):
        if acts(algorithm, option, value, monkeypatch, refusals=False):
            return
    raise AssertionError(f"{option} never does anything")


def acts(algorithm: Any, option: str, value: Any, monkeypatch: pytest.MonkeyPatch, *, refusals: bool = True) -> bool:
    """Whether this value changes anything, or is refused by its name."""
    try:
        changed = dataclasses.replace(algorithm, **{option: value})
    except ValueError as error:
        return refusals and bool(str(error))
    return outcome(changed, monkeypatch) != outcome(algorithm, monkeypatch)
