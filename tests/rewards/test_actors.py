from __future__ import annotations

import os
import re
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray
from hypothesis import given
from hypothesis import strategies as st

from rewards.actors import RewardActor, RewardGroup, share_out
from rewards.builder import build_reward
from rewards.mixture import MixtureReward, Term
from rewards.pairjudge import PairJudgeReward
from rewards.shaping import ShapedReward
from rewards.types import Group, Problem, Response, Reward, Score
from rewards.verifier import VerifierReward
from tests.rewards.solutions import rollout


class Lengths(Reward):
    """A reward of the response's length; texts may ask it to misbehave."""

    def __init__(self, record: str = "", offset: float = 0.0) -> None:
        if offset < 0:
            raise ValueError("offset must not be negative")
        self.record, self.offset = record, offset

    def score(self, groups):
        return [[self._score(response.text) for response in group.responses] for group in groups]

    def _score(self, text: str) -> Score:
        if text == "die always":
            os._exit(1)
        if text == "die once" and not Path(self.record).exists():
            Path(self.record).touch()
            os._exit(1)
        if text == "sleep":
            time.sleep(60)
        return Score.failed("the response is empty") if not text else Score.of(len(text) + self.offset)


def groups(*texts: str) -> list[Group]:
    return [Group(Problem(str(place), "q"), (Response(text),)) for place, text in enumerate(texts)]


def values(scores: list[list[Score]]) -> list[float | None]:
    return [score.value if score.ok else None for [score] in scores]


