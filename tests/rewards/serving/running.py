"""The application behind a real HTTP server on 127.0.0.1, in a thread."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from rewards.serving.app import make_app
from rewards.serving.service import Limits, Service
from rewards.serving.texts import Texts
from rewards.types import Reward


@contextmanager
def serving(
    reward: Reward, texts: Texts | None = None, limits: Limits | None = None, token: str | None = None
) -> Iterator[str]:
    """Serve a reward; yields the address, such as http://127.0.0.1:34567."""
    service = Service(reward, texts or Texts(), limits or Limits(), "test")
    server = uvicorn.Server(uvicorn.Config(make_app(service, token), log_level="error", access_log=False))
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        while not service.loaded:
            time.sleep(0.005)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
