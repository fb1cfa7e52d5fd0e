"""Settings that are valid each by itself and contradict each other: refused before anything starts, all at once."""

from __future__ import annotations

from dataclasses import replace

import pytest
import ray

from launch import configuration
from rewards.builder import ConfigurationError
from rewards.mixture import MixtureReward, Term
from rewards.shaping import ShapedReward
from rewards.types import Reward
from rewards.verifier import VerifierReward
from rl.loop import train
from rl.progress import Silent
from rl.run.folder import RunFolder


class Stepped(Reward):
    """A reward with steps."""

    has_steps, has_matches = True, False

    def score(self, groups):
        return []


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["rollout.ahead=1"], ["rollout.ahead=1", "importance weight", "set algorithm.correction=token"]),
        (["rollout.ahead=1", "algorithm=dpo"], ["rollout.ahead=1", "this algorithm has none"]),
        (["algorithm=dpo", "rollout.responses=1"], ["rollout.responses=1", "2 or more"]),
        (["+algorithm.critic.path=x"], ["unknown key algorithm.critic", "only algorithm=ppo learns with a critic"]),
        (["algorithm.critic.path=x"], ["algorithm.critic.path", "only algorithm=ppo learns with a critic"]),
        (["algorithm=dpo", "algorithm.critic.path=x"], ["algorithm.critic.path", "only algorithm=ppo"]),
        (["learner.lora.rank=4"], ["learner.lora.rank", "learner=lora"]),
        (["algorithm.credit=steps"], ["algorithm.credit", "VerifierReward scores no steps"]),
        (["algorithm=ppo", "algorithm.credit=steps"], ["algorithm.credit", "reward=prm"]),
        (["algorithm=pure"], ["VerifierReward scores no steps"]),
        (["algorithm=dpo", "algorithm.credit=steps"], ["VerifierReward scores no steps"]),
        (["algorithm=dpo", "algorithm.pairs=judge"], ["algorithm.pairs=judge", "reward=pairjudge"]),
        (["+algorithm.objectives.length=1.0"], ["algorithm.objectives names length", "VerifierReward", "extracted"]),
        (
            ["reward=mixture", "+algorithm.objectives.verifer=1.0"],
            ["algorithm.objectives names verifer", "MixtureReward", "did you mean verifier?"],
        ),
        (["reward=prm", "+algorithm.objectives.prm=1.0"], ["algorithm.objectives names prm", "no parts"]),
        (["algorithm=dpo", "learner.micro_batch_tokens=600"], ["twice rollout.max_model_len=512", "1024"]),
        (
            ["learner.minibatches=5"],
            [
                "learner.minibatches=5 does not divide the 32 responses",
                "learner.minibatches=4 or 8, rollout.problems=5, or rollout.responses=5 or 10",
            ],
        ),
        (
            ["rollout.responses=3", "learner.minibatches=8"],
            ["rollout.problems=4 x rollout.responses=3", "minibatches=6 or 12", "problems=8, ", "responses=2 or 4"],
        ),
        (
            ["rollout.responses=3", "learner.minibatches=8", "learner.ranks=2"],
            ["a rollout gives 12 responses", "learner.minibatches=6 or learner.ranks=1 or fewer, or draw more"],
        ),
        (
            ["algorithm=dpo", "algorithm.pairs=best_worst", "learner.minibatches=8"],
            ["a rollout gives 4 preference pairs at most", "set learner.minibatches=4, or draw more"],
        ),
        (["reward=pairjudge_tiny", "algorithm=ppo", "rollout.responses=1"], ["PairJudgeReward compares", "2 or more"]),
        (
            ["algorithm=ppo", "algorithm.critic.warmup_updates=15", "learner.warmup_updates=6"],
            ["learner.warmup_updates=6", "5 optimizer steps", "algorithm.critic.warmup_updates"],
        ),
        (["algorithm.dual_clip=0.5"], ["algorithm.dual_clip must be above 1"]),
        (["algorithm.ratio=sequence"], ["algorithm.ratio=sequence", "needs aggregation=sequence"]),
        (["algorithm.kl_estimator=k1"], ["algorithm.kl_estimator=k1", "set kl_in=reward"]),
        (["algorithm=dpo", "algorithm.beta=0"], ["algorithm.beta must be above 0"]),
        (["learner.micro_batch_tokens=511"], ["learner.micro_batch_tokens=511", "rollout.max_model_len=512"]),
        (["algorithm=ppo", "algorithm.critic.warmup_updates=20"], ["algorithm.critic.warmup_updates=20", "updates=20"]),
        (["algorithm=ppo", "algorithm.critic.path=no/such/folder"], ["critic.path", "no/such/folder"]),
        (
            ["algorithm=reinforce_pp", "algorithm.dynamic_sampling=2", "rollout.responses=1"],
            ["algorithm.dynamic_sampling=2", "rollout.responses=1"],
        ),
        (
            ["rollout.top_k=5", "algorithm.correction=token"],
            ["algorithm.correction: with rollout.top_k=5", "as low as 0;", "correction_low=0"],
        ),
        (["rollout.top_p=0.4", "algorithm.correction=token"], ["rollout.top_p=0.4", "correction_low=0.4 or below"]),
        (
            ["algorithm=gspo", "rollout.top_p=0.4", "algorithm.correction=token"],
            ["rollout.top_p=0.4", "correction_low=0.4 or below"],
        ),
        (["evaluate.max_new_tokens=512"], ["evaluate.max_new_tokens=512", "rollout.max_model_len=512"]),
        (["evaluate.max_new_tokens=500"], ["evaluate.max_new_tokens=500", "prompts"]),
        (["evaluate.temperature=0", "evaluate.responses=4"], ["evaluate.temperature=0", "set responses=1"]),
        (["rollout.stop_token_ids=[99999]"], ["rollout.stop_token_ids", "no token 99999"]),
        (["rollout.temperature=0.001"], ["rollout.temperature must be at least 0.01"]),
        (["algorithm.scale=none", "algorithm.credit=steps"], ["algorithm.credit=steps", "scale=group"]),
    ],
)
def test_contradictory_settings_are_refused_with_the_keys_to_change(settings_of, overrides, expected):
    with pytest.raises(ConfigurationError) as caught:
        settings_of(*overrides)
    assert "\n" not in str(caught.value)
    for word in expected:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "words",
    [
        ["learner.ranks=3"],  # rows are shared out by tokens
        ["algorithm=dpo", "learner.minibatches=7"],  # pairs are as many as there are
        ["reward=pairjudge_tiny_knockout", "rollout.responses=7", "rollout.problems=3"],  # somebody gets a bye
        ["rollout.responses=7", "learner.minibatches=14"],
        ["algorithm=ppo", "rollout.responses=1", "learner.minibatches=2", "learner.ranks=2"],
    ],
)
def test_sizes_that_need_not_divide_are_accepted(settings_of, words):
    assert settings_of(*words)


