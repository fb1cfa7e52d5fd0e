"""How far scoring a file has come, on the terminal or in its log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from rewards.files.scored import Tally


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
