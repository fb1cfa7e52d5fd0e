"""Groups that arrive in pieces: held until they are complete, then scored as one, for rewards that compare responses.

Pieces belong together if they have the same problem, key and size. More pieces than one group needs begin the next
group. A group that is not complete after `hold_s` fails, with the number of responses that came.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rewards.serving.form import Piece, problem_key
from rewards.serving.queue import Busy, Scored
from rewards.types import Group, Response, Score

Key = tuple[Any, ...]


@dataclass
class _Part:
    responses: tuple[Response, ...]
    scores: asyncio.Future[list[Score]]


@dataclass
class _Held:
    parts: list[_Part] = field(default_factory=list)
    timer: asyncio.TimerHandle | None = None

    @property
    def responses(self) -> int:
        return sum(len(part.responses) for part in self.parts)


class Holding:
    """See the module. `score` scores complete groups; `most` is the most responses that may be held (429 beyond it)."""

    def __init__(self, score: Callable[[Sequence[Group]], Awaitable[Scored]], hold_s: float, most: int) -> None:
        self.hold_s, self.most = hold_s, most
        self._score = score
        self._held: dict[Key, _Held] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._closed = False
        self.responses = 0  # held

    async def score(self, piece: Piece) -> list[Score]:
        """The scores of a piece, once its group is complete. Raises Busy if no more can be held, or when closing."""
        assert piece.size is not None
        responses = piece.group.responses
        key = (*problem_key(piece.group.problem), piece.key, piece.size)
        if self._closed:
            raise Busy("the service is stopping", 503)
        held = self._held.get(key)
        if held is not None and (twin := _abandoned_twin(held, responses)) is not None:
            # The client of this piece has gone away and sends it again.
            twin.scores = asyncio.get_running_loop().create_future()
            return await twin.scores
        if self.responses + len(responses) > self.most:
            raise Busy(f"{self.responses} responses are held for their groups: no more can be", 429, self.hold_s / 2)
        if held is not None and held.responses + len(responses) > piece.size:
            room = piece.size - held.responses
            return [Score.failed(f"the group has room for {room} more responses, not {len(responses)}")] * len(
                responses
            )
        if held is None:
            held = self._held[key] = _Held()
            held.timer = asyncio.get_running_loop().call_later(self.hold_s, self._expire, key, piece.size)
        part = _Part(responses, asyncio.get_running_loop().create_future())
        held.parts.append(part)
        self.responses += len(responses)
        if held.responses == piece.size:
            self._release(key)
            task = asyncio.create_task(self._finish(piece, held))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return await part.scores

    def close(self) -> None:
        """Answer 503 to every piece of an incomplete group, and take no more."""
        self._closed = True
        for key in list(self._held):
            for part in self._release(key).parts:
                _fail(part, Busy("the service is stopping", 503))

    def _release(self, key: Key) -> _Held:
        held = self._held.pop(key)
        self.responses -= held.responses
        if held.timer is not None:
            held.timer.cancel()
        return held

    def _expire(self, key: Key, size: int) -> None:
        held = self._release(key)
        reason = f"only {held.responses} of the group's {size} responses came within {self.hold_s:g} s (hold_s)"
        for part in held.parts:
            _answer(part, [Score.failed(reason)] * len(part.responses))

    async def _finish(self, piece: Piece, held: _Held) -> None:
        """Score a complete group and answer its pieces."""
        responses = tuple(response for part in held.parts for response in part.responses)
        try:
            [scores] = await self._score([Group(piece.group.problem, responses)])
        except Busy as error:
            for part in held.parts:
                _fail(part, error)
            return
        left = iter(scores)
        for part in held.parts:
            _answer(part, [next(left) for _ in part.responses])


def _abandoned_twin(held: _Held, responses: tuple[Response, ...]) -> _Part | None:
    """A part with the same responses whose client has gone away."""
    return next((part for part in held.parts if part.scores.cancelled() and part.responses == responses), None)


def _answer(part: _Part, scores: list[Score]) -> None:
    if not part.scores.done():
        part.scores.set_result(scores)


def _fail(part: _Part, error: Exception) -> None:
    if not part.scores.done():
        part.scores.set_exception(error)
