"""Stop cleanly on Ctrl-C, or on SIGTERM from a scheduler (Slurm at its time limit, Kubernetes, a shutdown).

Both unwind the program the same way: written files are kept, started processes end, and one line says why.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType


class Terminated(KeyboardInterrupt):
    """Raised on SIGTERM. A KeyboardInterrupt, so that `except Exception` cannot swallow it."""


_received: set[int] = set()
"""The signals received. Needed because Ray's blocking calls turn what a handler raises into a KeyboardInterrupt."""


def install_sigterm_handler() -> None:
    """Make SIGTERM raise `Terminated` in the main thread. Does nothing when called from another thread.

    Without this, SIGTERM kills Python at once. Ray installs its own handler when it starts, which aborts the process.
    """
    if threading.current_thread() is threading.main_thread() and not _received:
        signal.signal(signal.SIGTERM, _terminate)


def stop_reason(error: BaseException) -> str:
    """What stopped the program, in words. `error` is the KeyboardInterrupt that was raised."""
    return "stopped by SIGTERM" if _is_termination(error) else "stopped by Ctrl-C"


def exit_code(error: BaseException) -> int:
    """128 + the signal's number, as shells count: 143 for SIGTERM, 130 for Ctrl-C."""
    return 128 + (signal.SIGTERM if _is_termination(error) else signal.SIGINT)


STOPPED = frozenset({128 + signal.SIGINT, 128 + signal.SIGTERM})
"""The exit codes of a program stopped by a signal."""


def _is_termination(error: BaseException) -> bool:
    return isinstance(error, Terminated) or signal.SIGTERM in _received


def _terminate(number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not interrupt the cleanup
    _received.add(number)
    raise Terminated
