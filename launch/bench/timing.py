"""Timing for the benchmarks: the seconds a function takes, and a row of the table of results."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from rich.table import Table

from rewards.engines.options import pick_device


def once(work: Callable[[], Any]) -> float:
    """The seconds of one call: processor seconds of all threads on a CPU, which others may use; wall time on a GPU."""
    clock = time.process_time if pick_device("auto") == "cpu" else time.perf_counter
    started = clock()
    work()
    return clock() - started


def median(repeat: int, work: Callable[[], Any]) -> float:
    """The median seconds of `repeat` calls, after one that does not count."""
    work()
    return statistics.median(once(work) for _ in range(repeat))


def row(table: Table, what: str, seconds: float, items: int, against: float) -> None:
    """Add a row to the table: seconds, items per second, and how many times faster than `against` seconds."""
    table.add_row(what, f"{seconds:.2f}", f"{items / seconds:.1f}", f"{against / seconds:.2f}")