@pytest.fixture(scope="module")
def cluster():
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def make(cluster):
    made = []

    def start(replicas: int = 1, target: str = "tests.rewards.test_actors.Lengths", timeout_s=60, **config):
        root = str(Path(__file__).parents[2])
        options = {"num_cpus": 0.1, "runtime_env": {"env_vars": {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"}}}
        config["_target_"] = target
        events: list[str] = []
        made.append(
            RewardGroup(config, replicas=replicas, ray_options=options, timeout_s=timeout_s, event=events.append)
        )
        made[-1].events = events
        return made[-1]

    yield start
    for group in made:
        group.close()


@pytest.mark.e2e
def test_scores_come_back_in_order(make):
    reward = make(replicas=2, offset=0.5)
    assert values(reward.score(groups("a", "bbb", "", "cc", ""))) == [1.5, 3.5, None, 2.5, None]
    assert (reward.replaced, reward.events) == (0, [])


@pytest.mark.e2e
def test_a_replica_that_dies_is_replaced_and_its_part_scored_once_again(make, tmp_path):
    reward = make(replicas=2, record=str(tmp_path / "died"))
    assert values(reward.score(groups("die once", "aa", "", "bbb"))) == [8, 2, None, 3]
    assert reward.replaced == 1
    [event] = reward.events
    assert re.fullmatch(r"reward replica [01] died while scoring and is replaced", event)


@pytest.mark.e2e
def test_replicas_that_die_again_and_again_are_an_error(make):
    reward = make()
    with pytest.raises(RuntimeError, match="3 reward replicas in a row died"):
        reward.score(groups("die always"))
    assert (len(reward.events), reward.replaced) == (3, 3), "each of them is told, even those before an error"


@pytest.mark.e2e
def test_a_fault_of_the_set_up_is_raised_as_it_is(make):
    with pytest.raises(ValueError, match=r"^reward.offset must not be negative"):
        make(offset=-1.0).score(groups("a"))


class Loads(Lengths):
    """A reward with weights, whose loading may fail in several ways."""

    def __init__(self, fails: str = "") -> None:
        super().__init__()
        self.fails, self.loaded = fails, False

    def load(self) -> None:
        if self.fails == "error":
            raise ValueError("model.safetensors is cut short")
        if self.fails == "death":
            os._exit(1)
        if self.fails == "sleep":
            time.sleep(60)
        self.loaded = True

    def score(self, groups):
        assert self.loaded
        return super().score(groups)


LOADS = "tests.rewards.test_actors.Loads"


@pytest.mark.e2e
def test_to_wait_is_to_have_every_replicas_weights_loaded(make):
    reward = make(replicas=2, target=LOADS)
    reward.wait()
    assert values(reward.score(groups("a", "bb"))) == [1, 2]
    make().wait()  # a reward without weights is ready as soon as it is made


@pytest.mark.parametrize(
    ("fails", "kind", "message"),
    [
        ("error", ValueError, "model.safetensors is cut short"),
        ("death", RuntimeError, "reward replica 0 died while loading its model"),
        ("sleep", TimeoutError, "reward replica 0 did not load its model within 4 s"),
    ],
)
@pytest.mark.e2e
def test_a_model_that_does_not_load_is_an_error_before_anything_is_scored(make, fails, kind, message):
    with pytest.raises(kind, match=message):
        make(target=LOADS, fails=fails, timeout_s=4 if fails == "sleep" else 60).wait()


def test_wrapped_rewards_load_the_weights_inside_them():
    inner = [Loads() for _ in range(3)]
    mixture = MixtureReward({"a": Term(inner[0]), "b": Term(ShapedReward(inner[1])), "c": Term(VerifierReward())})
    mixture.load()
    PairJudgeReward(judge=SimpleNamespace(judge=None, load=inner[2].load)).load()
    assert all(one.loaded for one in inner)


@pytest.mark.e2e
def test_a_hung_replica_is_given_up_and_replaced(make):
    reward = make(timeout_s=4)
    with pytest.raises(TimeoutError, match="did not answer within 4 s: raise cluster"):
        reward.score(groups("sleep"))
    assert reward.events == ["reward replica 0 did not answer within 4 s and is replaced"]
    reward.timeout_s = 60
    assert values(reward.score(groups("a"))) == [1]


@pytest.mark.e2e
def test_a_reward_model_scores_in_an_actor_as_here(make, llama31):
    config = {"_target_": "rewards.process.ProcessReward", "model": llama31, "device": "cpu"}
    here = build_reward(config).score(rollout())
    there = make(target=config.pop("_target_"), **config).score(rollout())
    for one, other in zip(here, there, strict=True):
        assert [score.steps for score in one] == [pytest.approx(score.steps, abs=1e-5) for score in other]


class Typed(Reward):
    """A reward that keeps its arguments as they come."""

    def __init__(self, pair: tuple[float, ...], scale: float, inner: Reward | None = None) -> None:
        self.pair, self.scale, self.inner = pair, scale, inner

    def score(self, groups):
        return []

    def arguments(self) -> list:
        own = [self.pair, self.scale, type(self.scale)]
        return own + (self.inner.arguments() if self.inner else [])


def test_an_actor_builds_the_very_reward_that_the_driver_checked():
    node = {"_target_": "tests.rewards.test_actors.Typed", "pair": [1, 2.5], "scale": 3}
    node |= {"inner": {**node, "scale": 4}}
    actor = RewardActor()
    actor.load(node, None, None)
    assert actor.reward.arguments() == build_reward(node).arguments()
    assert actor.reward.arguments() == [(1.0, 2.5), 3.0, float, (1.0, 2.5), 4.0, float]


def test_an_actor_refuses_what_the_driver_refuses():
    node = {"_target_": "tests.rewards.test_actors.Typed", "pair": [1, 2.5], "scale": "3"}
    with pytest.raises(ValueError, match=r"^reward.scale: expected float, got '3'"):
        RewardActor().load(node, None, None)


@pytest.mark.e2e
def test_no_groups_need_no_replica(make):
    assert make().score([]) == []


@given(st.lists(st.integers(1, 100)), st.integers(1, 5))
def test_shares_hold_every_index_once_and_differ_by_at_most_one_group(lengths, shares):
    shared = share_out(lengths, shares)
    assert sorted(index for share in shared for index in share) == list(range(len(lengths)))
    totals = [sum(lengths[index] for index in share) for share in shared]
    assert max(totals) - min(totals) <= max(lengths, default=0)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"_target_": "rewards.process.ProcessReward", "model": "/nowhere"}, "there is no model folder"),
        ({"_target_": "collections.Counter"}, "does not derive from rewards.types.Reward"),
        ({"_target_": "rewards.nowhere.Reward"}, "rewards.nowhere"),
    ],
)
def test_a_node_that_makes_no_reward_is_refused_in_one_line(config, message):
    with pytest.raises(ValueError, match=message) as error:
        build_reward(config)
    assert "\n" not in str(error.value)


def test_no_replicas_are_refused():
    with pytest.raises(ValueError, match="reward_replicas must be at least 1"):
        RewardGroup({}, replicas=0)
