"""Rewards over real HTTP: the forms on the wire, and endpoints that fail in every usual way."""

from __future__ import annotations

import asyncio
import time

import pytest

from rewards.remote import RemoteReward
from rewards.types import Group, Problem, Response
from tests.rewards.servers import serving
from tests.tiny import make_tokenizer


def groups(*texts, answer="2"):
    return [Group(Problem("p", "1 + 1?", answer), tuple(Response(text) for text in texts))]


def lengths(body, before):
    """A reward for every response: its length."""
    texts = body.get("responses") or body["query"]
    return 200, {"rewards": [float(len(text)) for text in texts]}


def quick(url, **options):
    return RemoteReward(url, **{"tries": 2, "backoff_s": 0.01, "timeout_s": 5.0} | options)


def test_openrlhf_form_sends_one_response_a_request_with_prompt_and_label():
    with serving(lambda body, before: (200, {"rewards": [0.5], "scores": [1], "extra_logs": {"x": [3]}})) as server:
        [scores] = quick(server.url).score(groups("2", "two"))
    assert [score.value for score in scores] == [0.5, 0.5]
    assert scores[0].parts == {"x": 3.0, "score": 1.0}
    assert {"query": ["1 + 1?\ntwo"], "prompts": ["1 + 1?"], "labels": ["2"]} in server.bodies
    assert len(server.bodies) == 2


def test_openrlhf_form_writes_the_policys_template_when_given_its_tokenizer(tmp_path):
    make_tokenizer().save_pretrained(tmp_path)
    with serving(lengths) as server:
        quick(server.url, tokenizer=str(tmp_path)).score(groups("two"))
    [body] = server.bodies
    assert body["prompts"] == ["<|bos|><|user|>1 + 1?<|end|><|assistant|>"]
    assert body["query"] == ["<|bos|><|user|>1 + 1?<|end|><|assistant|>two<|end|>"]


def test_batched_form_sends_batches_and_keeps_the_order():
    texts = [str(10**n) for n in range(9)]
    with serving(lengths) as server:
        [scores] = quick(server.url, form="batched", batch_size=4).score(groups(*texts))
    assert [score.value for score in scores] == [float(len(text)) for text in texts]
    assert sorted(len(body["responses"]) for body in server.bodies) == [1, 4, 4]
    assert server.bodies[0]["labels"] == ["2"] * len(server.bodies[0]["labels"])


@pytest.mark.parametrize("form", ["openrlhf", "batched"])
def test_other_columns_are_sent_where_they_are_asked_for(form):
    two = [Group(Problem("p", "1 + 1?", "2", {"level": level}), (Response("two"),)) for level in (1, 2)]
    with serving(lengths) as server:
        quick(server.url, form=form, metadata=True).score(two)
        quick(server.url, form=form).score(two[:1])
    sent = [level for body in server.bodies[:-1] for level in body["metadata"]]
    assert sorted(sent, key=str) == [{"level": 1}, {"level": 2}], "equal responses to unlike rows are not one"
    assert "metadata" not in server.bodies[-1]


def test_equal_responses_are_posted_once():
    with serving(lengths) as server:
        [scores] = quick(server.url).score(groups("same", "same", "same"))
    assert len(server.bodies) == 1
    assert len({score.value for score in scores}) == 1


def test_no_more_than_max_in_flight_requests_at_a_time():
    with serving(lengths, delay=0.05) as server:
        quick(server.url, max_in_flight=3).score(groups(*map(str, range(12))))
    assert server.most_in_flight <= 3
    assert len(server.bodies) == 12


def test_an_error_500_is_tried_again():
    with serving(lambda body, before: lengths(body, before) if before else (500, {})) as server:
        [[score]] = quick(server.url).score(groups("two"))
    assert score.ok
    assert len(server.bodies) == 2


def test_lasting_500s_fail_the_scores_with_the_reason(caplog):
    with serving(lambda body, before: (500, {})) as server:
        [scores] = quick(server.url, tries=3).score(groups("a", "b"))
    assert [score.failure for score in scores] == ["the endpoint answered 500 (3 tries)"] * 2
    assert len(server.bodies) == 6
    assert "2 of 2 requests failed" in caplog.text


