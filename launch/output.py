"""Keep the terminal quiet: library output goes to a file, this project's output stays on the screen."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TextIO


@contextmanager
def quiet(log: Path) -> Iterator[TextIO]:
    """Send everything this process and its children print to `log`; yields a stream that still reaches the screen.

    File descriptors are redirected, so that this also catches C++ libraries and subprocesses, and streams that a
    library saved at import keep working. Python's streams are redirected only if they do not use those descriptors,
    as in a notebook.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    screen_fd, errors_fd = os.dup(1), os.dup(2)
    with (
        log.open("a", encoding="utf-8", buffering=1) as sink,
        os.fdopen(screen_fd, "w", encoding="utf-8", buffering=1) as screen,
        ExitStack() as streams,
    ):
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
        if not _writes_to(sys.stdout, 1):
            streams.enter_context(redirect_stdout(sink))
        if not _writes_to(sys.stderr, 2):
            streams.enter_context(redirect_stderr(sink))
        try:
            yield screen
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            screen.flush()
            os.dup2(screen_fd, 1)
            os.dup2(errors_fd, 2)
            os.close(errors_fd)


def _writes_to(stream: TextIO, descriptor: int) -> bool:
    try:
        return stream.fileno() == descriptor
    except (OSError, ValueError):  # no descriptor, or closed
        return False
