"""Being told to stop: Ctrl-C by a person, SIGTERM by a scheduler (Slurm at its time limit, Kubernetes, a shutdown).

Both unwind the program the same way, so that what was written is kept, what was started ends and one line says why.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM came. A KeyboardInterrupt, so that nobody who passes on after errors swallows it."""


_received: set[int] = set()
"""The signals that came. Ray's waiting calls turn whatever a handler raises into a plain KeyboardInterrupt."""


def heed_termination() -> None:
    """From here on SIGTERM raises `Terminated` in the main thread. Does nothing outside of it.

    Without this Python dies at once, and Ray, which sets a handler of its own when it starts, aborts.
    """
    if threading.current_thread() is threading.main_thread() and not _received:
        signal.signal(signal.SIGTERM, _terminate)


def told_by(error: BaseException) -> str:
    """Who stopped the program, in words. `error` is the KeyboardInterrupt that came of it."""
    return "stopped by SIGTERM" if _is_termination(error) else "stopped by Ctrl-C"


def exit_code(error: BaseException) -> int:
    """128 + the signal's number, as shells count: 143 for SIGTERM, 130 for Ctrl-C."""
    return 128 + (signal.SIGTERM if _is_termination(error) else signal.SIGINT)


STOPPED = frozenset({128 + signal.SIGINT, 128 + signal.SIGTERM})
"""The exit codes of what was told to stop."""


def _is_termination(error: BaseException) -> bool:
    return isinstance(error, Terminated) or signal.SIGTERM in _received


def _terminate(number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not break the tidying up
    _received.add(number)
    raise Terminated
