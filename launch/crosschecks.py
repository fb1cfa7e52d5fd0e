"""What two settings mean together: pure checks of numbers and objects that are each valid on their own.

Every function returns lines to show, an empty list where all is well. A line names the keys and says what to do.
"""

from __future__ import annotations

from collections.abc import Sequence

from rewards.types import Reward
from rl.algorithms import Algorithm
from rl.learner.losses import PreferenceLossSettings
from rl.settings import LearnerSettings, LoopSettings, RolloutSettings, RunSettings


def errors(settings: RunSettings) -> list[str]:
    """Combinations that cannot work."""
    return [
        *batch_arithmetic(settings.rollout, settings.learner, over_pairs(settings.algorithm)),
        *warm_up(settings.loop, settings.learner),
        *critic_warm_up(settings.algorithm, settings.loop),
        *group_size(settings.algorithm, settings.rollout),
        *what_the_reward_gives(settings.algorithm, settings.reward),
    ]


def warnings(settings: RunSettings) -> list[str]:
    """Combinations that work, but not as one may think."""
    return [
        *truncated_sampling(settings.rollout),
        *bf16_on_cpu(settings),
        *evaluation_interval(settings.loop),
        *one_step_only(settings.algorithm, settings.learner),
    ]


def over_pairs(algorithm: Algorithm) -> bool:
    """Whether the learner trains on preference pairs."""
    return isinstance(algorithm.loss(), PreferenceLossSettings)


def batch_arithmetic(rollout: RolloutSettings, learner: LearnerSettings, pairs: bool = False) -> list[str]:
    """A rollout must fill every minibatch on every rank, alike, and its longest sequence must fit one forward pass.

    With `pairs` a row is a preference pair: how many there are shows only in the run, and both sequences of one go
    through the model together.
    """
    lines = []
    rows = rollout.problems * rollout.responses
    if learner.minibatches * learner.ranks > rows:
        lines.append(
            f"a rollout has {rows} responses (rollout.problems x rollout.responses), too few for learner.minibatches="
            f"{learner.minibatches} on learner.ranks={learner.ranks}: draw more responses or lower one of the two"
        )
    elif not pairs and rows % learner.minibatches:
        lines.append(
            f"learner.minibatches={learner.minibatches} does not divide the {rows} responses of a rollout "
            f"(rollout.problems={rollout.problems} x rollout.responses={rollout.responses}): change one of the three"
        )
    needed = (2 if pairs else 1) * rollout.max_model_len
    if learner.micro_batch_tokens < needed:
        what = "a pair of long responses" if pairs else "one long response"
        lines.append(
            f"learner.micro_batch_tokens={learner.micro_batch_tokens} is less than {'twice ' if pairs else ''}"
            f"rollout.max_model_len={rollout.max_model_len}: {what} would not fit a forward pass; raise it to at least "
            f"{needed}"
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


def critic_warm_up(algorithm: Algorithm, loop: LoopSettings) -> list[str]:
    """The critic's warm-up must leave the policy some updates."""
    waiting = algorithm.critic.warmup_updates if algorithm.critic else 0
    if waiting < loop.updates:
        return []
    return [f"algorithm.critic.warmup_updates={waiting} leaves the policy none of updates={loop.updates}: lower it"]


def group_size(algorithm: Algorithm, rollout: RolloutSettings) -> list[str]:
    """An algorithm that compares responses to the same problem needs two of them, and so does a choice of groups."""
    if rollout.responses > 1:
        return []
    if algorithm.group_relative:
        return [f"rollout.responses={rollout.responses}: this algorithm compares a group's responses; set 2 or more"]
    if algorithm.dynamic_sampling:
        return [
            f"algorithm.dynamic_sampling={algorithm.dynamic_sampling} replaces groups whose scores are all equal, and "
            f"with rollout.responses={rollout.responses} all are: set it to 0, or draw 2 responses or more"
        ]
    return []


def what_the_reward_gives(algorithm: Algorithm, reward: Reward) -> list[str]:
    """Step scores and match results must be there where the algorithm reads them; a reward that does not say passes."""
    lines = []
    kind = type(reward).__name__
    if algorithm.needs_steps and getattr(reward, "has_steps", None) is False:
        lines.append(
            f"algorithm.credit gives credit to single steps, but {kind} scores no steps: choose a process reward "
            "(reward=prm), a mixture with reward.steps_from, or algorithm.credit=outcome"
        )
    if algorithm.needs_matches and getattr(reward, "has_matches", None) is False:
        lines.append(
            f"algorithm.pairs=judge takes the pairs that a judge decided, but {kind} compares no responses: choose "
            "reward=pairjudge, or algorithm.pairs=best_worst"
        )
    return lines


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


def one_step_only(algorithm: Algorithm, learner: LearnerSettings) -> list[str]:
    """A ratio of whole sequences is 1 in the first step after a rollout, where nothing is clipped."""
    loss = algorithm.loss()
    if getattr(loss, "ratio", "token") == "token" or learner.epochs * learner.minibatches > 1:
        return []
    return ["algorithm.ratio=sequence differs from token only with several steps a rollout: set learner.minibatches=4"]
