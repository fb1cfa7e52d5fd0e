"""Post many JSON bodies to one HTTP endpoint: a bounded number in flight, time-outs, retries with back-off.

A request that gets no usable answer returns a failure reason; it never raises, which would lose the other answers.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import threading
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx

from rewards.options import require_read

T = TypeVar("T")

RETRIED_STATUSES = frozenset({408, 409, 425, 429})
"""Statuses below 500 that are retried. Every 5xx is retried too; any other 4xx is final."""

_LONGEST_WAIT_S = 60.0

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reply:
    """The JSON value an endpoint returned, or the reason why there is none."""

    body: Any
    failure: str | None = None


@dataclass(frozen=True)
class Endpoint:
    """A URL, posted to exactly as given, with its time-out and retry settings.

    `timeout_s`: longest wait for one answer. `tries`: total attempts. `backoff_s`: wait before the second attempt; it
    doubles with each retry (up to 60 s), and the actual wait is random between half of it and all of it, so that
    clients do not retry in step. An answer's Retry-After (up to 60 s) is the least wait. `max_in_flight`: concurrent
    requests. Raises ValueError for a number out of range or
    a URL without http(s)://.
    """

    url: str
    timeout_s: float = 180.0
    tries: int = 5
    backoff_s: float = 1.0
    max_in_flight: int = 64
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"url must begin with http:// or https://, not {self.url!r}")
        if self.timeout_s <= 0 or self.backoff_s < 0:
            raise ValueError(f"timeout_s ({self.timeout_s}) must be above 0, backoff_s ({self.backoff_s}) at least 0")
        if self.tries < 1 or self.max_in_flight < 1:
            raise ValueError(f"tries ({self.tries}) and max_in_flight ({self.max_in_flight}) must be at least 1")
        require_read(self, "backoff_s", self.tries > 1, "tries above 1")

    def post_all(self, bodies: Sequence[Mapping[str, Any]]) -> list[Reply]:
        """Post every body and return the replies in order. Blocks until all are answered or have failed."""
        if not bodies:
            return []
        replies = _run(self._post_all(bodies))
        failures = Counter(reply.failure for reply in replies if reply.failure)
        if failures:
            reason, count = failures.most_common(1)[0]
            _logger.warning(
                "%s: %d of %d requests failed; %d of them: %s", self.url, failures.total(), len(bodies), count, reason
            )
        return replies

    async def _post_all(self, bodies: Sequence[Mapping[str, Any]]) -> list[Reply]:
        limits = httpx.Limits(max_connections=self.max_in_flight)
        # Requests wait at the semaphore, outside the time-out, and never for a connection of the pool.
        gate = asyncio.Semaphore(self.max_in_flight)
        async with httpx.AsyncClient(timeout=self.timeout_s, limits=limits, headers=dict(self.headers)) as client:
            return await asyncio.gather(*(self._post(client, gate, body) for body in bodies))

    async def _post(self, client: httpx.AsyncClient, gate: asyncio.Semaphore, body: Mapping[str, Any]) -> Reply:
        """Post one body until it is answered, fails for good, or runs out of tries."""
        async with gate:
            least = 0.0
            for attempt in range(self.tries):
                if attempt:
                    wait = min(_LONGEST_WAIT_S, self.backoff_s * 2 ** (attempt - 1))
                    await asyncio.sleep(max(least, wait * random.uniform(0.5, 1.0)))
                reply, passing, least = await self._try(client, body)
                if reply.failure is None or not passing:
                    break
            if reply.failure is not None and passing and self.tries > 1:
                return Reply(None, f"{reply.failure} ({self.tries} tries)")
            return reply

    async def _try(self, client: httpx.AsyncClient, body: Mapping[str, Any]) -> tuple[Reply, bool, float]:
        """One attempt: the reply, whether a failure is worth retrying, and the least seconds to wait before that."""
        # Not httpx's own encoder, which raises for half a character and for NaN; the endpoint refuses those.
        content = json.dumps(body).encode()
        sent = client.post(self.url, content=content, headers={"Content-Type": "application/json"})
        try:
            # httpx limits each read, not the whole request: an answer that trickles in would hang forever.
            response = await asyncio.wait_for(sent, self.timeout_s)
        except (httpx.TimeoutException, TimeoutError):
            return Reply(None, f"the endpoint gave no answer within {self.timeout_s:g} s"), True, 0.0
        except httpx.TransportError as error:
            return Reply(None, f"the endpoint cannot be reached ({type(error).__name__})"), True, 0.0
        status = response.status_code
        try:
            answer = response.json()
        except ValueError:
            if status == 200:
                return Reply(None, "the endpoint's answer is not a JSON object or another JSON value"), False, 0.0
            answer = None
        if status != 200:
            reason = _reason_in(answer)
            failure = f"the endpoint answered {status}" + (f": {reason}" if reason else "")
            return Reply(None, failure), status >= 500 or status in RETRIED_STATUSES, _retry_after(response)
        return Reply(answer), True, 0.0


def _reason_in(answer: Any) -> str:
    """What an error reply says, in one line: `detail`, `error.message` or `error`; "" if it says nothing."""
    if not isinstance(answer, Mapping):
        return ""
    error = answer.get("error")
    said = answer.get("detail") or (error.get("message") if isinstance(error, Mapping) else error)
    return " ".join(said.split())[:200] if isinstance(said, str) else ""


def _retry_after(response: httpx.Response) -> float:
    """The seconds in a reply's Retry-After; 0 without one, or if it is a date."""
    given = response.headers.get("retry-after", "")
    return min(_LONGEST_WAIT_S, float(given)) if given.isdecimal() else 0.0


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to completion; in a thread if an event loop is already running (async Ray actor, notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    results: list[T] = []
    errors: list[BaseException] = []

    def target() -> None:
        try:
            results.append(asyncio.run(work))
        except BaseException as error:  # raised again below, in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
