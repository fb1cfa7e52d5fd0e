"""What two settings mean together: pure checks of numbers and objects that are each valid on their own.

Every function returns lines to show, an empty list where all is well. A line names the keys and says what to do.
"""

from __future__ import annotations

from collections.abc import Sequence

from rl.settings import LearnerSettings, LoopSettings, RolloutSettings, RunSettings


def errors(settings: RunSettings) -> list[str]:
    """Combinations that cannot work."""
    return [
        *batch_arithmetic(settings.rollout, settings.learner),
        *warm_up(settings.loop, settings.learner),
        *group_size(settings.algorithm.group_relative, settings.rollout),
    ]


def warnings(settings: RunSettings) -> list[str]:
    """Combinations that work, but not as one may think."""
    return [*truncated_sampling(settings.rollout), *bf16_on_cpu(settings), *evaluation_interval(settings.loop)]


def batch_arithmetic(rollout: RolloutSettings, learner: LearnerSettings) -> list[str]:
    """A rollout must fill every minibatch on every rank, and its longest sequence must fit one forward pass."""
    lines = []
    rows = rollout.problems * rollout.responses
    if learner.minibatches * learner.ranks > rows:
        lines.append(
            f"a rollout has {rows} responses (rollout.problems x rollout.responses), too few for learner.minibatches="
            f"{learner.minibatches} on learner.ranks={learner.ranks}: draw more responses or lower one of the two"
        )
    if learner.micro_batch_tokens < rollout.max_model_len:
        lines.append(
            f"learner.micro_batch_tokens={learner.micro_batch_tokens} is less than rollout.max_model_len="
            f"{rollout.max_model_len}: one long response would not fit a forward pass; raise it to at least that"
        )
    return lines


def warm_up(loop: LoopSettings, learner: LearnerSettings) -> list[str]:
    """The warm-up must end before the run does."""
    steps = loop.updates * learner.epochs * learner.minibatches
    if learner.warmup_updates <= steps:
        return []
    return [
        f"learner.warmup_updates={learner.warmup_updates} is more than the run's {steps} optimizer steps "
        "(updates x learner.epochs x learner.minibatches): lower it"
    ]


def group_size(group_relative: bool, rollout: RolloutSettings) -> list[str]:
    """An algorithm that compares responses to the same problem needs two of them."""
    if group_relative and rollout.responses < 2:
        return [f"rollout.responses={rollout.responses}: this algorithm compares a group's responses; set 2 or more"]
    return []


def prompt_lengths(lengths: Sequence[tuple[str, int]], rollout: RolloutSettings) -> list[str]:
    """Prompts that leave no room for a response of `max_new_tokens`. `lengths`: problem ids with prompt tokens."""
    room = rollout.max_model_len - rollout.max_new_tokens
    too_long = [(length, name) for name, length in lengths if length > room]
    if not too_long:
        return []
    length, name = max(too_long)
    return [
        f"{len(too_long)} of {len(lengths)} prompts looked at are longer than the {room} tokens left by "
        f"rollout.max_model_len={rollout.max_model_len} and rollout.max_new_tokens={rollout.max_new_tokens}; the "
        f"longest, problem {name}, has {length}: set rollout.max_model_len={length + rollout.max_new_tokens} or more"
    ]


def model_length(positions: int | None, rollout: RolloutSettings) -> list[str]:
    """The engine cannot read further than the model has positions. `positions`: None where the model does not say."""
    if positions is None or rollout.max_model_len <= positions:
        return []
    return [f"rollout.max_model_len={rollout.max_model_len} is beyond the policy's {positions} positions: lower it"]


def memory(available_gib: float, settings: RunSettings) -> list[str]:
    """On CPU every engine takes its KV cache from the machine's memory, beside about 2 GiB of its own."""
    if settings.cluster.device != "cpu" or settings.cluster.address is not None:
        return []
    needed = settings.rollout.engines * (settings.rollout.kv_cache_gib + 2.0)
    if needed <= available_gib:
        return []
    return [
        f"rollout.engines={settings.rollout.engines} with rollout.kv_cache_gib={settings.rollout.kv_cache_gib} need "
        f"about {needed:.0f} GiB, but {available_gib:.1f} GiB of memory are free: lower one of the two"
    ]


def devices(gpus: int, settings: RunSettings) -> list[str]:
    """A GPU must be there where one is asked for. `gpus`: how many this machine has."""
    if settings.cluster.device == "cuda" and settings.cluster.address is None and gpus == 0:
        return [
            "cluster.device=cuda, but this machine has no GPU: use cluster=cpu, or cluster.address=... of a cluster"
        ]
    return []


def truncated_sampling(rollout: RolloutSettings) -> list[str]:
    """top_p below 1 renormalises what it keeps, so that no importance ratio is exact."""
    if rollout.top_p == 1:
        return []
    return [f"rollout.top_p={rollout.top_p}: sampled log-probabilities are renormalised, importance ratios inexact"]


def bf16_on_cpu(settings: RunSettings) -> list[str]:
    """In bf16 sampler and learner round differently; on a CPU fp32 costs little more for a tiny model."""
    if settings.policy.dtype == "bf16" and settings.cluster.device == "cpu":
        return ["policy.dtype=bf16 on a CPU: sampler and learner agree to about 0.01 only; fp32 is exact"]
    return []


def evaluation_interval(loop: LoopSettings) -> list[str]:
    """An interval longer than the run evaluates only before and after."""
    if loop.evaluate_every <= loop.updates:
        return []
    return [f"evaluate_every={loop.evaluate_every} is above updates={loop.updates}: evaluated before and after only"]
