"""Compare two formulas with math-verify, in a child process that can be killed.

math-verify's own time limit is a signal: it works only in the main thread, and not during one long sympy operation. A
response such as `9^{9^{9^9}}` would block a whole run. The child reads pairs as JSON lines. It is started by the first
question; a child that takes too long is killed, and the next question starts a new one.
"""

from __future__ import annotations

import atexit
import json
import resource
import select
import subprocess
import sys
import threading
from collections import OrderedDict
from functools import cache
from pathlib import Path
from typing import get_args

from rewards.grading.comparison import Undecided, Verdict

_MEMORY_BYTES = 4 * 2**30
_START_S = 120.0
_REMEMBERED = 20_000


class UnreadableError(Undecided):
    """Raised when math-verify cannot read one or both formulas; they are in `formulas`."""

    def __init__(self, formulas: list[str]) -> None:
        super().__init__(f"math-verify cannot read {' and '.join(formulas)}")
        self.formulas = formulas


class SymbolicComparer:
    """Compares LaTeX formulas within `timeout_s` seconds per comparison. Thread-safe."""

    def __init__(self, timeout_s: float = 5.0) -> None:
        if timeout_s <= 0:
            raise ValueError(f"timeout_s must be above 0, not {timeout_s}")
        self.timeout_s = timeout_s
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._known: OrderedDict[tuple[str, str], Verdict | Undecided] = OrderedDict()

    def compare(self, one: str, other: str) -> Verdict:
        """Whether two formulas are the same, alike (a decimal and the irrational number it rounds), or different.

        The order does not matter. Raises `Undecided` if there is no verdict within the time limit, and its subclass
        `UnreadableError` if math-verify cannot read one of them.
        """
        question = (one, other) if one <= other else (other, one)
        with self._lock:
            found = self._known.get(question) or self._ask(*question)
            self._known[question] = found
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        if isinstance(found, Undecided):
            raise found
        return found

    def readable(self, formula: str) -> bool:
        """Whether math-verify can read a formula. Raises `Undecided` if it takes too long."""
        try:
            self.compare(formula, formula)
        except UnreadableError:
            return False
        return True

    def _ask(self, one: str, other: str) -> Verdict | Undecided:
        if self._child is None:
            self._child = _start()
        try:
            reply = json.loads(_ask(self._child, [one, other], self.timeout_s))
        except TimeoutError as error:
            self._stop()
            return Undecided(str(error))
        except ChildProcessError as error:
            self._stop()
            raise Undecided(str(error)) from error
        if reply[0] not in get_args(Verdict):
            return Undecided(reply[0])
        unreadable = [text for text, readable in ((one, reply[1]), (other, reply[2])) if not readable]
        return UnreadableError(list(dict.fromkeys(unreadable))) if unreadable else reply[0]

    def close(self) -> None:
        """Stop the child process; a later question starts a new one."""
        with self._lock:
            self._stop()

    def _stop(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None


@cache
def default_comparer() -> SymbolicComparer:
    """The shared comparer, used by callers that do not pass their own."""
    return SymbolicComparer()


def _start() -> subprocess.Popen[bytes]:
    """Start the child and return it once it is ready. Raises RuntimeError if it does not start."""
    child = subprocess.Popen(
        [sys.executable, "-m", "rewards.symbolic"],
        cwd=Path(__file__).resolve().parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    )
    atexit.register(child.kill)
    try:
        _ask(child, ["1", "1"], _START_S)
    except (TimeoutError, ChildProcessError) as error:
        child.kill()
        raise RuntimeError("math-verify does not start: is the package math-verify installed?") from error
    return child


def _ask(child: subprocess.Popen[bytes], question: list[str], timeout_s: float) -> bytes:
    """The child's reply. Raises TimeoutError if it does not come in time, ChildProcessError if the child died."""
    assert child.stdin is not None and child.stdout is not None
    try:
        child.stdin.write(json.dumps(question).encode() + b"\n")
    except BrokenPipeError as error:
        raise ChildProcessError("the comparison ended its process") from error
    ready, _, _ = select.select([child.stdout], [], [], timeout_s)
    if not ready:
        raise TimeoutError(f"the answers could not be compared within {timeout_s:g} s")
    reply = child.stdout.readline()
    if not reply:
        raise ChildProcessError("the comparison ended its process")
    return reply


def _serve() -> None:
    """Answer questions until the parent closes the pipe."""
    from rewards.grading.algebra import compare_formulas

    reply: tuple[str, bool, bool]

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    for line in sys.stdin:
        try:
            reply = compare_formulas(*json.loads(line))
        except Exception as error:  # sympy may raise anything; the parent then reports that there is no verdict
            reply = f"math-verify failed with {type(error).__name__}", True, True
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    _serve()
