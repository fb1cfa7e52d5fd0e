"""Seeded odd problems and solutions for comparisons with a naive reading: nothing in them is a control token."""

from __future__ import annotations

import random
from collections.abc import Iterator

PARTS = (
    "3 * 4 = 12", "So", "the answer is", "17", "+", "-", "+ -", "x\u00b2 \u2265 0", "\u65e5\u672c\u8a9e", "\U0001f642",
    "\u0441\u0434\u0435\u043b", "a\u00a0b", "1,000.50", "\\boxed{12}", "don't", "<b>", "&amp;", '"quoted"', "`code`",
    "$\\frac{1}{2}$", "Step 1:", "user", "assistant:", "{problem}", "\u0130stanbul", "e\u0301", "\ufb01", "100%", "#",
    "...", "\u2014", "(", ")", "0",
)  # fmt: skip
GAPS = (" ", " ", " ", "  ", "", ", ", "\t")


def odd_text(random_: random.Random, most: int = 6) -> str:
    """A line of odd parts; never blank."""
    text = random_.choice(PARTS)
    for _ in range(random_.randrange(most)):
        text += random_.choice(GAPS) + random_.choice(PARTS)
    return text


def odd_solutions(
    seed: int, problems: int, each: int, keeps_empty: bool = False
) -> Iterator[tuple[str, list[list[str]]]]:
    """Problems with solutions, each a list of steps; with `keeps_empty`, some steps are empty or blank."""
    random_ = random.Random(seed)
    for _ in range(problems):
        solutions = []
        for _ in range(each):
            steps = [odd_text(random_) for _ in range(random_.randrange(1, 7))]
            if keeps_empty and random_.random() < 0.5:
                steps.insert(random_.randrange(len(steps) + 1), random_.choice(("", " ")))
            solutions.append(steps)
        yield "\n".join(odd_text(random_, 10) for _ in range(random_.randrange(1, 3))), solutions
