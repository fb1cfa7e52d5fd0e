"""`reward=remote` in every form against the service, over real HTTP."""

from __future__ import annotations

import pytest

from rewards.remote import RemoteReward
from rewards.serving.forms import FORMS
from rewards.serving.queue import QueueLimits
from rewards.serving.service import Limits
from rewards.serving.texts import Texts
from rewards.types import Group, Problem, Response
from tests.rewards.serving.rewards import Longest, Marks
from tests.rewards.serving.running import serving
from tests.tiny import make_tokenizer

GROUPS = [
    Group(Problem(f"p{n}", f"{n} + 1?", str(n + 1)), tuple(Response(f"{n}: {text}") for text in ("a", "b\nc", "d")))
    for n in range(5)
]
PATHS = {form.name: form.path for form in FORMS}
IN_MESSAGES = ("rewardloop", "nemo_gym_verify", "nemo_gym_compare")


@pytest.fixture(scope="module")
def policy(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("policy")
    make_tokenizer().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def url(policy):
    with serving(Marks(), Texts(policy)) as address:
        yield address


@pytest.mark.parametrize("name", sorted(PATHS))
def test_every_form_brings_the_scores_of_the_reward_itself(url, policy, name):
    tokenizer = {} if name in IN_MESSAGES else {"tokenizer": policy}
    remote = RemoteReward(url + PATHS[name], form=name, **tokenizer)
    found = remote.score([*GROUPS, Group(GROUPS[0].problem, (Response(""), Response("good")))])
    expected = Marks().score(GROUPS)
    assert [[score.value for score in scores] for scores in found[:-1]] == [
        [score.value for score in scores] for scores in expected
    ]
    assert "the response is empty" in str(found[-1][0].failure) and found[-1][1].ok
    if name == "rewardloop":
        assert found[:-1] == expected, "steps, spans and parts, too"


def test_a_judge_is_asked_about_whole_groups_however_they_are_batched():
    with serving(Longest()) as url:
        for options in ({"form": "rewardloop", "compares": True, "batch_size": 4}, {"form": "nemo_gym_compare"}):
            found = RemoteReward(url + PATHS[options["form"]], **options).score(GROUPS)
            values = [[score.value for score in scores] for scores in found]
            assert values == [[score.value for score in scores] for scores in Longest().score(GROUPS)]


def test_a_client_waits_as_long_as_a_full_queue_says_and_gets_all_its_scores():
    limits = Limits(queue=QueueLimits(responses=3, wait_s=0.0))
    with serving(Marks(seconds=0.05), limits=limits) as url:
        groups = [Group(Problem("", f"q{n}"), (Response("a"),)) for n in range(12)]
        found = RemoteReward(url + "/slime", form="slime", tries=30, backoff_s=0.1).score(groups)
    assert all(score.ok for [score] in found)


def test_the_reason_of_a_refusal_reaches_the_score_and_half_a_character_is_not_sent():
    with serving(Marks(), token="secret") as url:
        [[score]] = RemoteReward(url + "/score", form="rewardloop").score([Group(Problem("", "q"), (Response("a"),))])
        assert score.failure == "the endpoint answered 401: The bearer token is missing or wrong."
        remote = RemoteReward(url + "/score", form="rewardloop", headers={"Authorization": "Bearer secret"})
        [[bad], [good]] = remote.score([Group(Problem("", "q"), (Response(text),)) for text in ("a\ud83d", "a")])
        assert "half a character" in str(bad.failure) and good.ok
