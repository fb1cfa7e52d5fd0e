"""Keep the terminal quiet: library output goes to a file, this project's output stays on the screen."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from rewards.files.scored import Tally


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


@contextmanager
def progress(total: int, tally: Tally, console: Console) -> Iterator[Callable[[Tally], None]]:
    """Show how many of `total` responses are scored: a bar on a terminal, otherwise a line every ten seconds."""
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    live = console.is_terminal
    with Progress(
        "scoring", *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, disable=not live
    ) as bar:
        before, started, said = tally.responses, time.perf_counter(), time.perf_counter()
        task = bar.add_task("", total=total, completed=before, rate="")

        def show(tally: Tally) -> None:
            nonlocal said
            now = time.perf_counter()
            rate = (tally.responses - before) / (now - started)
            failed = f", {tally.failures.total()} failed" if tally.failures else ""
            bar.update(task, completed=tally.responses, rate=f"{rate:.1f}/s{failed}")
            if not live and now - said > 10:
                said = now
                left = (total - tally.responses) / rate
                console.print(f"{tally.responses}/{total}, {rate:.1f}/s{failed}, {left:.0f} s left", highlight=False)

        yield show
