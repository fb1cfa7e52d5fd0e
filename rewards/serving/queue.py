"""A bounded queue that turns many small requests into few large calls of a reward.

A batch is closed when it has `batch_tokens` tokens, or when its first request has waited `wait_s`. While a batch is
being scored, in a thread of its own, the next one collects. No request is split or overtaken, and its future gets the
scores of its own groups.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from rewards.types import Group, Score

_logger = logging.getLogger(__name__)

Scored = list[list[Score]]

BYTES_PER_TOKEN = 4
"""The estimate behind every limit in tokens. The exact limit of a model is its own `max_tokens`."""


class Busy(Exception):
    """The service takes no more at the moment. `retry_s`: seconds after which to try again."""

    def __init__(self, message: str, status: int, retry_s: float = 1.0) -> None:
        super().__init__(message)
        self.status, self.retry_s = status, retry_s


@dataclass(frozen=True)
class QueueLimits:
    """batch_tokens: estimated tokens of a batch; a larger request is a batch of its own. wait_s: how long the first
    request of a batch may wait for others. responses, tokens: the most that may wait. timeout_s: the longest that a
    request may take from its arrival to its scores.
    """

    batch_tokens: int = 32768
    wait_s: float = 0.005
    responses: int = 8192
    tokens: int = 8_388_608
    timeout_s: float = 170.0

    def __post_init__(self) -> None:
        for name in ("batch_tokens", "responses", "tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.wait_s < 0 or self.timeout_s <= 0:
            raise ValueError(f"wait_s ({self.wait_s}) must be at least 0, timeout_s ({self.timeout_s}) above 0")


@dataclass(frozen=True)
class Batch:
    """What was scored in one call: requests, responses, estimated tokens, seconds, and how long each request waited."""

    requests: int
    responses: int
    tokens: int
    seconds: float
    waited: tuple[float, ...]


@dataclass(frozen=True)
class _Job:
    groups: Sequence[Group]
    responses: int
    tokens: int
    entered: float
    scores: asyncio.Future[Scored]


class BatchingQueue:
    """See the module. `score` is the reward's; `report` is told of each batch, in the event loop's thread.

    Every method must be called in the same event loop.
    """

    def __init__(
        self,
        score: Callable[[Sequence[Group]], Scored],
        limits: QueueLimits,
        report: Callable[[Batch], None] = lambda batch: None,
    ) -> None:
        self.limits = limits
        self._score, self._report = score, report
        self._jobs: deque[_Job] = deque()
        self.responses = self.tokens = 0  # waiting
        self._arrived, self._closed = asyncio.Event(), False
        self._thread = ThreadPoolExecutor(1, "reward")
        self._worker: asyncio.Task[None] | None = None
        self._rate = 0.0  # estimated tokens per second, a moving average

    def start(self) -> None:
        """Begin to score."""
        self._worker = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Score what is waiting, take nothing more, and end the thread."""
        self._closed = True
        self._arrived.set()
        if self._worker is not None:
            await self._worker
        self._thread.shutdown(wait=False)

    async def score(self, groups: Sequence[Group]) -> Scored:
        """The scores of these groups. A caller that is cancelled takes its request out of the queue.

        Raises Busy if the queue is full (429), if it is closed (503), or after `timeout_s` (503).
        """
        responses, tokens = sum(len(group.responses) for group in groups), tokens_of(groups)
        self.admit(responses, tokens)
        job = _Job(groups, responses, tokens, time.monotonic(), asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        self.responses += responses
        self.tokens += tokens
        self._arrived.set()
        try:
            async with asyncio.timeout(self.limits.timeout_s):
                return await job.scores
        except TimeoutError:
            raise Busy(f"no score within {self.limits.timeout_s:g} s", 503, self.retry_s()) from None
        finally:
            if not job.scores.done():
                job.scores.cancel()
            self._forget(job)

    def admit(self, responses: int, tokens: int) -> None:
        """Raise Busy if so much more cannot wait."""
        if self._closed:
            raise Busy("the service is stopping", 503)
        # A request that is larger than the whole queue is taken while nothing waits: it could never be answered else.
        if self._jobs and (
            self.responses + responses > self.limits.responses or self.tokens + tokens > self.limits.tokens
        ):
            raise Busy(f"{self.responses} responses are waiting: the queue is full", 429, self.retry_s())

    def retry_s(self) -> float:
        """Seconds until about half of what waits is scored."""
        return min(60.0, max(1.0, 0.5 * self.tokens / self._rate)) if self._rate else 1.0

    def _forget(self, job: _Job) -> None:
        """Take a job that nobody waits for out of the queue."""
        try:
            self._jobs.remove(job)
        except ValueError:
            return  # it was taken into a batch
        self.responses -= job.responses
        self.tokens -= job.tokens

    async def _run(self) -> None:
        while True:
            while not self._jobs:
                if self._closed:
                    return
                self._arrived.clear()
                await self._arrived.wait()
            await self._collect()
            batch = self._take()
            if batch:
                await self._answer(batch)

    async def _collect(self) -> None:
        """Wait until the batch is full or its first job has waited long enough."""
        while self._jobs and not self._closed and self.tokens < self.limits.batch_tokens:
            left = self._jobs[0].entered + self.limits.wait_s - time.monotonic()
            if left <= 0:
                return
            self._arrived.clear()
            try:
                async with asyncio.timeout(left):
                    await self._arrived.wait()
            except TimeoutError:
                return

    def _take(self) -> list[_Job]:
        """The oldest jobs, within the token budget; one at least."""
        batch: list[_Job] = []
        tokens = 0
        while self._jobs and (not batch or tokens + self._jobs[0].tokens <= self.limits.batch_tokens):
            job = self._jobs.popleft()
            self.responses -= job.responses
            self.tokens -= job.tokens
            tokens += job.tokens
            batch.append(job)
        return batch

    async def _answer(self, batch: Sequence[_Job]) -> None:
        started = time.monotonic()
        loop = asyncio.get_running_loop()
        scored = await loop.run_in_executor(self._thread, self._scored, [job.groups for job in batch])
        seconds = time.monotonic() - started
        for job, scores in zip(batch, scored, strict=True):
            if not job.scores.done():
                job.scores.set_result(scores)
        tokens = sum(job.tokens for job in batch)
        rate = tokens / max(seconds, 1e-6)
        self._rate = rate if not self._rate else 0.8 * self._rate + 0.2 * rate
        waited = tuple(started - job.entered for job in batch)
        self._report(Batch(len(batch), sum(job.responses for job in batch), tokens, seconds, waited))

    def _scored(self, requests: Sequence[Sequence[Group]]) -> list[Scored]:
        """The scores of each request. If the reward raises, each request is scored on its own, so that one cannot fail
        the others; what raises again fails with the reason.
        """
        try:
            return self._shared_out(requests)
        except Exception as error:
            _logger.warning("the reward raised %s for a batch of %d requests", type(error).__name__, len(requests))
            if len(requests) > 1 and not isinstance(error, TimeoutError):
                return [self._scored([groups])[0] for groups in requests]
            reason = f"the reward raised {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            return [[[Score.failed(reason)] * len(group.responses) for group in groups] for groups in requests]

    def _shared_out(self, requests: Sequence[Sequence[Group]]) -> list[Scored]:
        groups = [group for request in requests for group in request]
        scores = self._score(groups)
        if [len(found) for found in scores] != [len(group.responses) for group in groups]:
            raise RuntimeError("the reward did not return one score per response")
        left = iter(scores)
        return [[next(left) for _ in request] for request in requests]


def tokens_of(groups: Sequence[Group]) -> int:
    """The estimated tokens that a reward model reads for these groups; the problem counts once per response."""
    total = 0
    for group in groups:
        problem = sum(_bytes(message["content"]) for message in group.problem.messages)
        total += sum(-(-(problem + _bytes(response.text)) // BYTES_PER_TOKEN) for response in group.responses)
    return total


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
