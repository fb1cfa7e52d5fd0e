"""Requests that nobody would send: schemathesis over the OpenAPI schema, then Hypothesis on bodies."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections import Counter
from typing import Any

from launch.bench.serve.running import Running, service

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
HANG_S = 20


def measure(cases: int, seed: int) -> tuple[dict[str, Any], bool]:
    """The figures by name, and whether nothing crashed, hung, answered 500 or left the schema."""
    with service("reward=verifier", "hold_s=0.5") as running:  # a made-up group_size is held for that long
        paths = len(json.loads(running.get("/openapi.json"))["paths"])
        said, code = _schemathesis(running, max(1, cases // 2 // paths), seed)
        first = answered(running)
        wanted = max(1, cases - first.total())
        faults = _hypothesis(running, wanted, seed)
        total = answered(running)
        alive = running.process.poll() is None and json.loads(running.get("/health")) == {"status": "ok"}
    server_errors = sum(count for status, count in total.items() if status >= 500)
    return {
        "cases of schemathesis": first.total(),
        "cases of Hypothesis": total.total() - first.total(),
        "statuses": dict(sorted(total.items())),
        "answers of 500 or more": server_errors,
        "hangs and crashes": faults,
        "schemathesis": f"exit code {code}{'' if code == 0 else ': ' + said[-1500:]}",
        "alive at the end": alive,
    }, code == 0 and not server_errors and not faults and alive


def answered(running: Running) -> Counter[int]:
    """How many requests the service has answered with each status, by its own metrics."""
    found: Counter[int] = Counter()
    for status, count in re.findall(
        r'^rewardloop_requests_total\{.*status="(\d+)"\} (\S+)', running.get("/metrics"), re.M
    ):
        found[int(status)] += int(float(count))
    return found


def _schemathesis(running: Running, examples: int, seed: int) -> tuple[str, int]:
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"http://{running.host}:{running.port}/openapi.json"]
    command += ["--checks", CHECKS, "--max-examples", str(examples), "--seed", str(seed), "--phases", "fuzzing"]
    command += [
        "--request-timeout",
        str(HANG_S),
        "--continue-on-failure",
        "--no-color",
        "--generation-database",
        "none",
    ]
    with tempfile.TemporaryDirectory() as folder:  # it writes a cache where it is started
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env={**os.environ, "COLUMNS": "120"})
    return done.stdout + done.stderr, done.returncode


def _hypothesis(running: Running, cases: int, seed: int) -> int:
    """Send bodies. Returns how many got no answer."""
    import hypothesis

    from launch.bench.serve.bodies import requests

    faults = 0

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=cases, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
    )
    @hypothesis.given(case=requests())
    def send(case: tuple[str, bytes]) -> None:
        nonlocal faults
        path, body = case
        asked = urllib.request.Request(f"http://{running.host}:{running.port}{path}", body, method="POST")
        try:
            with urllib.request.urlopen(asked, timeout=HANG_S) as reply:
                json.loads(reply.read())
        except urllib.error.HTTPError as error:
            json.loads(error.read())
        except (OSError, ValueError):
            faults += 1

    send()
    return faults
