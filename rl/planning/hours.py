"""Estimate the hours of a run by stage: the work its settings require, at the speeds of `rl.planning.estimates`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rl.planning.estimates import (
    SPEEDS,
    Decoding,
    Speed,
    decoding_seconds,
    forward_seconds,
    training_seconds,
)
from rl.planning.model_sizes import ModelFacts, facts_of
from rl.planning.placement import RewardModel, reward_models, sequences_at_once
from rl.run_settings import RunSettings


@dataclass(frozen=True)
class Stage:
    """A stage's work over the whole run, in words, and the most seconds it takes (None: unknown)."""

    name: str
    work: str
    seconds: float | None


def stages(settings: RunSettings) -> list[Stage]:
    """Sampling, scoring, learning, evaluating."""
    speed = SPEEDS[settings.cluster.device]
    return [_sample(settings, speed), _score(settings, speed), _learn(settings, speed), _evaluate(settings, speed)]


def together(settings: RunSettings, found: Sequence[Stage]) -> float | None:
    """Seconds of all stages, or None if unknown. With rollout.ahead, all rollouts except the first overlap training."""
    seconds = {stage.name: stage.seconds for stage in found}
    known = [one for one in seconds.values() if one is not None]
    if len(known) < len(seconds):
        return None
    hidden = 0.0
    if settings.rollout.ahead:
        updates = settings.loop.updates
        rollouts = (seconds["sample"] or 0.0) + (seconds["score"] or 0.0)
        hidden = min(rollouts, seconds["learn"] or 0.0) * (updates - 1) / updates
    return sum(known) - hidden


def rows_of(settings: RunSettings) -> int:
    """Responses per rollout."""
    return settings.rollout.problems * settings.rollout.responses


def learned_rows(settings: RunSettings) -> int:
    """The most sequences that the learner trains on per update: all, or those in a preference pair."""
    return settings.rollout.problems * settings.algorithm.rows_per_group(settings.rollout.responses)


def judgements(model: RewardModel, settings: RunSettings) -> int:
    """The most comparisons that a judge makes per update (`rewards.tournament_formats`)."""
    node = settings.reward_config
    for name in model.key.split(".")[1:-1]:
        node = node.get(name, {}) if isinstance(node, dict) else {}
    players = settings.rollout.responses
    a_group = {
        "round_robin": players * (players - 1) // 2,
        "knockout": players - 1,
        "anchor": 2 * players - 2,
        "reference": players - 1,
    }
    kind = str(node.get("format", "knockout")) if isinstance(node, dict) else "knockout"
    orders = 2 if isinstance(node, dict) and node.get("both_orders") else 1
    return settings.rollout.problems * a_group.get(kind, players - 1) * orders


def _sample(settings: RunSettings, speed: Speed) -> Stage:
    loop, rollout = settings.loop, settings.rollout
    draws = 1 + settings.algorithm.dynamic_sampling
    rows = loop.updates * rows_of(settings) * draws
    work = f"{rows:,} responses of at most {rollout.max_new_tokens} tokens"
    if draws > 1:
        work += f" (up to {draws} draws per update: dynamic sampling)"
    facts = facts_of(settings.policy.path)
    seconds = None if facts is None else loop.updates * draws * _drawing(settings, facts, rows_of(settings), speed)
    return Stage("sample", work, seconds)


def _drawing(settings: RunSettings, facts: ModelFacts, rows: int, speed: Speed) -> float:
    rollout = settings.rollout
    work = Decoding(
        sequences=math.ceil(rows / rollout.engines),
        tokens=rollout.max_new_tokens,
        prompt=rollout.max_model_len - rollout.max_new_tokens,
        at_once=sequences_at_once(settings, facts),
        dtype=settings.policy.dtype,
    )
    return decoding_seconds(facts, work, speed)


def _score(settings: RunSettings, speed: Speed) -> Stage:
    rows, updates = rows_of(settings), settings.loop.updates
    models = reward_models(settings)
    words, total = [], 0.0
    for model in models:
        if model.is_judge:
            words.append(f"{updates * judgements(model, settings):,} judgements by {model.model}")
        else:
            words.append(f"{updates * rows:,} responses read by {model.model}")
        total += math.inf if model.facts is None else _scoring(model, model.facts, settings, rows, speed)
    draws = 1 + settings.algorithm.dynamic_sampling
    work = "; ".join(words) or f"{updates * rows:,} responses, no model on this cluster"
    return Stage("score", work, None if math.isinf(total) else updates * draws * total)


def _scoring(model: RewardModel, facts: ModelFacts, settings: RunSettings, rows: int, speed: Speed) -> float:
    """Seconds to score `rows` responses, divided among the replicas."""
    if not model.is_judge:
        tokens = rows * settings.rollout.max_model_len
        return forward_seconds(facts, tokens, speed) / settings.loop.reward_replicas
    written = int(model.node["max_new_tokens"])
    work = Decoding(
        sequences=math.ceil(judgements(model, settings) * rows / rows_of(settings) / settings.loop.reward_replicas),
        tokens=written,
        prompt=max(0, int(model.node.get("context_tokens", 0)) - written),
        at_once=int(model.node.get("max_num_seqs", 256)),
        dtype="bf16" if model.dtype == "bf16" else "fp32",
    )
    return decoding_seconds(facts, work, speed)


def _learn(settings: RunSettings, speed: Speed) -> Stage:
    learner, algorithm, updates = settings.learner, settings.algorithm, settings.loop.updates
    rows, length = learned_rows(settings), settings.rollout.max_model_len
    steps = updates * learner.epochs * learner.minibatches
    work = f"{steps:,} optimizer steps, {learner.epochs} pass(es) over {rows:,} sequences per update"
    facts = facts_of(settings.policy.path)
    if facts is None:
        return Stage("learn", work, None)
    read = rows_of(settings) * length
    before = algorithm.needs_old_logprobs or learner.epochs * learner.minibatches > 1
    seconds = forward_seconds(facts, read * (int(before) + int(algorithm.needs_reference)), speed)
    trained = rows * length * learner.epochs
    seconds += training_seconds(facts, trained, speed, recomputing=learner.gradient_checkpointing)
    if algorithm.critic is not None:
        critic = (None if algorithm.critic.path is None else facts_of(algorithm.critic.path)) or facts
        seconds += forward_seconds(critic, read, speed)
        seconds += training_seconds(critic, trained, speed, recomputing=learner.gradient_checkpointing)
    return Stage("learn", work, updates * seconds / learner.ranks)


def _evaluate(settings: RunSettings, speed: Speed) -> Stage:
    loop = settings.loop
    between = (loop.updates - 1) // loop.evaluate_every if loop.evaluate_every else 0
    times = 2 + between
    work = f"{times} times {loop.evaluate_problems} held-out problems, one response each"
    facts = facts_of(settings.policy.path)
    if facts is None:
        return Stage("evaluate", work, None)
    seconds = _drawing(settings, facts, loop.evaluate_problems, speed)
    for model in reward_models(settings):
        if not model.is_judge and model.facts is not None:  # a judge cannot compare a single response
            seconds += _scoring(model, model.facts, settings, loop.evaluate_problems, speed)
    return Stage("evaluate", work, times * seconds)
