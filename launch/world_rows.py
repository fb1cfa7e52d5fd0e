"""Write training rows from the arithmetic world, in the published forms, for launch.train_reward:

    python -m launch.world_rows prm --count 20000 --output build/prm.jsonl

Kinds: prm and orm (RLHFlow's conversations), pairs (chosen and rejected), objectives (ArmoRM's rated conversations),
judgements (PairJudge's).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rl.tasks.arithmetic.workshop.training_rows import KINDS, draw_rows


def main(words: Sequence[str] | None = None) -> int:
    """Write the rows. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m launch.world_rows",
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("kind", choices=KINDS, help="the kind of rows")
    parser.add_argument("--count", type=int, default=20000, help="number of rows (20000)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the rows (1)")
    parser.add_argument("--output", type=Path, required=True, help="the file to write; an existing one is replaced")
    options = parser.parse_args(words)
    if options.count < 1:
        parser.error("--count must be at least 1")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    rows = draw_rows(options.kind, options.count, options.seed)
    options.output.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    print(f"{len(rows)} rows in {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
