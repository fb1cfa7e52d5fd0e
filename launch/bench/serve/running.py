"""A service in a process of its own, and a small HTTP client that can also misbehave."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

_ADDRESS = re.compile(r"http://([\d.]+):(\d+)")


@dataclass
class Running:
    """A service that is ready."""

    host: str
    port: int
    process: subprocess.Popen[str]

    @property
    def mib(self) -> float:
        """Resident memory of the service."""
        return float(psutil.Process(self.process.pid).memory_info().rss) / 2**20

    @property
    def processor_s(self) -> float:
        """Processor seconds of the service and the processes that it started, so far."""
        service = psutil.Process(self.process.pid)
        times = [one.cpu_times() for one in (service, *service.children(recursive=True))]
        return float(sum(one.user + one.system for one in times))

    def get(self, path: str) -> str:
        """The body of a reply."""
        with urllib.request.urlopen(f"http://{self.host}:{self.port}{path}", timeout=30) as reply:
            return str(reply.read().decode())


@contextmanager
def service(*words: str, start_s: float = 300.0) -> Iterator[Running]:
    """A service started with these words of launch.serve, stopped with SIGTERM.

    Raises RuntimeError if it does not become ready, or does not end with exit code 0.
    """
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "errors").open("w+") as errors:
        command = [sys.executable, "-m", "launch.serve", "port=0", *words]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            assert process.stdout is not None
            address = _ADDRESS.search(process.stdout.readline())
            if address is None:
                errors.seek(0)
                raise RuntimeError(f"the service did not start: {errors.read().strip()[-300:]}")
            running = Running(address[1], int(address[2]), process)
            _wait(running, start_s)
            yield running
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            if process.wait(120) != 0:
                raise RuntimeError(f"the service ended with exit code {process.returncode}: {process.stdout.read()}")
        finally:
            process.kill()
            process.wait()


def _wait(running: Running, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            running.get("/ready")
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"the service was not ready after {seconds:g} s")


class Connection:
    """One keep-alive connection. `OSError` if the service closes it."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: bytes) -> tuple[int, Mapping[str, str], Any]:
        """Status, headers and JSON value of a reply."""
        reader, writer = await self._open()
        writer.write(self._head(path, len(body)) + body)
        await writer.drain()
        status = int((await reader.readline()).split()[1])
        headers = {}
        while line := (await reader.readline()).strip():
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        content = await reader.readexactly(int(headers["content-length"]))
        return status, headers, json.loads(content)

    async def leave(self, path: str, body: bytes, part: float, after_s: float) -> None:
        """Send a part of a request, wait, and go away without reading."""
        _, writer = await self._open()
        writer.write(self._head(path, len(body)) + body[: int(len(body) * part)])
        await writer.drain()
        await asyncio.sleep(after_s)
        self.close()

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self.running.host, self.running.port)
        return self._streams

    def _head(self, path: str, length: int) -> bytes:
        lines = [
            f"POST {path} HTTP/1.1",
            "Host: service",
            "Content-Type: application/json",
            f"Content-Length: {length}",
        ]
        return "\r\n".join([*lines, "", ""]).encode()
