"""Check combinations of settings that are each valid on their own. Pure functions.

Each function returns messages, or an empty list if all is well. A message names the keys and says what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rewards.builder import nearest
from rewards.types import Reward
from rl import engine_options
from rl.algorithms import Algorithm
from rl.hacking.signs import SIGNS
from rl.learner.losses import PolicyLossSettings
from rl.run_settings import RunSettings
from rl.settings import CriticSettings, EvaluationSettings, LearnerSettings, LoopSettings, RolloutSettings


def check(settings: RunSettings) -> None:
    """Raise ValueError with a one-line message that lists every combination that cannot work."""
    if faults := errors(settings):
        raise ValueError("; also: ".join(faults))


def errors(settings: RunSettings) -> list[str]:
    """Combinations that cannot work."""
    pairs = most_pairs(settings) if settings.rollout.responses > 1 else None  # one response: see group_size
    return [
        *batch_arithmetic(settings.rollout, settings.learner, pairs),
        *forward_pass(settings.rollout, settings.learner, pairs=pairs is not None),
        *warm_up(settings.loop, settings.learner, settings.algorithm.critic),
        *critic_warm_up(settings.algorithm, settings.loop),
        *group_size(settings.algorithm, settings.rollout, settings.reward),
        *reward_outputs(settings.algorithm, settings.reward),
        *older_weights(settings.algorithm, settings.rollout),
        *engine_options.errors(settings.rollout.engine_options),
        *unknown_signs(settings.loop),
        *evaluation_length(settings.evaluate, settings.rollout),
        *truncated_correction(settings.algorithm, settings.rollout),
    ]


def warnings(settings: RunSettings) -> list[str]:
    """Combinations that work, but perhaps not as expected."""
    return [
        *truncated_sampling(settings),
        *bf16_on_cpu(settings),
        *evaluation_interval(settings.loop),
        *one_step_only(settings.algorithm, settings.learner),
    ]


def most_pairs(settings: RunSettings) -> int | None:
    """The largest possible number of preference pairs per update; None if the learner trains on responses."""
    pairs = settings.algorithm.pairs_per_group(settings.rollout.responses)
    return None if pairs is None else pairs * settings.rollout.problems


def batch_arithmetic(rollout: RolloutSettings, learner: LearnerSettings, pairs: int | None = None) -> list[str]:
    """A rollout's responses must divide evenly into minibatches, each with at least one row per rank.

    If rows are preference pairs, `pairs` is their maximum number; the actual number is known only during the run. In
    that case, and if failed scores or dynamic sampling remove rows, minibatches may differ by one row. Rows need not
    divide evenly among ranks, which split them by tokens.
    """
    rows = rollout.problems * rollout.responses if pairs is None else pairs
    drawn = f"rollout.problems={rollout.problems} x rollout.responses={rollout.responses}"
    fitting = [count for count in range(1, rows // learner.ranks + 1) if pairs or rows % count == 0]
    if learner.minibatches * learner.ranks > rows:
        what = "responses" if pairs is None else "preference pairs at most"
        ways = [f"learner.minibatches={fitting[-1]}"] if fitting else []
        ways += [f"learner.ranks={rows // learner.minibatches} or fewer"] if rows >= learner.minibatches else []
        return [
            f"a rollout gives {rows} {what} ({drawn}), too few for learner.minibatches={learner.minibatches} on "
            f"learner.ranks={learner.ranks}: set {' or '.join(ways)}{', or ' if ways else ''}draw more"
        ]
    if learner.minibatches in fitting:
        return []

    def divides(responses: int) -> bool:
        return responses % learner.minibatches == 0 and responses >= learner.minibatches * learner.ranks

    minibatches = _around(learner.minibatches, fitting.__contains__, rows)
    problems = _around(rollout.problems, lambda count: divides(count * rollout.responses), rows)
    alone = rollout.responses == 1
    responses = _around(
        rollout.responses, lambda count: (alone or count > 1) and divides(count * rollout.problems), rows
    )
    return [
        f"learner.minibatches={learner.minibatches} does not divide the {rows} responses of a rollout ({drawn}): set "
        f"learner.minibatches={minibatches}, rollout.problems={problems}, or rollout.responses={responses}"
    ]


def unknown_signs(loop: LoopSettings) -> list[str]:
    """Names in `stop_when` that are not signs of an exploited reward."""
    return [
        f"stop_when: there is no sign {name!r}{nearest(name, SIGNS)} ({', '.join(SIGNS)})"
        for name in loop.stop_when
        if name not in SIGNS
    ]


def _around(value: int, works: Callable[[int], bool], reach: int) -> str:
    """The nearest numbers below and above `value` that work, at most `reach` away, as in `4 or 8`."""
    below = next((str(number) for number in range(value - 1, 0, -1) if works(number)), None)
    above = next((str(number) for number in range(value + 1, value + reach + 1) if works(number)), None)
    return " or ".join(number for number in (below, above) if number)


def forward_pass(rollout: RolloutSettings, learner: LearnerSettings, *, pairs: bool) -> list[str]:
    """The longest sequence must fit in one forward pass; with `pairs`, two such sequences must fit together."""
    needed = (2 if pairs else 1) * rollout.max_model_len
    if learner.micro_batch_tokens >= needed:
        return []
    what = "a pair of long responses" if pairs else "one long response"
    return [
        f"learner.micro_batch_tokens={learner.micro_batch_tokens} is less than {'twice ' if pairs else ''}"
        f"rollout.max_model_len={rollout.max_model_len}: {what} would not fit in a forward pass; raise it to at least "
        f"{needed}"
    ]


def warm_up(loop: LoopSettings, learner: LearnerSettings, critic: CriticSettings | None = None) -> list[str]:
    """The learning rate's warm-up must end before the run does. The policy's begins when the critic's ends."""
    waiting = critic.warmup_updates if critic else 0
    steps = max(0, loop.updates - waiting) * learner.epochs * learner.minibatches
    if learner.warmup_updates <= steps:
        return []
    updates = "(updates - algorithm.critic.warmup_updates)" if waiting else "updates"
    return [
        f"learner.warmup_updates={learner.warmup_updates} is more than the run's {steps} optimizer steps "
        f"({updates} x learner.epochs x learner.minibatches): lower it"
    ]