def test_a_python_caller_gets_the_same_refusal_before_anything_starts(settings_of, tmp_path):
    settings = settings_of()
    settings = replace(settings, learner=replace(settings.learner, micro_batch_tokens=100))
    with pytest.raises(ValueError, match="micro_batch_tokens=100 is less than"):
        train(settings, RunFolder(tmp_path / "run", settings.logger), Silent())
    assert not ray.is_initialized()


def test_all_contradictions_are_reported_together(settings_of):
    with pytest.raises(ConfigurationError) as caught:
        settings_of("rollout.responses=1", "learner.micro_batch_tokens=100", "learner.warmup_updates=99")
    for word in ("rollout.responses=1", "learner.micro_batch_tokens=100", "learner.warmup_updates=99"):
        assert word in str(caught.value)


@pytest.mark.parametrize("algorithm", ["grpo", "dr_grpo", "dapo", "rloo", "reinforce_pp", "gspo", "ppo", "dpo"])
def test_every_algorithm_runs_with_an_outcome_reward(settings_of, algorithm):
    assert settings_of(f"algorithm={algorithm}").algorithm.loss()


def test_a_ratio_of_sequences_in_a_single_step_is_a_warning(settings_of):
    (line,) = configuration.warnings(settings_of("algorithm=gspo"))
    assert "learner.minibatches" in line
    assert configuration.warnings(settings_of("algorithm=gspo", "learner.minibatches=4")) == []


def test_a_shaped_or_mixed_reward_has_steps_if_its_parts_do():
    assert ShapedReward(Stepped()).has_steps and not ShapedReward(VerifierReward()).has_steps
    terms = {"prm": Term(Stepped()), "verifier": Term(VerifierReward())}
    assert MixtureReward(terms, steps_from="prm").has_steps and not MixtureReward(terms).has_steps
