"""Files that are appended to as work is done, so that the same command can continue where it stopped."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path


def file_name(label: str) -> str:
    """Turn a label into a file name."""
    return re.sub(r"[^\w.=-]+", "_", label)


def whole_batches(output: Path, sizes: Sequence[int]) -> int:
    """How many batches of these sizes (in lines) a file contains completely; removes the rest. 0 without a file."""
    if not output.exists():
        return 0
    lines = output.read_bytes().split(b"\n")[:-1]
    batches, kept = 0, 0
    for size in sizes:
        if kept + size > len(lines):
            break
        batches, kept = batches + 1, kept + size
    output.write_bytes(b"".join(line + b"\n" for line in lines[:kept]))
    return batches
