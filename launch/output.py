"""Keeping the terminal quiet: what libraries print goes to a file, what the project says stays on the screen."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TextIO


@contextmanager
def quiet(log: Path) -> Iterator[TextIO]:
    """Send everything this process and its children print to `log`; yields a stream that still reaches the screen.

    The file descriptors are redirected beside Python's streams, so that C++ libraries and subprocesses are caught too.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    screen_fd, errors_fd = os.dup(1), os.dup(2)
    with (
        log.open("a", encoding="utf-8", buffering=1) as sink,
        os.fdopen(screen_fd, "w", encoding="utf-8", buffering=1) as screen,
    ):
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
        try:
            with redirect_stdout(sink), redirect_stderr(sink):
                yield screen
        finally:
            screen.flush()
            os.dup2(screen_fd, 1)
            os.dup2(errors_fd, 2)
            os.close(errors_fd)
