"""How the reward service holds up and how fast it is: `python -m launch.bench.serve load|pace|fuzz|trl`.

    load    many clients at a time on every protocol, some malformed, some vanishing: wrong, lost and crossed answers,
            p50 and p99, memory                                        --clients 200 --seconds 300
    pace    single requests of 32 clients, batched and one by one, on the same model in turns    --turns 3 --seconds 8
    fuzz    schemathesis over the OpenAPI schema, then Hypothesis on bodies (needs the developer tools)  --cases 10000
    trl     TRL's GRPOTrainer on the service's rewards, which are compared with those of launch.score    --updates 12

Each starts its own service on 127.0.0.1 and stops it with SIGTERM. Exit code 1 if an
answer was wrong, lost or crossed, or if anything crashed, hung or answered 500.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rewards.builder import one_line
from rl.run.origin import origin


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print. Returns the exit code."""
    options = parse(words)
    from launch.bench.serve import fuzz, load, pace, trl  # after the options: they import torch

    made = origin()
    print(
        f"{made['machine']}, {os.cpu_count()} cores, commit {made['commit']}, load {os.getloadavg()[0]:.1f}", flush=True
    )
    try:
        if options.what == "load":
            found, good = asyncio.run(load.measure(options.clients, options.seconds or 300.0, options.seed))
        elif options.what == "pace":
            found, good = asyncio.run(pace.measure(options.turns, options.seconds or 8.0, options.reward))
        elif options.what == "trl":
            found, good = trl.measure(options.updates, options.seed)
        else:
            found, good = fuzz.measure(options.cases, options.seed)
    except (OSError, RuntimeError, ValueError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 1
    for name, value in found.items():
        print(f"{name:>28}  {value}")
    if options.output is not None:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps({"measured": made, "found": found}, indent=1) + "\n", encoding="utf-8")
    return 0 if good else 1


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(
        prog="python -m launch.bench.serve", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["load", "pace", "fuzz", "trl"])
    parser.add_argument("--clients", type=int, default=200, help="clients at a time (load; 200)")
    parser.add_argument("--seconds", type=float, help="of the load (300), or of each turn of the pace (8)")
    parser.add_argument("--turns", type=int, default=3, help="turns of each way (pace; 3)")
    parser.add_argument("--reward", default="prm", help="option of configs/reward (pace; prm)")
    parser.add_argument("--cases", type=int, default=10_000, help="requests, half of each kind (fuzz; 10000)")
    parser.add_argument("--updates", type=int, default=12, help="of TRL's trainer (trl; 12)")
    parser.add_argument("--seed", type=int, default=1, help="of what the clients send (1)")
    parser.add_argument("--output", type=Path, help="a JSON file for the figures")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
