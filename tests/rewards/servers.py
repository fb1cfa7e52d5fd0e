"""A real HTTP server on 127.0.0.1 whose answers a test writes as a function."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Recorded:
    """A running server: its URL, the bodies it got, and the most requests it had at a time."""

    def __init__(self) -> None:
        self.url = ""
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.most_in_flight = 0
        self.in_flight = 0
        self.lock = threading.Lock()


@contextmanager
def serving(answer: Callable[[dict[str, Any], int], tuple[int, Any]], delay: float = 0.0) -> Iterator[Recorded]:
    """Serve POSTs: `answer(body, number of requests before)` gives the status and the JSON (or bytes) of the answer."""
    recorded = Recorded()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with recorded.lock:
                before = len(recorded.bodies)
                recorded.bodies.append(body)
                recorded.headers.append(dict(self.headers))
                recorded.in_flight += 1
                recorded.most_in_flight = max(recorded.most_in_flight, recorded.in_flight)
            time.sleep(delay)
            status, content = answer(body, before)
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            with recorded.lock:
                recorded.in_flight -= 1
            try:
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except (BrokenPipeError, ConnectionResetError):
                return  # the client did not wait

        def log_message(self, *arguments):
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    recorded.url = f"http://127.0.0.1:{server.server_port}/get_reward"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield recorded
    finally:
        server.shutdown()
        server.server_close()
