"""The queue: batches by tokens and time, bounded, and every request gets its own scores."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable

import pytest

from rewards.serving.queue import BatchingQueue, Busy, QueueLimits, tokens_of
from rewards.types import Group, Problem, Response
from tests.rewards.serving.rewards import Marks, mark


def group(*texts: str, problem: str = "q") -> Group:
    return Group(Problem("", problem), tuple(map(Response, texts)))


def run(
    work: Callable[[BatchingQueue], Awaitable[object]], reward: Marks, limits: QueueLimits | None = None
) -> BatchingQueue:
    """Run `work` with a queue, and close it."""

    async def main() -> BatchingQueue:
        queue = BatchingQueue(reward.score, limits or QueueLimits())
        queue.start()
        await asyncio.wait_for(work(queue), 20)
        await queue.close()
        return queue

    return asyncio.run(main())


def test_requests_that_come_together_are_scored_together_and_each_gets_its_own_scores():
    reward = Marks()
    texts = [f"answer {number}" for number in range(200)]

    async def work(queue: BatchingQueue) -> None:
        found = await asyncio.gather(*(queue.score([group(text, problem=text[::-1])]) for text in texts))
        assert [scores[0][0].value for scores in found] == [mark(text[::-1], text) for text in texts]

    run(work, reward, QueueLimits(wait_s=0.05))
    assert sum(reward.calls) == 200 and len(reward.calls) <= 2


def test_a_batch_ends_at_its_token_budget_and_a_larger_request_is_one_by_itself():
    reward = Marks()

    async def work(queue: BatchingQueue) -> None:
        await asyncio.gather(*(queue.score([group("x" * 36 + str(number))]) for number in range(8)))
        await asyncio.gather(queue.score([group("a" * 400, "b" * 400)]), queue.score([group("c")]))

    assert tokens_of([group("x" * 37)]) == 10
    run(work, reward, QueueLimits(batch_tokens=30, wait_s=0.2))
    assert reward.calls == [3, 3, 2, 2, 1]


def test_a_lonely_request_does_not_wait_longer_than_wait_s():
    async def work(queue: BatchingQueue) -> None:
        await asyncio.wait_for(queue.score([group("a")]), 1)

    run(work, Marks(), QueueLimits(wait_s=0.01))


def test_a_full_queue_refuses_with_429_and_a_time_and_recovers():
    gate = threading.Event()
    reward = Marks(gate=gate)

    async def work(queue: BatchingQueue) -> None:
        first = asyncio.create_task(queue.score([group("first")]))
        await asyncio.sleep(0.1)  # it is being scored
        waiting = [asyncio.create_task(queue.score([group("a", str(number))])) for number in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Busy, match="4 responses are waiting: the queue is full") as refused:
            await queue.score([group("b")])
        assert refused.value.status == 429 and refused.value.retry_s >= 1
        gate.set()
        await asyncio.gather(first, *waiting)
        assert (await queue.score([group("b")]))[0][0].ok

    queue = run(work, reward, QueueLimits(responses=4, wait_s=0.0))
    assert queue.responses == queue.tokens == 0


def test_a_request_that_takes_too_long_gets_503_and_leaves_nothing_behind():
    gate = threading.Event()

    async def work(queue: BatchingQueue) -> None:
        with pytest.raises(Busy, match=r"no score within 0\.1 s") as late:
            await queue.score([group("a")])
        assert late.value.status == 503
        gate.set()

    queue = run(work, Marks(gate=gate), QueueLimits(timeout_s=0.1, wait_s=0.0))
    assert queue.responses == queue.tokens == 0


def test_a_client_that_leaves_takes_its_request_out_and_costs_the_others_nothing():
    reward, gate = Marks(gate=(gate := threading.Event())), gate

    async def work(queue: BatchingQueue) -> None:
        first = asyncio.create_task(queue.score([group("first")]))
        await asyncio.sleep(0.1)
        left, stays = (asyncio.create_task(queue.score([group(text)])) for text in ("left", "stays"))
        await asyncio.sleep(0)
        left.cancel()
        await asyncio.sleep(0)
        assert queue.responses == 1
        first.cancel()  # while it is being scored
        gate.set()
        assert (await stays)[0][0].value == mark("q", "stays")

    run(work, reward, QueueLimits(wait_s=0.0))
    assert sum(reward.calls) == 2


def test_a_response_that_breaks_the_reward_fails_its_own_request_only():
    async def work(queue: BatchingQueue) -> None:
        found = await asyncio.gather(*(queue.score([group(text)]) for text in ("a", "poison", "b")))
        assert [scores[0][0].ok for scores in found] == [True, False, True]
        assert found[1][0][0].failure == "the reward raised RuntimeError: this response breaks the reward"

    run(work, Marks(), QueueLimits(wait_s=0.05))


def test_a_reward_that_returns_too_few_scores_fails_them():
    class Short(Marks):
        def score(self, groups):
            return super().score(groups)[:-1]

    async def work(queue: BatchingQueue) -> None:
        [[score]] = await queue.score([group("a")])
        assert "did not return one score per response" in score.failure

    run(work, Short())


def test_closing_answers_what_waits_and_refuses_what_comes_later():
    async def main() -> None:
        reward = Marks(seconds=0.05)
        queue = BatchingQueue(reward.score, QueueLimits(wait_s=10.0))
        queue.start()
        waiting = asyncio.create_task(queue.score([group("a")]))
        await asyncio.sleep(0)
        await asyncio.wait_for(queue.close(), 5)
        assert (await waiting)[0][0].ok
        with pytest.raises(Busy, match="the service is stopping"):
            await queue.score([group("b")])

    asyncio.run(main())


def test_under_random_load_with_vanishing_clients_no_score_is_lost_or_crossed():
    reward, rng = Marks(seconds=0.001), random.Random(1)

    async def client(queue: BatchingQueue, number: int) -> int:
        done = 0
        for turn in range(10):
            texts = [f"{number}-{turn}-{place}" for place in range(rng.randint(1, 4))]
            task = asyncio.create_task(queue.score([group(*texts, problem=f"q{number}")]))
            if rng.random() < 0.1:
                await asyncio.sleep(rng.random() * 0.01)
                task.cancel()
                continue
            [scores] = await task
            assert [score.value for score in scores] == [mark(f"q{number}", text) for text in texts]
            done += 1
        return done

    async def work(queue: BatchingQueue) -> None:
        assert sum(await asyncio.gather(*(client(queue, number) for number in range(50)))) > 400

    queue = run(work, reward, QueueLimits(batch_tokens=100, wait_s=0.002))
    assert queue.responses == queue.tokens == 0


@pytest.mark.parametrize("options", [{"batch_tokens": 0}, {"wait_s": -1.0}, {"timeout_s": 0.0}, {"responses": 0}])
def test_limits_that_cannot_work_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        QueueLimits(**options)