def test_a_refusal_is_final_and_not_tried_again():
    with serving(lambda body, before: (404, {})) as server:
        [[score]] = quick(server.url, tries=5).score(groups("a"))
    assert score.failure == "the endpoint answered 404"
    assert len(server.bodies) == 1


def test_a_hanging_endpoint_fails_in_bounded_time():
    with serving(lengths, delay=1.5) as server:
        start = time.monotonic()
        [scores] = quick(server.url, timeout_s=0.1).score(groups("a", "b"))
        took = time.monotonic() - start
    assert [score.failure for score in scores] == ["the endpoint gave no answer within 0.1 s (2 tries)"] * 2
    assert took < 1.4


def test_an_endpoint_that_is_away_fails_with_the_reason():
    [[score]] = quick("http://127.0.0.1:9/get_reward").score(groups("a"))
    assert score.failure is not None and score.failure.startswith("the endpoint cannot be reached")


def test_one_reward_too_few_fails_that_batch_and_no_other():
    def one_too_few(body, before):
        rewards = [1.0] * len(body["responses"])
        return 200, {"rewards": rewards[:-1] if "bad" in body["responses"] else rewards}

    with serving(one_too_few) as server:
        [scores] = quick(server.url, form="batched", batch_size=2).score(groups("a", "b", "c", "bad"))
    assert [score.ok for score in scores] == [True, True, False, False]
    assert scores[2].failure == "the endpoint returned 1 rewards for 2 responses"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"rewards": [None]}, "returned None as a reward"),
        ({"rewards": ["high"]}, "returned 'high' as a reward"),
        ({"rewards": 1.0}, "no list `rewards`"),
        ({"reward": [1.0]}, "no list `rewards`"),
        ([1.0], "not a JSON object"),
        (b"<html>", "not a JSON object"),
        (b'{"rewards": [NaN]}', "not finite"),
    ],
)
def test_an_answer_that_is_no_number_fails_the_score(content, reason):
    with serving(lambda body, before: (200, content)) as server:
        [[score]] = quick(server.url).score(groups("a"))
    assert not score.ok and reason in score.failure


def test_it_also_works_inside_a_running_event_loop():
    async def inside(url):
        return quick(url).score(groups("two"))

    with serving(lengths) as server:
        assert asyncio.run(inside(server.url))[0][0].ok


def test_headers_are_sent_along():
    with serving(lengths) as server:
        quick(server.url, headers={"Authorization": "Bearer x"}).score(groups("a"))
    assert {name.lower(): value for name, value in server.headers[0].items()}["authorization"] == "Bearer x"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "soap"}, "form"),
        ({"batch_size": 0}, "batch_size"),
        ({"url": "localhost:5000"}, "http://"),
        ({"tries": 0}, "tries"),
        ({"timeout_s": 0.0}, "timeout_s"),
        ({"tokenizer": "EMPTY"}, "cannot load its tokenizer"),
    ],
)
def test_options_that_cannot_work_are_refused(options, message, tmp_path):
    if "tokenizer" in options:
        options = {"tokenizer": str(tmp_path)}
    with pytest.raises(ValueError, match=message):
        RemoteReward(**{"url": "http://127.0.0.1:1/x"} | options)


def test_a_prompt_that_the_template_refuses_fails_alone_and_is_not_sent(tmp_path):
    tokenizer = make_tokenizer()
    tokenizer.chat_template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        + tokenizer.chat_template
    )
    tokenizer.save_pretrained(tmp_path)
    turns = ({"role": "system", "content": "x"}, {"role": "user", "content": "y"})
    with serving(lengths) as server:
        reward = quick(server.url, tokenizer=str(tmp_path), form="batched")
        refused = Group(Problem("s", turns), (Response("a"),))  # type: ignore[arg-type]
        [[first], [second]] = reward.score([refused, *groups("two")])
    assert not first.ok and "no system role" in first.failure
    assert second.value == 3.0 and len(server.bodies) == 1
