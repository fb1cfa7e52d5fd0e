"""The application: limits, token, statuses in each protocol's shape, readiness, metrics, and nothing said of texts."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from hypothesis import given, settings

from launch.bench.serve.bodies import VALID, requests
from rewards.serving.app import make_app
from rewards.serving.forms import FORMS
from rewards.serving.queue import QueueLimits
from rewards.serving.service import Limits, Service
from rewards.serving.texts import Texts
from rewards.types import Reward
from tests.rewards.serving.rewards import Longest, Marks, mark

SLIME = {"prompt": [{"role": "user", "content": "q"}], "response": "a"}
GROUP = {"groups": [{"problem": "q", "responses": ["a", "bb"]}]}


def run(
    work: Callable[[httpx.AsyncClient, Service], Awaitable[Any]],
    reward: Reward | None = None,
    limits: Limits | None = None,
    token: str | None = None,
    wait: bool = True,
) -> Any:
    """Run `work` with a client of a running application."""

    async def main() -> Any:
        service = Service(reward or Marks(), Texts(), limits or Limits(), "marks")
        app = make_app(service, token)
        transport = httpx.ASGITransport(app, raise_app_exceptions=True)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://s") as client,
        ):
            while wait and not service.loaded:
                await asyncio.sleep(0.001)
            return await asyncio.wait_for(work(client, service), 30)

    return asyncio.run(main())


def post(path: str, body: Any, **options: Any) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def work(client: httpx.AsyncClient, service: Service) -> httpx.Response:
        return await client.post(path, content=content)

    return run(work, **options)


def test_single_requests_of_many_clients_are_scored_in_few_calls():
    reward = Marks()

    async def work(client: httpx.AsyncClient, service: Service) -> None:
        bodies = [SLIME | {"response": f"r{number}"} for number in range(100)]
        replies = await asyncio.gather(*(client.post("/slime", json=body) for body in bodies))
        assert [reply.json() for reply in replies] == [mark("q", f"r{number}") for number in range(100)]

    run(work, reward, Limits(queue=QueueLimits(wait_s=0.1)))
    assert sum(reward.calls) == 100 and len(reward.calls) < 10


@pytest.mark.parametrize(
    ("path", "body", "shape"),
    [
        ("/score", {"groups": 1}, {"error": {"code": 400, "message": "groups: Input should be a valid list"}}),
        ("/get_reward", {}, {"detail": "query: Field required"}),
        ("/slime", {}, {"detail": "prompt: Field required"}),
        ("/v1/score/evaluation", {}, {"detail": "messages: Field required"}),
        (
            "/classify",
            {},
            {
                "error": {
                    "message": "give either input or messages",
                    "type": "BadRequestError",
                    "param": None,
                    "code": 400,
                }
            },
        ),
        ("/classify", {"text": 1}, None),
        ("/verify", {}, {"detail": "responses_create_params: Field required"}),
        ("/compare", {}, {"detail": "conversation_history: Field required"}),
    ],
)
def test_a_bad_request_gets_400_in_the_protocols_own_shape(path, body, shape):
    reply = post(path, body)
    assert reply.status_code == 400
    assert shape is None or reply.json() == shape


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/get_reward", {"query": ["q"], "prompts": ["q"], "labels": [None]}),
        ("/slime", SLIME | {"response": ""}),
        ("/slime/dict", SLIME | {"response": " "}),
        ("/classify", {"messages": [*SLIME["prompt"], {"role": "assistant", "content": ""}]}),
        ("/classify", {"text": ["q"]}),
        ("/v1/score/evaluation", {"messages": ["q"]}),
        ("/verify", {"responses_create_params": {"input": "q"}, "response": {"output": []}}),
        ("/compare", {"conversation_history": SLIME["prompt"], "response_objs": [{"output": []}]}),
    ],
)
def test_a_request_whose_scores_all_fail_gets_422_with_the_reason_and_no_number(path, body):
    reply = post(path, body)
    assert reply.status_code == 422
    assert "the response is empty" in reply.text or "told apart" in reply.text


def test_the_own_form_tells_failures_with_status_200():
    reply = post("/score", {"groups": [{"problem": "q", "responses": [""]}, {"problem": "", "responses": ["a"]}]})
    assert reply.status_code == 200
    assert [group["scores"] for group in reply.json()["groups"]] == [
        [{"failure": "the response is empty"}],
        [{"failure": "the prompt is empty"}],
    ]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff", "not UTF-8"),
        (b'{"prompt": "q", "prompt": "r"}', "given twice"),
        (b'{"prompt": "q", "response": "\\ud83d"}', "half a character"),
        (b'{"prompt": "q", "response": NaN}', "the number NaN"),
        (b"[" * 100_000, "levels deep"),
        (b"1" * 10_000, "too many digits"),
        (b'{"prompt": "q", "response": "r", "label": 1e999}', "too large"),
    ],
)
def test_a_body_that_is_not_usable_json_gets_400(body, reason):
    reply = post("/slime", body)
    assert reply.status_code == 400 and reason in reply.json()["detail"]


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(body_bytes=60), "at most 60"),
        (Limits(responses=1), "2 responses in one request: at most 1"),
        (Limits(tokens=1), "tokens in one request: at most 1"),
    ],
)
def test_a_request_that_is_too_large_gets_413(limits, message):
    body = {"groups": [{"problem": "a question", "responses": ["a", "bb"]}]}
    reply = post("/score", body, limits=limits)
    assert reply.status_code == 413 and message in reply.json()["error"]["message"]


def test_a_body_without_a_length_is_limited_too_and_all_bodies_together():
    async def chunks():
        for _ in range(20):
            yield b"x" * 100

    async def work(client: httpx.AsyncClient, service: Service) -> None:
        assert (await client.post("/slime", content=chunks())).status_code == 413
        service.limits = Limits(body_bytes=1000, held_bytes=1000)
        assert (await client.post("/slime", content=chunks())).status_code in (413, 429)
        assert (await client.post("/slime", json=SLIME)).status_code == 200, "what was held is let go"

    run(work, limits=Limits(body_bytes=1000))


def test_a_body_that_does_not_arrive_gets_408():
    async def slowly():
        yield b'{"prompt":'
        await asyncio.sleep(5)

    async def work(client: httpx.AsyncClient, service: Service) -> None:
        reply = await client.post("/slime", content=slowly())
        assert reply.status_code == 408 and "did not arrive within 0.05 s" in reply.json()["detail"]

    run(work, limits=Limits(body_s=0.05))


def test_with_a_token_only_its_bearers_are_answered():
    async def work(client: httpx.AsyncClient, service: Service) -> None:
        for value in (None, "Bearer wrong", "Basic secret", "secret", "Bearer sécret", "Bearer "):
            headers = {} if value is None else {"Authorization": value.encode()}
            reply = await client.post("/slime", json=SLIME, headers=headers)
            assert reply.status_code == 401 and reply.headers["www-authenticate"] == "Bearer"
            assert (await client.get("/metrics", headers=headers)).status_code == 401
        headers = {"Authorization": "Bearer secret"}
        assert (await client.post("/slime", json=SLIME, headers=headers)).status_code == 200
        assert (await client.get("/metrics", headers=headers)).status_code == 200
        assert (await client.get("/health")).status_code == (await client.get("/ready")).status_code == 200

    run(work, token="secret")


def test_until_the_reward_is_loaded_and_once_it_drains_requests_get_503():
    gate = threading.Event()

    class Slow(Marks):
        def load(self):
            assert gate.wait(10)

    async def work(client: httpx.AsyncClient, service: Service) -> None:
        for path, reply in (
            ("/ready", await client.get("/ready")),
            ("/slime", await client.post("/slime", json=SLIME)),
        ):
            assert (reply.status_code, reply.headers["retry-after"]) == (503, "5"), path
        assert (await client.get("/health")).status_code == 200
        gate.set()
        while not service.loaded:
            await asyncio.sleep(0.001)
        assert (await client.get("/ready")).json() == {"status": "ready", "reward": "marks"}
        service.drain()
        assert (await client.get("/ready")).json() == {"status": "the service is stopping"}
        assert (await client.post("/slime", json=SLIME)).status_code == 503

    run(work, Slow(), wait=False)


def test_a_reward_that_cannot_be_loaded_is_told():
    class Broken(Marks):
        def load(self):
            raise OSError("the weights are gone")

    async def work(client: httpx.AsyncClient, service: Service) -> None:
        while not service.fault:
            await asyncio.sleep(0.001)
        reply = await client.post("/slime", json=SLIME)
        assert reply.status_code == 503 and "the weights are gone" in reply.json()["detail"]

    run(work, Broken(), wait=False)


def test_a_full_queue_gets_429_with_retry_after():
    gate = threading.Event()

    async def work(client: httpx.AsyncClient, service: Service) -> None:
        tasks = [asyncio.create_task(client.post("/score", json=GROUP))]
        await asyncio.sleep(0.2)  # it is being scored
        tasks += [asyncio.create_task(client.post("/score", json=GROUP)) for _ in range(5)]
        done, waiting = await asyncio.wait(tasks, timeout=0.5)
        assert {task.result().status_code for task in done} == {429} and len(done) == 4
        assert all(int(task.result().headers["retry-after"]) >= 1 for task in done)
        gate.set()
        assert {(await task).status_code for task in waiting} == {200}

    run(work, Marks(gate=gate), Limits(queue=QueueLimits(responses=2, wait_s=0.0)))


def test_a_judge_is_asked_about_whole_groups_only():
    single = {"prompts": ["q"], "responses": ["a"]}

    async def without(client: httpx.AsyncClient, service: Service) -> None:
        reply = await client.post("/batched", json=single)
        assert reply.status_code == 422 and "start the service with group_size" in reply.json()["detail"]
        reply = await client.post("/batched", json={"prompts": ["q", "q"], "responses": ["a", "bb"]})
        assert reply.json()["rewards"] == [0.0, 1.0]
        scores = (await client.post("/score", json=GROUP)).json()["groups"][0]["scores"]
        assert scores == [{"value": 0.0, "matches": {"1": 0.0}}, {"value": 1.0, "matches": {"0": 1.0}}]

    async def with_size(client: httpx.AsyncClient, service: Service) -> None:
        bodies = [single | {"responses": ["x" * number]} for number in (1, 2, 3)]
        replies = await asyncio.gather(*(client.post("/batched", json=body) for body in bodies))
        assert [reply.json()["rewards"] for reply in replies] == [[0.0], [0.5], [1.0]]
        reply = await client.post("/batched", json=single)
        assert reply.status_code == 422 and "only 1 of the group's 3 responses came" in reply.json()["detail"]

    run(without, Longest())
    run(with_size, Longest(), Limits(group_size=3, hold_s=0.3))


def test_pieces_of_a_group_may_come_in_several_requests_to_the_own_form():
    def piece(text: str) -> dict[str, Any]:
        return {"groups": [{"problem": "q", "responses": [text], "group_size": 2, "group_id": "g", "id": text}]}

    async def work(client: httpx.AsyncClient, service: Service) -> None:
        replies = await asyncio.gather(*(client.post("/score", json=piece(text)) for text in ("a", "bb")))
        assert [reply.json()["groups"][0]["scores"][0]["value"] for reply in replies] == [0.0, 1.0]

    run(work, Longest())


def test_metrics_count_requests_scores_and_failures():
    async def work(client: httpx.AsyncClient, service: Service) -> str:
        await client.post("/slime", json=SLIME)
        await client.post("/slime", json=SLIME | {"response": ""})
        await client.post("/slime", json={})
        return (await client.get("/metrics")).text

    text = run(work)
    for line in (
        'rewardloop_requests_total{form="slime",status="200"} 1.0',
        'rewardloop_requests_total{form="slime",status="422"} 1.0',
        'rewardloop_requests_total{form="slime",status="400"} 1.0',
        "rewardloop_scores_total 1.0",
        "rewardloop_failed_scores_total 1.0",
        "rewardloop_waiting_responses 0.0",
    ):
        assert line in text


def test_no_text_of_a_request_is_logged_even_if_the_reward_raises(caplog, capfd):
    class Broken(Marks):
        def score(self, groups):
            raise RuntimeError("out of memory")

    with caplog.at_level(logging.DEBUG):
        reply = post("/slime", SLIME | {"response": "a-secret-text"}, reward=Broken())
        post("/slime", SLIME | {"response": {"a-secret-text": 1}})
    assert reply.status_code == 422 and "out of memory" in reply.json()["detail"]
    assert "a-secret-text" not in caplog.text + "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("options", "message"),
    [({"body_bytes": 0}, "body_bytes"), ({"group_size": 1}, "group_size"), ({"hold_s": 200.0}, "below timeout_s")],
)
def test_limits_that_cannot_work_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Limits(**options)


def test_every_path_has_a_valid_example():
    assert set(VALID) == {form.path for form in FORMS}


def test_no_body_makes_a_500_a_hang_or_a_reply_that_is_not_json():
    loop = asyncio.new_event_loop()
    service = Service(Marks(), Texts(), Limits(queue=QueueLimits(wait_s=0.0)), "marks")
    app = make_app(service)
    lifespan = app.router.lifespan_context(app)
    loop.run_until_complete(lifespan.__aenter__())
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://s")

    async def ask(path: str, content: bytes) -> httpx.Response:
        while not service.loaded:
            await asyncio.sleep(0.001)
        return await asyncio.wait_for(client.post(path, content=content), 10)

    @settings(max_examples=150, deadline=None)
    @given(case=requests())
    def check(case: tuple[str, bytes]) -> None:
        reply = loop.run_until_complete(ask(*case))
        assert reply.status_code in (200, 400, 413, 422), reply.text
        reply.json()

    try:
        check()
    finally:
        loop.run_until_complete(lifespan.__aexit__(None, None, None))
        loop.close()
