"""Single requests of 32 clients, batched by the service and one by one, on the same model in turns."""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import time
from typing import Any

from launch.bench.serve.load import request, values
from launch.bench.serve.running import Connection, Running, service

CLIENTS = 32
ONE_BY_ONE = ("batch_tokens=1", "batch_wait_ms=0.0")


async def measure(turns: int, seconds: float, reward: str) -> tuple[dict[str, Any], bool]:
    """Answers per second of each way (the median of its turns), and whether batching is at least five times as fast."""
    batched: list[float] = []
    single: list[float] = []
    with service(f"reward={reward}") as one, service(f"reward={reward}", *ONE_BY_ONE) as other:
        for running in (one, other):
            await _turn(running, 2.0, 0)  # warms up
        for turn in range(turns):
            single.append(await _turn(other, seconds, 2 * turn + 1))
            batched.append(await _turn(one, seconds, 2 * turn + 2))
    ratio = statistics.median(batched) / statistics.median(single)
    return {
        "reward": reward,
        "clients": CLIENTS,
        "batched, answers per second": [round(pace, 1) for pace in batched],
        "one by one": [round(pace, 1) for pace in single],
        "times": round(ratio, 2),
    }, ratio >= 5


async def _turn(running: Running, seconds: float, seed: int) -> float:
    """Answers per second. Raises RuntimeError for a request that is not answered."""
    rng, deadline = random.Random(seed), time.monotonic() + seconds

    async def client() -> int:
        connection, answered = Connection(running), 0
        while time.monotonic() < deadline:
            path, body = _slime(rng)
            status, _, reply = await connection.post(path, body)
            if status != 200:
                raise RuntimeError(f"the service answered {status}: {reply}")
            answered += len(values(path, reply))
        connection.close()
        return answered

    started = time.monotonic()
    answered = sum(await asyncio.gather(*(client() for _ in range(CLIENTS))))
    return answered / (time.monotonic() - started)


def _slime(rng: random.Random) -> tuple[str, bytes]:
    path = ""
    while path != "/slime":
        path, body, _ = request(rng)
    assert json.loads(body)["response"]
    return path, body
