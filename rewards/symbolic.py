"""Are two mathematical answers equal? math-verify says so, in a child process that can be stopped.

math-verify's own time limit is a signal: it works in a main thread only, and not inside one long operation of sympy's.
A response such as `9^{9^{9^9}}` would hold up a whole run. The child reads pairs as JSON lines. It is started at the
first question, and killed and started anew when it takes too long.
"""

from __future__ import annotations

import atexit
import json
import logging
import resource
import select
import subprocess
import sys
import threading
from pathlib import Path

_MEMORY_BYTES = 4 * 2**30
_START_S = 120.0


class SymbolicComparer:
    """Compares answers in LaTeX or plain text, at most `timeout_s` seconds each. Safe to share between threads."""

    def __init__(self, timeout_s: float = 5.0) -> None:
        if timeout_s <= 0:
            raise ValueError(f"timeout_s must be above 0, not {timeout_s}")
        self.timeout_s = timeout_s
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None

    def equal(self, answer: str, reference: str) -> bool:
        """Whether math-verify calls them equal. Raises TimeoutError when it cannot say within the limit."""
        with self._lock:
            if self._child is None:
                self._child = _start()
            try:
                reply = _ask(self._child, [answer, reference], self.timeout_s)
            except TimeoutError:
                self._stop()
                raise
        return bool(json.loads(reply))

    def close(self) -> None:
        """End the child process; a later question starts another."""
        with self._lock:
            self._stop()

    def _stop(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None


def _start() -> subprocess.Popen[bytes]:
    """The child, once it is ready. Raises RuntimeError when it does not start."""
    child = subprocess.Popen(
        [sys.executable, "-m", "rewards.symbolic"],
        cwd=Path(__file__).resolve().parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    )
    atexit.register(child.kill)
    try:
        _ask(child, ["1", "1"], _START_S)
    except TimeoutError as error:
        child.kill()
        raise RuntimeError("math-verify does not start: is the package math-verify installed?") from error
    return child


def _ask(child: subprocess.Popen[bytes], question: list[str], timeout_s: float) -> bytes:
    """The child's reply. Raises TimeoutError when it does not come, or the child died of the question."""
    assert child.stdin is not None and child.stdout is not None
    try:
        child.stdin.write(json.dumps(question).encode() + b"\n")
    except BrokenPipeError as error:
        raise TimeoutError("the comparison ended its process") from error
    ready, _, _ = select.select([child.stdout], [], [], timeout_s)
    reply = child.stdout.readline() if ready else b""
    if not reply:
        raise TimeoutError(f"the answers could not be compared within {timeout_s:g} s")
    return reply


def _serve() -> None:
    """Answer questions until the parent closes the pipe."""
    from math_verify import parse, verify

    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns of its own time limit being off
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    for line in sys.stdin:
        answer, reference = (parse(f"${text}$", parsing_timeout=None) for text in json.loads(line))
        print(json.dumps(bool(verify(reference, answer, timeout_seconds=None))), flush=True)


if __name__ == "__main__":
    _serve()
