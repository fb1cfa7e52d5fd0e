"""Settings that are valid each by itself and contradict each other: refused before anything starts, all at once."""

from __future__ import annotations

import pytest

from launch import configuration
from launch.nodes import ConfigurationError
from rewards.mixture import MixtureReward, Term
from rewards.shaping import ShapedReward
from rewards.verifier import VerifierReward


class Stepped:
    """A reward with steps."""

    has_steps, has_matches = True, False

    def score(self, groups):
        return []


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["algorithm=dpo", "rollout.responses=1"], ["rollout.responses=1", "2 or more"]),
        (["+algorithm.critic.path=x"], ["algorithm.critic", "no such key"]),
        (["algorithm.credit=steps"], ["algorithm.credit", "VerifierReward scores no steps"]),
        (["algorithm=ppo", "algorithm.credit=steps"], ["algorithm.credit", "reward=prm"]),
        (["algorithm=pure"], ["VerifierReward scores no steps"]),
        (["algorithm=dpo", "algorithm.credit=steps"], ["VerifierReward scores no steps"]),
        (["algorithm=dpo", "algorithm.pairs=judge"], ["algorithm.pairs=judge", "reward=pairjudge"]),
        (["algorithm=dpo", "learner.micro_batch_tokens=600"], ["twice rollout.max_model_len=512", "1024"]),
        (["learner.minibatches=5"], ["learner.minibatches=5 does not divide the 32 responses"]),
        (["algorithm=ppo", "algorithm.critic.warmup_updates=20"], ["algorithm.critic.warmup_updates=20", "updates=20"]),
        (["algorithm=ppo", "algorithm.critic.path=no/such/folder"], ["critic.path", "no/such/folder"]),
        (
            ["algorithm=reinforce_pp", "algorithm.dynamic_sampling=2", "rollout.responses=1"],
            ["algorithm.dynamic_sampling=2", "rollout.responses=1"],
        ),
        (["algorithm.scale=none", "algorithm.credit=steps"], ["algorithm.credit=steps", "scale=group"]),
    ],
)
def test_a_contradiction_is_refused_with_the_keys_to_change(settings_of, overrides, expected):
    with pytest.raises(ConfigurationError) as caught:
        settings_of(*overrides)
    assert "\n" not in str(caught.value)
    for word in expected:
        assert word in str(caught.value)


def test_all_contradictions_are_said_at_once(settings_of):
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


def test_a_shaped_or_mixed_reward_has_steps_where_what_it_is_made_of_has():
    assert ShapedReward(Stepped()).has_steps and not ShapedReward(VerifierReward()).has_steps
    terms = {"prm": Term(Stepped()), "verifier": Term(VerifierReward())}
    assert MixtureReward(terms, steps_from="prm").has_steps and not MixtureReward(terms).has_steps
