"""The service as a process: it drains on SIGTERM, and scores in Ray actors."""

from __future__ import annotations

import json
import signal
import threading
import time
import urllib.request

import psutil
import pytest

from launch.bench.serve.running import service

BODY = {
    "groups": [
        {
            "problem": "Tom has 7 apples. Day 1: finds 5. How many apples does Tom have?",
            "responses": [f"Day 1: finds 5, so 7 + 5 = {n}\nThe answer is: {n}" for n in range(12, 76)],
        }
    ]
}


def ask(running, body=BODY):
    content = json.dumps(body).encode()
    request = urllib.request.Request(f"http://{running.host}:{running.port}/score", content, method="POST")
    with urllib.request.urlopen(request, timeout=60) as reply:
        return [score["value"] for score in json.loads(reply.read())["groups"][0]["scores"]]


@pytest.mark.e2e
def test_sigterm_answers_what_is_under_way_and_refuses_nothing_that_was_sent_before():
    with service("reward=prm", "batch_wait_ms=1500", "batch_tokens=1000000") as running:
        found: list[list[float]] = []
        clients = [threading.Thread(target=lambda: found.append(ask(running))) for _ in range(8)]
        for client in clients:
            client.start()
        time.sleep(0.7)  # all of them wait for the batch
        running.process.send_signal(signal.SIGTERM)
        for client in clients:
            client.join(60)
        assert len(found) == 8 and all(len(values) == 64 for values in found)
        assert running.process.wait(60) == 0
        assert running.process.stdout is not None
        assert "every request under way was answered" in running.process.stdout.read()


@pytest.mark.e2e
def test_replicas_give_the_scores_of_one_process_and_end_with_the_service():
    with service("reward=prm", "replicas=2") as running:
        several = ask(running, {"groups": BODY["groups"] * 2})
        children = psutil.Process(running.process.pid).children(recursive=True)
    with service("reward=prm") as running:
        assert several == pytest.approx(ask(running), rel=1e-4)
    assert children and not any(child.is_running() and "reward" in " ".join(child.cmdline()) for child in children)
