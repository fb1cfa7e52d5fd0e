"""Compare this grader with math-verify alone: `python -m launch.bench.grading [pairs=FILE] [against=FOLDER]`.

pairs=FILE       JSONL with text, reference, right and optionally kind (default tests/rewards/grading/pairs.jsonl)
against=FOLDER   a checkout of another commit, whose grader is measured in the same run

The table has one row per kind of pair. Each cell is: right verdicts / wrong answers accepted / right answers rejected.
Speed is in pairs per second, without the start of the child process. It is measured on plain numbers, in six phrasings
after six lines of steps, and then on all pairs. No text is graded twice.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

DEFAULT = Path(__file__).parents[2] / "tests" / "rewards" / "grading" / "pairs.jsonl"

# Runs in its own process: reads pairs from stdin, and prints the verdicts and the speed of `judge`.
_PROGRAM = """
import json, sys, time
pairs = json.load(sys.stdin)
def one(text, reference):
    try:
        return judge(text, reference)
    except Exception:
        return None
one("\\\\boxed{x^2+2x}", "x(x+2)")
forms = ["The answer is: {}", "#### {}", "\\\\boxed{{{}}}", "So the answer is ${}.", "Answer: {}.5", "A: {} apples"]
steps = "Step 1: there are 3 + 4 = 7 apples in one box, and 2 * 7 = 14 in the other.\\n" * 6
plain = [(steps + forms[n % 6].format(n), f"{n + n // 6 % 2}") for n in range(PLAIN)]
started = time.perf_counter()
for text, reference in plain:
    one(text, reference)
between = time.perf_counter()
verdicts = [one(*pair) for pair in pairs]
print(json.dumps([verdicts, len(plain) / (between - started), len(pairs) / (time.perf_counter() - between)]))
"""

# The grader of whichever commit the process imports.
_GRADER = "from rewards.verifier import grade as judge\nPLAIN = 12000\n" + _PROGRAM

_MATH_VERIFY = (
    """
from math_verify import parse, verify
def judge(text, reference):
    return bool(verify(parse(f"${reference}$"), parse(text)))
PLAIN = 480
"""
    + _PROGRAM
)


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print the table. Returns the exit code."""
    words = list(sys.argv[1:] if words is None else words)
    if any(word in ("-h", "--help") for word in words):
        print(__doc__)
        return 0
    given = dict(word.partition("=")[::2] for word in words)
    unknown = sorted(given.keys() - {"pairs", "against"})
    file = Path(given.get("pairs") or DEFAULT)
    if unknown or not file.is_file():
        problem = (
            f"there is no option {unknown[0]}; use pairs=, against=" if unknown else f"pairs: there is no file {file}"
        )
        print(f"error: {problem}", file=sys.stderr)
        return 2
    pairs = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    here = Path(__file__).parents[2]
    graders = {"this grader": measured(_GRADER, pairs, here), "math-verify": measured(_MATH_VERIFY, pairs, here)}
    if "against" in given:
        folder = Path(given["against"]).expanduser().resolve()
        if not (folder / "rewards" / "verifier.py").is_file():
            print(f"error: against: {folder} has no rewards/verifier.py", file=sys.stderr)
            return 2
        graders[given["against"]] = measured(_GRADER, pairs, folder)
    Console(highlight=False).print(table(pairs, graders))
    return 0


def measured(program: str, pairs: Sequence[dict[str, Any]], folder: Path) -> tuple[list[bool | None], float, float]:
    """Run a checkout's code: its verdicts (None if it has none), plain numbers per second and pairs per second."""
    questions = json.dumps([[pair["text"], pair["reference"]] for pair in pairs])
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-c", program], input=questions, capture_output=True, text=True, cwd=folder, env=environment
    )
    if done.returncode:
        raise RuntimeError(f"the grader of {folder} failed: {done.stderr.strip().splitlines()[-1]}")
    verdicts, plain, all_ = json.loads(done.stdout.strip().splitlines()[-1])
    return verdicts, plain, all_


def table(pairs: Sequence[dict[str, Any]], graders: dict[str, tuple[list[bool | None], float, float]]) -> Table:
    """One row per kind: right verdicts / wrong answers accepted / right answers rejected."""
    shown = Table("kind", "pairs", *graders, title="right verdicts / wrong answers accepted / right answers rejected")
    kinds = list(dict.fromkeys(pair.get("kind", "all") for pair in pairs))
    for kind in [*kinds, "total"]:
        chosen = [place for place, pair in enumerate(pairs) if kind in (pair.get("kind", "all"), "total")]
        cells = [counts(pairs, verdicts, chosen) for verdicts, _, _ in graders.values()]
        shown.add_row(kind, str(len(chosen)), *cells)
    shown.add_section()
    shown.add_row("plain numbers per second", "", *(f"{plain:,.0f}" for _, plain, _ in graders.values()))
    shown.add_row("pairs per second", "", *(f"{rate:,.0f}" for _, _, rate in graders.values()))
    return shown


def counts(pairs: Sequence[dict[str, Any]], verdicts: Sequence[bool | None], chosen: Sequence[int]) -> str:
    """How many of the chosen pairs got the right verdict, were accepted although wrong, or rejected although right."""
    agreed = sum(verdicts[place] is pairs[place]["right"] for place in chosen)
    accepted = sum(verdicts[place] is True and not pairs[place]["right"] for place in chosen)
    rejected = sum(verdicts[place] is not True and pairs[place]["right"] for place in chosen)
    return f"{agreed} / {accepted} / {rejected}"


if __name__ == "__main__":
    sys.exit(main())