def critic_warm_up(algorithm: Algorithm, loop: LoopSettings) -> list[str]:
    """The critic's warm-up must leave the policy some updates."""
    waiting = algorithm.critic.warmup_updates if algorithm.critic else 0
    if waiting < loop.updates:
        return []
    return [
        f"algorithm.critic.warmup_updates={waiting} leaves no update for the policy (updates={loop.updates}): lower it"
    ]


def group_size(algorithm: Algorithm, rollout: RolloutSettings, reward: Reward) -> list[str]:
    """An algorithm, reward or dynamic sampling that compares a group's responses needs at least two of them."""
    if rollout.responses > 1:
        return []
    if algorithm.group_relative:
        return [f"rollout.responses={rollout.responses}: this algorithm compares a group's responses; set 2 or more"]
    if reward.compares_responses:
        return [
            f"rollout.responses={rollout.responses}: {reward.name} compares a group's responses, and one has "
            "nothing to be compared with; set 2 or more"
        ]
    if algorithm.dynamic_sampling:
        return [
            f"algorithm.dynamic_sampling={algorithm.dynamic_sampling} replaces groups whose scores are all equal, and "
            f"with rollout.responses={rollout.responses} all are: set it to 0, or draw 2 responses or more"
        ]
    return []


def reward_outputs(algorithm: Algorithm, reward: Reward) -> list[str]:
    """The reward must give the steps, matches and parts that the algorithm reads. Undeclared outputs pass."""
    lines = []
    kind = reward.name
    if algorithm.needs_steps and reward.has_steps is False:
        lines.append(
            f"algorithm.credit gives credit to single steps, but {kind} scores no steps: choose a process reward "
            "(reward=prm), a mixture with reward.steps_from, or algorithm.credit=outcome"
        )
    if algorithm.needs_matches and reward.has_matches is False:
        lines.append(
            f"algorithm.pairs=judge uses a judge's decisions, but {kind} does not compare responses: choose "
            "reward=pairjudge, or algorithm.pairs=best_worst"
        )
    parts = reward.part_names
    for name in algorithm.objectives or ():
        if parts is not None and name not in parts:
            lines.append(
                f"algorithm.objectives names {name}, but the scores of {kind} have "
                f"{'the parts ' + ', '.join(sorted(parts)) if parts else 'no parts'}{nearest(name, parts)}"
            )
    return lines


def older_weights(algorithm: Algorithm, rollout: RolloutSettings) -> list[str]:
    """Samples drawn with older weights come from another policy, so the loss must correct for that."""
    if not rollout.ahead or algorithm.corrects_age:
        return []
    way = "set algorithm.correction=token" if hasattr(algorithm, "correction") else "this algorithm has none"
    return [f"rollout.ahead={rollout.ahead} draws with older weights, whose samples need an importance weight: {way}"]


def prompt_lengths(
    lengths: Sequence[tuple[str, int]], rollout: RolloutSettings, evaluate: EvaluationSettings | None = None
) -> list[str]:
    """Prompts that leave no room for a response: of a rollout, or with `evaluate` of an evaluation.

    `lengths`: problem ids with prompt tokens.
    """
    new_tokens = rollout.max_new_tokens if evaluate is None else evaluate.sampling(rollout)["max_new_tokens"]
    node = "rollout" if evaluate is None or evaluate.max_new_tokens is None else "evaluate"
    room = rollout.max_model_len - new_tokens
    too_long = [(length, name) for name, length in lengths if length > room]
    if not too_long:
        return []
    length, name = max(too_long)
    return [
        f"{len(too_long)} of {len(lengths)} prompts checked are longer than the {room} tokens left by "
        f"rollout.max_model_len={rollout.max_model_len} and {node}.max_new_tokens={new_tokens}; the "
        f"longest, problem {name}, has {length}: set rollout.max_model_len={length + new_tokens} or more"
    ]


