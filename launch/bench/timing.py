"""Timing for `launch.bench.rewards`: seconds of a piece of work, and the table they are shown in."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from rich.table import Table

from rewards.engines.options import pick_device


def once(work: Callable[[], Any]) -> float:
    """Seconds of one go: processor seconds of all threads on a CPU, since others may use it; wall seconds on a GPU."""
    clock = time.process_time if pick_device("auto") == "cpu" else time.perf_counter
    started = clock()
    work()
    return clock() - started


def median(repeat: int, work: Callable[[], Any]) -> float:
    """Median seconds of `repeat` goes, after one that is not counted."""
    work()
    return statistics.median(once(work) for _ in range(repeat))


def row(table: Table, what: str, seconds: float, items: int, against: float) -> None:
    """A line of the table: how many times faster than `against`."""
    table.add_row(what, f"{seconds:.2f}", f"{items / seconds:.1f}", f"{against / seconds:.2f}")
