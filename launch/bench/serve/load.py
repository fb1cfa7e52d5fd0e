"""Many clients at a time, some malformed, some vanishing: is every answer the right one, and what does it cost?"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from launch.bench.serve.marked import mark
from launch.bench.serve.running import Connection, Running, service

REWARD = ("reward=prm", "reward._target_=launch.bench.serve.marked.MarkedReward")
MALFORMED, VANISHING = 0.025, 0.025
ANSWER_S = 180.0
"""The longest wait for an answer; what takes longer is lost."""


@dataclass
class Tally:
    """What came of the requests. `sent` are the good ones; `crossed` had another request's answer."""

    sent: int = 0
    right: int = 0
    wrong: int = 0
    crossed: int = 0
    lost: int = 0
    told_to_wait: int = 0
    malformed: int = 0
    accepted: int = 0  # malformed, but not refused
    vanished: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    open: dict[float, int] = field(default_factory=dict)  # marks of all requests so far, to know a crossed answer by

    @property
    def good(self) -> bool:
        """Whether nothing went wrong."""
        bad = self.wrong + self.crossed + self.lost + self.accepted + self.statuses[500]
        return self.right == self.sent > 0 and not bad


async def measure(clients: int, seconds: float, seed: int) -> tuple[dict[str, Any], bool]:
    """The figures by name, and whether every answer was right."""
    with service(*REWARD) as running:
        tally = Tally()
        deadline = time.monotonic() + seconds
        memory: list[float] = []
        watch = asyncio.create_task(_watch(running, memory, seconds / 60))
        await asyncio.gather(
            *(_client(running, tally, deadline, random.Random(seed * 100_003 + number)) for number in range(clients))
        )
        watch.cancel()
        left = running.get("/metrics")
    waiting = [line for line in left.splitlines() if line.startswith(("rewardloop_waiting", "rewardloop_held"))]
    quarters = [max(memory[len(memory) * n // 4 : len(memory) * (n + 1) // 4] or memory) for n in range(4)]
    good = tally.good and running.process.returncode == 0
    return {
        "clients": clients,
        "seconds": seconds,
        "good requests": tally.sent,
        "right answers": tally.right,
        "wrong, lost, crossed": f"{tally.wrong}, {tally.lost}, {tally.crossed}",
        "told to wait (429, 503)": tally.told_to_wait,
        "malformed, refused": f"{tally.malformed}, {tally.malformed - tally.accepted}",
        "vanished": tally.vanished,
        "statuses": dict(sorted(tally.statuses.items())),
        "p50 ms": round(1000 * statistics.median(tally.seconds)),
        "p99 ms": round(1000 * statistics.quantiles(tally.seconds, n=100)[98]),
        "answers per second": round(tally.right / seconds, 1),
        "MiB in each quarter": ", ".join(f"{mib:.0f}" for mib in quarters),
        "left in the service": ", ".join(waiting),
    }, good


async def _watch(running: Running, memory: list[float], every_s: float) -> None:
    while True:
        memory.append(running.mib)
        await asyncio.sleep(every_s)


async def _client(running: Running, tally: Tally, deadline: float, rng: random.Random) -> None:
    connection = Connection(running)
    while time.monotonic() < deadline:
        kind = rng.random()
        if kind < MALFORMED:
            await _send_malformed(connection, tally, rng)
        elif kind < MALFORMED + VANISHING:
            path, body, _ = request(rng)
            tally.vanished += 1
            await connection.leave(path, body, rng.choice([0.5, 1.0]), rng.random() * 0.1)
        else:
            await _send(connection, tally, rng)
    connection.close()


async def _send_malformed(connection: Connection, tally: Tally, rng: random.Random) -> None:
    path, body, _ = request(rng)
    broken = rng.choice([body[:-2], b"[" * 500, b"\xff" + body, b'{"x": 1}', body.replace(b'"', b"'"), b"null", b""])
    tally.malformed += 1
    try:
        status, _, _ = await asyncio.wait_for(connection.post(path, broken), ANSWER_S)
    except (OSError, asyncio.IncompleteReadError, TimeoutError, IndexError, ValueError):
        tally.lost += 1
        connection.close()
        return
    tally.statuses[status] += 1
    tally.accepted += not 400 <= status < 500


async def _send(connection: Connection, tally: Tally, rng: random.Random) -> None:
    """A good request, sent again for as long as the service says to wait."""
    path, body, expected = request(rng)
    tally.sent += 1
    for value in expected:
        tally.open[value] = tally.open.get(value, 0) + 1
    started = time.monotonic()
    while True:
        try:
            status, headers, reply = await asyncio.wait_for(connection.post(path, body), ANSWER_S)
        except (OSError, asyncio.IncompleteReadError, TimeoutError, IndexError, ValueError):
            tally.lost += 1
            connection.close()
            return
        tally.statuses[status] += 1
        if status not in (429, 503):
            break
        tally.told_to_wait += 1
        await asyncio.sleep(float(headers["retry-after"]) * rng.random())
    tally.seconds.append(time.monotonic() - started)
    found = values(path, reply) if status == 200 else []
    if found == expected:
        tally.right += 1
    elif any(value in tally.open and value not in expected for value in found):
        tally.crossed += 1
    else:
        tally.wrong += 1


def request(rng: random.Random) -> tuple[str, bytes, list[float]]:
    """A path, a body, and the values of the right answer."""
    problem = (
        f"Tom has {rng.randint(0, 10**6)} apples. Day 1: finds {rng.randint(1, 99)}. How many apples does Tom have?"
    )
    texts = [
        f"Day 1: finds {rng.randint(1, 99)}, so that is {rng.randint(0, 10**6)}\nThe answer is: {rng.randint(0, 10**6)}"
        for _ in range(rng.randint(1, 4))
    ]
    path = rng.choice(["/score", "/get_reward", "/slime", "/classify", "/verify", "/batched"])
    if path not in ("/score", "/batched"):
        texts = texts[:1]
    messages = [{"role": "user", "content": problem}]
    bodies: dict[str, Any] = {
        "/score": {"groups": [{"problem": problem, "responses": texts}]},
        "/batched": {"prompts": [problem] * len(texts), "responses": texts},
        "/get_reward": {"query": [f"{problem}{texts[0]}"], "prompts": [problem], "labels": [None]},
        "/slime": {"prompt": messages, "response": texts[0], "label": None},
        "/classify": {"model": "m", "messages": [*messages, {"role": "assistant", "content": texts[0]}]},
        "/verify": {
            "responses_create_params": {"input": messages},
            "response": {"output": [{"type": "message", "content": [{"type": "output_text", "text": texts[0]}]}]},
        },
    }
    return path, json.dumps(bodies[path]).encode(), [mark(problem, text) for text in texts]


def values(path: str, reply: Any) -> list[float]:
    """The values in a reply."""
    if path == "/score":
        return [score.get("value", -1.0) for group in reply["groups"] for score in group["scores"]]
    if path == "/classify":
        return [entry["probs"][-1] for entry in reply["data"]]
    if path == "/slime":
        return [reply]
    return [reply["reward"]] if path == "/verify" else list(reply["rewards"])
