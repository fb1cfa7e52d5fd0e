"""New weights for the engines, and the proof that they arrived.

The proof is the gap: right after a sync the engine's log-probabilities of its own samples must equal the learner's.
"""

from __future__ import annotations

from rl.learner.group import LearnerGroup
from rl.sampler import SamplerGroup
from rl.settings import Precision
from rl.types import TrainBatch


class WeightsDidNotArrive(RuntimeError):
    """The sampler's log-probabilities are not those of the learner's weights."""


def sync(learner: LearnerGroup, sampler: SamplerGroup, version: int) -> None:
    """Give every engine the learner's present weights, drop its prefix cache and set its weight version.

    Raises RuntimeError if an engine could not load the weights; that engine refuses all later calls.
    """
    sampler.load_weights(learner.weights(), version)


def gap(batch: TrainBatch) -> dict[str, float]:
    """How far the sampler's log-probabilities are from the learner's on response tokens, in nats.

    `batch.old_logprobs` must be there (`LearnerGroup.with_logprobs`). Returns the mean and the maximum of the absolute
    differences; both 0 for a batch without response tokens, NaN if a log-probability is NaN.
    """
    assert batch.old_logprobs is not None
    differences = (batch.behaviour_logprobs - batch.old_logprobs).abs()[batch.response_mask]
    if not len(differences):
        return {"mean": 0.0, "max": 0.0}
    return {"mean": float(differences.mean()), "max": float(differences.max())}


def check_gap(measured: dict[str, float], dtype: Precision, limit: float) -> None:
    """Raise WeightsDidNotArrive if the mean gap is more than rounding explains: above `limit`, in nats per token.

    `LoopSettings.logprob_gap` has the limits. The mean decides, not the maximum: in bf16 a single unlikely token can
    differ by much.
    """
    if not measured["mean"] <= limit:
        raise WeightsDidNotArrive(
            f"sampler and learner disagree by {measured['mean']:.2g} nats per token on average (at most "
            f"{measured['max']:.2g}; logprob_gap_{dtype} allows {limit:g}): the weights did not arrive in the sampler, "
            "or its prefix cache is an older policy's"
        )
