"""A plan: arithmetic that can be checked by hand, presets that need nothing of what they name."""

from __future__ import annotations

import io
import socket
from types import SimpleNamespace

import pytest
from rich.console import Console

from launch import configuration
from launch.composition import compose
from launch.plan import duration, plan
from rl.planning.estimates import (
    GIB,
    SPEEDS,
    Decoding,
    activations,
    decoding_seconds,
    forward_seconds,
    frozen,
    sequences_that_fit,
    trained,
    training_seconds,
)
from rl.planning.hours import Stage, judgements, learned_rows, stages, together
from rl.planning.model_sizes import PUBLISHED
from rl.planning.placement import Actors, actors, gpus, model_names, reward_models
from rl.settings import LearnerSettings, LoraSettings

LLAMA = PUBLISHED["meta-llama/Llama-3.1-8B-Instruct"]
PRESETS = ["qwen_math_grpo_prm", "rlhflow_online_dpo_armorm", "math_shepherd_ppo", "math_grpo_pairjudge"]


def planned(*words):
    """Settings and missing things of a plan."""
    (run,) = compose([*words, "dry_run=true"])
    missing: list[str] = []
    return configuration.check(configuration.plain(run.config), run.choices, missing), missing


def shown(settings, missing=()) -> str:
    console = Console(file=io.StringIO(), width=160)
    console.print(plan(settings, "runs/here", missing))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_can_be_planned_without_its_models_and_files(preset, monkeypatch):
    def refuse(*_: object) -> None:
        raise AssertionError("a plan must not ask the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    settings, missing = planned(f"experiment={preset}")
    text = shown(settings, missing)
    assert "would be downloaded, about" in text and "8 GPU(s)" in text
    assert "not known" not in text, "every model of a preset is in the table"
    for part in ("policy.path: not on this machine", "task.train data/", "has no GPU"):
        assert part in text
    assert "need about" not in text, "a preset fits its GPUs"


def test_contradictory_settings_are_refused_in_a_plan_too():
    with pytest.raises(configuration.ConfigurationError, match="compares a group's responses"):
        planned("experiment=qwen_math_grpo_prm", "rollout.responses=1")
    with pytest.raises(configuration.ConfigurationError, match="scores no steps"):
        planned("experiment=math_shepherd_ppo", "reward=verifier")


ABSENT = {"_target_": "rewards.process.ProcessReward", "model": "RLHFlow/Llama3.1-8B-PRM-Mistral-Data"}
MIXED = {
    "_target_": "rewards.mixture.MixtureReward",
    "terms": {"a": {"_target_": "rewards.mixture.Term", "reward": ABSENT}},
}


@pytest.mark.parametrize(
    ("reward", "steps"),
    [
        (ABSENT, True),
        ({"_target_": "rewards.shaping.ShapedReward", "reward": ABSENT}, True),
        (MIXED, False),
        ({**MIXED, "steps_from": "a"}, True),
    ],
)
def test_a_plan_knows_a_rewards_outputs_without_its_model(reward, steps):
    (run,) = compose(["algorithm.credit=steps", "dry_run=true"])
    config = {**configuration.plain(run.config), "reward": reward}
    if steps:
        absent: list[str] = []
        assert configuration.check(config, run.choices, absent).reward.has_steps
        assert "RLHFlow" not in absent[0] and "model: not on this machine" in absent[0]
    else:
        with pytest.raises(configuration.ConfigurationError, match="MixtureReward scores no steps"):
            configuration.check(config, run.choices, [])


def test_an_absent_judge_makes_its_reward_absent():
    (run,) = compose(["reward=pairjudge", "dry_run=true"])
    absent: list[str] = []
    reward = configuration.check(configuration.plain(run.config), run.choices, absent).reward
    assert (reward.name, reward.has_matches, reward.compares_responses) == ("PairJudgeReward", True, True)
    assert absent[0].startswith("reward.judge.model: not on this machine")


def test_without_dry_run_missing_models_and_files_are_errors():
    (run,) = compose(["experiment=math_shepherd_ppo", "reward=prm"])
    with pytest.raises(configuration.ConfigurationError, match=r"task\.train data/gsm8k.*: there is no such file"):
        configuration.check(configuration.plain(run.config), run.choices)


def test_the_defaults_need_nothing(settings_of):
    text = shown(settings_of())
    assert "before it can run" not in text and "4 problems x 8 responses = 32 responses" in text
    assert "in this folder" in text and "checkpoints every 10 updates" in text


def test_training_takes_eighteen_bytes_per_parameter_and_zero_divides_them():
    whole = trained(LLAMA, LearnerSettings(zero_stage=0), "bf16")
    assert (whole.weights + whole.gradients + whole.optimizer) / LLAMA.parameters == pytest.approx(18)
    shared = trained(LLAMA, LearnerSettings(zero_stage=2, ranks=8), "bf16")
    assert shared.weights == whole.weights and shared.optimizer == whole.optimizer / 8
    assert trained(LLAMA, LearnerSettings(zero_stage=3, ranks=8), "bf16").gib == pytest.approx(whole.gib / 8)
    assert frozen(LLAMA, LearnerSettings(zero_stage=2, ranks=8), "bf16").weights == 2 * LLAMA.parameters


def test_adapters_need_no_reference_and_almost_no_optimizer():
    lora = LearnerSettings(lora=LoraSettings(rank=16))
    assert frozen(LLAMA, lora, "bf16").gib == 0
    assert trained(LLAMA, lora, "bf16").optimizer < 0.01 * trained(LLAMA, LearnerSettings(), "bf16").optimizer


def test_gradient_checkpointing_saves_most_activations():
    full = activations(LLAMA, LearnerSettings(), "bf16")
    assert activations(LLAMA, LearnerSettings(gradient_checkpointing=True), "bf16").gib < full.gib / 3


def test_the_number_of_sequences_in_a_cache_follows_from_its_bytes():
    assert sequences_that_fit(LLAMA, 10.0, 4096, "bf16") == 10 * GIB // (131_072 * 4096)
    assert sequences_that_fit(LLAMA, -3.0, 4096, "bf16") == 0


def test_times_follow_from_operations_and_bytes():
    speed = SPEEDS["cuda"]
    assert forward_seconds(LLAMA, 1000, speed) == pytest.approx(2 * LLAMA.parameters * 1000 / speed.flops)
    assert training_seconds(LLAMA, 1000, speed, recomputing=True) == pytest.approx(
        4 * forward_seconds(LLAMA, 1000, speed)
    )
    alone = decoding_seconds(LLAMA, Decoding(1, 100, 0, 1, "bf16"), speed)
    least = 100 * (2 * LLAMA.parameters / speed.bandwidth + speed.step_s)  # every step reads all weights
    assert least < alone < 1.1 * least
    together = decoding_seconds(LLAMA, Decoding(64, 100, 0, 64, "bf16"), speed)
    assert together < 64 * alone / 10, "one reading of the weights serves all sequences"


def test_actors_share_gpus_by_their_shares():
    def one(name: str, count: int, share: float) -> Actors:
        return Actors(name, count, "", None, share)

    assert len(gpus([one("a", 1, 0.4), one("b", 1, 0.5), one("c", 1, 0.1)])) == 1
    shared = gpus([one("a", 2, 0.6), one("b", 2, 0.4)])
    assert [[actor.name for actor in there] for there in shared] == [["a", "b"], ["a", "b"]]
    assert len(gpus([one("a", 3, 1.0)])) == 3


def test_too_little_memory_is_reported_with_the_keys_to_change():
    settings, missing = planned("experiment=qwen_math_grpo_prm", "learner.ranks=1", "learner.zero_stage=2")
    text = shown(settings, missing)
    assert "learner on one GPU need about" in text and "learner.zero_stage=3" in text
    settings, missing = planned("experiment=qwen_math_grpo_prm", "rollout.gpu_memory_utilization=0.1")
    assert "leaves no KV cache" in shown(settings, missing)


def test_a_judge_is_asked_as_often_as_its_format_asks():
    for options, expected in (
        (["reward=pairjudge_knockout"], 32 * 15),
        (["reward=pairjudge"], 32 * 16 * 15 // 2),
        (["reward=pairjudge_anchor"], 32 * 30),
        (["reward=pairjudge_knockout", "reward.both_orders=true"], 2 * 32 * 15),
    ):
        settings, _ = planned("experiment=math_grpo_pairjudge", *options)
        (judge,) = reward_models(settings)
        assert judge.is_judge and judgements(judge, settings) == expected


def test_pairs_are_what_dpo_learns_from():
    settings, _ = planned("experiment=rlhflow_online_dpo_armorm")
    assert learned_rows(settings) == 2 * 19968
    settings, _ = planned("experiment=rlhflow_online_dpo_armorm", "algorithm.pairs=margin")
    assert learned_rows(settings) == 19968 * 8, "a response is read once, however many pairs it is in"


def test_an_unknown_model_leaves_gaps_in_the_plan():
    settings, missing = planned("experiment=qwen_math_grpo_prm", "policy.path=nobody/nothing")
    text = shown(settings, missing)
    assert "size not known" in text and "not known here" in text
    assert all(stage.seconds is None for stage in stages(settings) if stage.name != "score")
    assert actors(settings)[0].memory is None


def test_a_separate_critic_is_listed():
    settings, _ = planned("experiment=math_shepherd_ppo", "algorithm.critic.path=RLHFlow/Llama3.1-8B-ORM-Mistral-Data")
    assert "algorithm.critic.path" in model_names(settings)
    (learner,) = (one for one in actors(settings) if one.name == "learner")
    assert "critic" in learner.what


@pytest.mark.parametrize(
    ("seconds", "text"), [(5, "under a minute"), (600, "10 min"), (9000, "2.5 h"), (200_000, "2.3 days")]
)
def test_durations_are_written_in_words(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("ahead", "learn", "expected"),
    [(0, 40.0, 100.0), (1, 40.0, 70.0), (1, 60.0, 90.0), (1, None, None)],
)
def test_with_ahead_the_plan_overlaps_sampling_and_scoring_with_learning(ahead, learn, expected) -> None:
    settings = SimpleNamespace(rollout=SimpleNamespace(ahead=ahead), loop=SimpleNamespace(updates=4))
    found = [
        Stage("sample", "", 30.0),
        Stage("score", "", 10.0),
        Stage("learn", "", learn),
        Stage("evaluate", "", 20.0),
    ]
    assert together(settings, found) == expected
