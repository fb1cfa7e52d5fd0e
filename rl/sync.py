"""Send new weights to the engines, and prove that they arrived.

The proof is the gap: right after a sync, the engine's log-probabilities of its own samples must equal the learner's.
How old a rollout's weights may be is checked elsewhere (`rl.source.check_age`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import cycle, islice

from rewards.types import Problem
from rl.alignment import pad_rollout
from rl.metrics import Metrics
from rl.parts import Parts
from rl.settings import Precision
from rl.types import TrainBatch

PROOF_ROWS = 4
"""Responses that prove a sync, at least one from each engine."""

PROOF_TOKENS = 16
"""Maximum tokens of each: enough to detect wrong weights in every one."""

PROOF_SEED = 11


class WeightsDidNotArrive(RuntimeError):
    """The sampler's log-probabilities do not match the learner's weights."""


def sync(parts: Parts, version: int, problems: Sequence[Problem]) -> Metrics:
    """Give every engine the learner's current weights, drop its prefix cache, set its weight version, and prove it.

    Returns the gap of the proof: `sync/proof_mean` and `sync/proof_max`. Raises RuntimeError if an engine could not
    load the weights (that engine refuses all later calls), and WeightsDidNotArrive if the proof fails.
    """
    parts.sampler.load_weights(parts.learner.weights(), version)
    return prove_arrival(parts, version, problems)


def prove_arrival(parts: Parts, version: int, problems: Sequence[Problem]) -> Metrics:
    """Let every engine draw a few short responses, and compare their log-probabilities with the learner's.

    Drawn as a rollout is. The prefix caches are dropped afterwards, so that the next rollout is the same as without a
    proof. Raises WeightsDidNotArrive.
    """
    settings, sampler = parts.settings, parts.sampler
    engines = settings.rollout.engines
    rows = engines * math.ceil(PROOF_ROWS / engines)
    groups = sampler.sample(
        list(islice(cycle(problems), rows)),
        1,
        **settings.rollout.sampling,
        max_new_tokens=min(PROOF_TOKENS, settings.rollout.max_new_tokens),
        seed=PROOF_SEED,
    )
    sampler.forget_prefixes()
    versions = {sample.weight_version for group in groups for sample in group.samples}
    if versions != {version}:
        raise WeightsDidNotArrive(
            f"after sync {version} the engines sample with the weights of sync {sorted(versions)}"
        )
    batch = parts.learner.with_logprobs(pad_rollout(groups, pad_id=0))
    if not batch.response_mask.any():
        raise WeightsDidNotArrive(
            f"after sync {version} the engines sampled no tokens: their weights cannot be compared"
        )
    measured = gap(batch)
    check_gap(measured, settings.policy.dtype, settings.loop.logprob_gap(settings.policy.dtype))
    return {f"sync/proof_{name}": value for name, value in measured.items()}


def gap(batch: TrainBatch) -> dict[str, float]:
    """How far the sampler's log-probabilities are from the learner's on response tokens, in nats.

    Needs `batch.old_logprobs` (`LearnerGroup.with_logprobs`). If sampling is truncated, the learner's log-probabilities
    are first renormalized over the kept tokens, as the sampler's are. Returns the mean and the maximum of the absolute
    differences: both 0 for a batch without response tokens, NaN if a log-probability is NaN.
    """
    assert batch.old_logprobs is not None
    learned = batch.old_logprobs if batch.kept_logprobs is None else batch.old_logprobs - batch.kept_logprobs
    differences = (batch.behaviour_logprobs - learned).abs()[batch.response_mask]
    if not len(differences):
        return {"mean": 0.0, "max": 0.0}
    return {"mean": float(differences.mean()), "max": float(differences.max())}


def check_gap(measured: dict[str, float], dtype: Precision, limit: float) -> None:
    """Raise WeightsDidNotArrive if the mean gap is more than rounding explains: above `limit`, in nats per token.

    `LoopSettings.logprob_gap` gives the limits. The mean decides, not the maximum, because in bf16 a single unlikely
    token can differ a lot.
    """
    if not measured["mean"] <= limit:
        raise WeightsDidNotArrive(
            f"sampler and learner disagree by {measured['mean']:.2g} nats per token on average (at most "
            f"{measured['max']:.2g}; logprob_gap_{dtype} allows {limit:g}): the weights did not arrive in the sampler, "
            "or its prefix cache is an older policy's"
        )
