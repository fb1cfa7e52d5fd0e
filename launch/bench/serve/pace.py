"""Single requests of 32 clients, batched by the service and one by one, on the same model in turns.

A model's clients send one response each to `/slime`; a judge's send one pair each to `/compare`. Processor time is that
of the service, which a busy machine disturbs less than seconds.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import time
from dataclasses import dataclass
from typing import Any

from launch.bench.serve.load import request
from launch.bench.serve.running import Connection, Running, service

CLIENTS = 32
ONE_BY_ONE = ("batch_tokens=1", "batch_wait_ms=0.0")
WANTED = 5.0


@dataclass(frozen=True)
class Turn:
    """Answers per second, and the service's processor milliseconds per answer."""

    pace: float
    processor_ms: float


async def measure(turns: int, seconds: float, reward: str) -> tuple[dict[str, Any], bool]:
    """The figures of each way, and whether batching answers at least `WANTED` times as many requests."""
    found: dict[str, list[Turn]] = {"batched": [], "one by one": []}
    judge = reward.startswith("pairjudge")
    with service(f"reward={reward}") as together, service(f"reward={reward}", *ONE_BY_ONE) as alone:
        for running in (together, alone):
            await _turn(running, 2.0, 0, judge)  # warms up
        for turn in range(turns):
            found["one by one"].append(await _turn(alone, seconds, 2 * turn + 1, judge))
            found["batched"].append(await _turn(together, seconds, 2 * turn + 2, judge))
    pace = {way: statistics.median(turn.pace for turn in rows) for way, rows in found.items()}
    processor = {way: statistics.median(turn.processor_ms for turn in rows) for way, rows in found.items()}
    figures: dict[str, Any] = {"reward": reward, "clients": CLIENTS}
    for way, rows in found.items():
        figures[f"{way}, answers per second"] = [round(turn.pace, 1) for turn in rows]
    for way, milliseconds in processor.items():
        figures[f"{way}, processor ms"] = round(milliseconds, 2)
    times = pace["batched"] / pace["one by one"]
    figures["times as many answers"] = round(times, 2)
    figures["times less processor time"] = round(processor["one by one"] / processor["batched"], 2)
    return figures, times >= WANTED


async def _turn(running: Running, seconds: float, seed: int, judge: bool) -> Turn:
    """One turn. Raises RuntimeError for a request that is not answered."""
    rng, deadline = random.Random(seed), time.monotonic() + seconds

    async def client() -> int:
        connection, answered = Connection(running), 0
        while time.monotonic() < deadline:
            path, body = _request(rng, judge)
            status, _, reply = await connection.post(path, body)
            if status not in (200, 422):  # a judge whose verdict cannot be read has answered, too
                raise RuntimeError(f"the service answered {status}: {reply}")
            answered += 1
        connection.close()
        return answered

    started, before = time.monotonic(), running.processor_s
    answered = sum(await asyncio.gather(*(client() for _ in range(CLIENTS))))
    took, used = time.monotonic() - started, running.processor_s - before
    return Turn(answered / took, 1000 * used / answered)


def _request(rng: random.Random, judge: bool) -> tuple[str, bytes]:
    path = ""
    while path != "/slime":
        path, body, _ = request(rng)
    if not judge:
        return path, body
    first, second = json.loads(body), json.loads(body)
    second["response"] += f" or {rng.randint(0, 99)}"
    outputs = [
        {"output": [{"type": "message", "content": [{"type": "output_text", "text": one["response"]}]}]}
        for one in (first, second)
    ]
    return "/compare", json.dumps({"conversation_history": first["prompt"], "response_objs": outputs}).encode()