def evaluation_length(evaluate: EvaluationSettings, rollout: RolloutSettings) -> list[str]:
    """The engine's sequences must hold what an evaluation draws, with a prompt."""
    if evaluate.max_new_tokens is None or evaluate.max_new_tokens < rollout.max_model_len:
        return []
    return [
        f"evaluate.max_new_tokens={evaluate.max_new_tokens} leaves no room for a prompt in rollout.max_model_len="
        f"{rollout.max_model_len}: raise the latter"
    ]


def model_length(positions: int | None, rollout: RolloutSettings) -> list[str]:
    """max_model_len must not exceed the model's positions. `positions`: None if the model does not state them."""
    if positions is None or rollout.max_model_len <= positions:
        return []
    return [f"rollout.max_model_len={rollout.max_model_len} is more than the policy's {positions} positions: lower it"]


def memory(available_gib: float, settings: RunSettings) -> list[str]:
    """On CPU each engine needs memory for its KV cache plus about 2 GiB; all engines must fit."""
    if settings.cluster.device != "cpu" or settings.cluster.address is not None:
        return []
    needed = settings.rollout.engines * (settings.rollout.kv_cache_gib + 2.0)
    if needed <= available_gib:
        return []
    return [
        f"rollout.engines={settings.rollout.engines} with rollout.kv_cache_gib={settings.rollout.kv_cache_gib} need "
        f"about {needed:.0f} GiB, but only {available_gib:.1f} GiB of memory is free: lower one of the two"
    ]


def devices(gpus: int, settings: RunSettings) -> list[str]:
    """cluster.device=cuda needs a GPU. `gpus`: how many this machine has."""
    if settings.cluster.device == "cuda" and settings.cluster.address is None and gpus == 0:
        return [
            "cluster.device=cuda, but this machine has no GPU: use cluster=cpu, or set cluster.address to a cluster"
        ]
    return []


def truncated_sampling(settings: RunSettings) -> list[str]:
    """Only kept tokens are sampled, so a KL estimated from samples covers only these."""
    cut = _truncating(settings.rollout)
    if not cut or not settings.algorithm.needs_reference:
        return []
    return [f"{cut}: the KL to the reference is estimated over the tokens that are kept, not over all"]


def truncated_correction(algorithm: Algorithm, rollout: RolloutSettings) -> list[str]:
    """The importance weight learner / sampler of a kept token is the probability of all kept tokens (rl/truncation.py).

    It is exact only if the band of the correction lets that probability through.
    """
    loss, cut, least = algorithm.loss(), _truncating(rollout), rollout.truncation.kept_at_least
    if not cut or getattr(loss, "correction", "off") == "off":
        return []
    if getattr(loss, "correction_low", 0.0) <= least:
        return []
    return [
        f"algorithm.correction: with {cut} its exact weight is the probability of the kept tokens, which can be as low "
        f"as {least:g}; set algorithm.correction_low={least:g} or below, or algorithm.correction=off"
    ]


def _truncating(rollout: RolloutSettings) -> str:
    """The keys that cut tokens off, with their values; empty where none does."""
    changed = {"top_k": rollout.top_k > 0, "top_p": rollout.top_p < 1, "min_p": rollout.min_p > 0}
    return " ".join(f"rollout.{key}={getattr(rollout, key)}" for key, cuts in changed.items() if cuts)


def bf16_on_cpu(settings: RunSettings) -> list[str]:
    """In bf16 the sampler and learner round differently; on a CPU, fp32 costs little more for a tiny model."""
    if settings.policy.dtype == "bf16" and settings.cluster.device == "cpu":
        return [
            "policy.dtype=bf16 on a CPU: sampler and learner round differently, so log-probabilities may differ by "
            f"logprob_gap_bf16={settings.loop.logprob_gap_bf16:g}; with fp32, by "
            f"logprob_gap_fp32={settings.loop.logprob_gap_fp32:g}"
        ]
    return []


def evaluation_interval(loop: LoopSettings) -> list[str]:
    """If the interval is longer than the run, evaluation happens only before and after it."""
    if loop.evaluate_every <= loop.updates:
        return []
    return [f"evaluate_every={loop.evaluate_every} is above updates={loop.updates}: evaluation only before and after"]


def one_step_only(algorithm: Algorithm, learner: LearnerSettings) -> list[str]:
    """The sequence ratio is 1 in the first step after a rollout, so it differs only with several steps per rollout."""
    loss = algorithm.loss()
    of_sequences = isinstance(loss, PolicyLossSettings) and loss.ratio == "sequence"
    if not of_sequences or learner.epochs * learner.minibatches > 1:
        return []
    return [
        "algorithm.ratio=sequence differs from token only with several steps per rollout: set learner.minibatches=4"
    ]
