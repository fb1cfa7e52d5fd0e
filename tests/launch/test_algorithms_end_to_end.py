"""Every kind of algorithm on the real stack: a critic beside the policy, and pairs with a reference that moves."""

from pathlib import Path

import pytest

from tests.launch.test_train_end_to_end import lines, train

pytestmark = pytest.mark.e2e


def updates_of(folder: Path, *words: str) -> list[dict]:
    """Train two updates on the shipped models and return their metrics."""
    done = train(folder, "evaluate_every=2", "logger.progress=plain", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    updates = [row for row in lines(folder / "metrics.jsonl") if "reward/mean" in row]
    assert len(updates) == 2
    assert all(row["sync/gap_mean"] < 1e-4 for row in updates), "the second rollout comes from the weights just learnt"
    return updates


def test_ppo_learns_from_step_rewards_with_a_critic_and_several_minibatches(tmp_path: Path) -> None:
    words = ("algorithm=ppo", "algorithm.credit=steps", "reward=prm", "learner.epochs=2", "learner.minibatches=2")
    first, second = updates_of(tmp_path / "run", *words)
    assert first["learner/steps"] == 4
    assert first["credit/steps_mean"] > 1
    assert first["credit/kl_of_response"] == pytest.approx(0, abs=1e-4) and second["credit/kl_of_response"] != 0
    assert abs(second["credit/value_mean"] - first["credit/value_mean"]) > 1e-3, "the critic learns too"
    assert first["learner/value_loss"] > 0


def test_iterative_dpo_learns_from_pairs_with_a_reference_that_is_refreshed(tmp_path: Path) -> None:
    words = ("algorithm=dpo", "reward=verifier", "learner.epochs=3", "rollout.responses=8")
    first, second = updates_of(tmp_path / "run", *words)
    for row in (first, second):
        assert row["learner/pairs"] == row["credit/pairs"] > 0
        assert row["learner/margin"] > 0, "chosen responses gain on rejected ones within an update"
    # At the start of both updates the reference is the policy: the first of three steps has no margin yet.
    assert second["learner/kl_of_iteration"] < 1 and "learner/kl" not in second
