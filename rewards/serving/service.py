"""What the application does with a request once it is read: limits, holding, queue. It knows nothing of HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from rewards.serving.form import BadRequest, Form, Piece, Reading
from rewards.serving.holding import Holding
from rewards.serving.metrics import Metrics
from rewards.serving.queue import BatchingQueue, Busy, QueueLimits, Scored, tokens_of
from rewards.serving.texts import Texts
from rewards.types import Group, Reward, Score


@dataclass(frozen=True)
class Limits:
    """body_bytes, responses, tokens: the most in one request. held_bytes: the most of all bodies at a time.

    body_s: the longest that a body may take to arrive. group_size: how many responses single requests with the same
    problem are held for; None: they are scored as they come. hold_s: the longest that a group is held.
    """

    body_bytes: int = 16 * 2**20
    held_bytes: int = 256 * 2**20
    responses: int = 1024
    tokens: int = 1_048_576
    body_s: float = 30.0
    group_size: int | None = None
    hold_s: float = 60.0
    queue: QueueLimits = field(default_factory=QueueLimits)

    def __post_init__(self) -> None:
        for name in ("body_bytes", "responses", "tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.held_bytes < self.body_bytes:
            raise ValueError(f"held_bytes ({self.held_bytes}) must be at least body_bytes ({self.body_bytes})")
        if self.group_size is not None and self.group_size < 2:
            raise ValueError(f"group_size must be at least 2, or null for no holding, not {self.group_size}")
        if self.body_s <= 0 or not 0 < self.hold_s < self.queue.timeout_s:
            raise ValueError(f"hold_s ({self.hold_s:g}) must be above 0 and below timeout_s ({self.queue.timeout_s:g})")


class Service:
    """A reward behind a queue. Its methods must be called in one event loop.

    `load` loads the weights (the reward's own `load` by default); `failed` is told in one line if that raises.
    """

    def __init__(
        self,
        reward: Reward,
        texts: Texts,
        limits: Limits,
        name: str,
        *,
        load: Callable[[], None] | None = None,
        failed: Callable[[str], None] = lambda reason: None,
    ) -> None:
        self.reward, self.texts, self.limits, self.name = reward, texts, limits, name
        self._load_weights, self._failed = load or reward.load, failed
        self.queue = BatchingQueue(reward.score, limits.queue, lambda batch: self.metrics.batch(batch))
        self.holding = Holding(self.queue.score, limits.hold_s, limits.queue.responses)
        self.metrics = Metrics(lambda: self.queue.responses, lambda: self.holding.responses)
        self.loaded = self.draining = False
        self.fault = ""
        self._loading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to load the reward's weights. Requests get 503 until they are there."""
        self.queue.start()
        self._loading = asyncio.create_task(self._load())

    async def _load(self) -> None:
        try:
            await asyncio.to_thread(self._load_weights)
            self.loaded = True
        except Exception as error:
            self.fault = f"the reward cannot be loaded: {str(error).splitlines()[0] if str(error) else error!r}"
            self._failed(self.fault)

    def drain(self) -> None:
        """Take no new requests and let go of incomplete groups; what is in the queue is still answered."""
        self.draining = True
        self.holding.close()

    async def close(self) -> None:
        """Drain, and wait until everything is scored."""
        self.drain()
        await self.queue.close()

    def check_ready(self) -> None:
        """Raise Busy (503) while the service is loading or stopping."""
        if self.draining:
            raise Busy("the service is stopping", 503)
        if not self.loaded:
            raise Busy(self.fault or "the reward is being loaded", 503, 5.0)

    def read(self, form: Form, body: object) -> tuple[object, Reading, int]:
        """A body's request, its reading, and its estimated tokens. Raises BadRequest."""
        request = form.parse(body)
        reading = form.read(request, self.texts)
        if len(reading.places) > self.limits.responses:
            raise BadRequest(f"{len(reading.places)} responses in one request: at most {self.limits.responses}", 413)
        tokens = tokens_of([piece.group for piece in reading.pieces])
        if tokens > self.limits.tokens:
            raise BadRequest(f"about {tokens} tokens in one request: at most {self.limits.tokens}", 413)
        return request, self._held(form, reading), tokens

    async def scores(self, reading: Reading) -> list[Score]:
        """One score per place of the reading. Raises Busy."""
        whole = [piece.group for piece in reading.pieces if piece.size is None]
        parts = [piece for piece in reading.pieces if piece.size is not None]
        if parts:
            scored = await self._with_parts(whole, parts)
        else:
            scored = await self.queue.score(whole) if whole else []
        found, pieces = iter(scored), iter(scored[len(whole) :])
        scores = reading.arranged([next(found) if piece.size is None else next(pieces) for piece in reading.pieces])
        self.metrics.scored(scores)
        return scores

    async def _with_parts(self, whole: Sequence[Group], parts: Sequence[Piece]) -> Scored:
        """The scores of whole groups, then those of parts, which wait for the rest of their groups."""
        limit = self.limits.queue.timeout_s
        tasks = [asyncio.create_task(self.holding.score(piece)) for piece in parts]
        try:
            async with asyncio.timeout(limit):
                first = await self.queue.score(whole) if whole else []
                return [*first, *(await asyncio.gather(*tasks))]
        except TimeoutError:
            raise Busy(f"no score within {limit:g} s", 503, self.queue.retry_s()) from None
        finally:
            for task in tasks:
                task.cancel()

    def _held(self, form: Form, reading: Reading) -> Reading:
        """The reading, with single responses held for their group if the service has a group size."""
        size = self.limits.group_size
        if form.whole_groups:
            return reading
        if size is None:
            if self.reward.compares_responses and any(len(piece.group.responses) == 1 for piece in reading.pieces):
                raise BadRequest(
                    "this reward compares the responses of a group, and the request has a single one: use /score, or "
                    "start the service with group_size",
                    422,
                )
            return reading
        for piece in reading.pieces:
            if len(piece.group.responses) > size:
                raise BadRequest(
                    f"{len(piece.group.responses)} responses to one prompt, but the service's group_size is {size}", 422
                )
        return replace(reading, pieces=tuple(replace(piece, size=size) for piece in reading.pieces))
