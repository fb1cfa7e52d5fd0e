"""Numbers of parameters that configurations, documents and docstrings quote are those of the shipped models."""

from __future__ import annotations

import math
import re
from pathlib import Path

from safetensors import safe_open

import configs

ROOT = Path(configs.__file__).parent.parent
FILES = [
    path
    for pattern in ("*.md", "docs/*.md", "configs/**/*.yaml", "launch/**/*.py", "rl/**/*.py", "rewards/**/*.py")
    for path in sorted(ROOT.glob(pattern))
]
QUOTE = re.compile(
    r"(?P<number>\b\d[\d,]*(?:\.\d+)?|\b(?:one|two|three|half a)\b)[ -]?(?P<unit>million|k|M)?[ -]parameters?\b", re.I
)
UNITS = {None: 1, "million": 10**6, "m": 10**6, "k": 10**3}
OTHERS = {
    "docs/rewards.md": ["100M parameters"],  # size=m100 of launch.bench.rewards
}
"""Sizes of models that are not shipped."""


def shipped() -> dict[str, int]:
    """The parameters of every shipped model."""
    found = {}
    for path in (ROOT / "rl/tasks/arithmetic/models").glob("*/model.safetensors"):
        with safe_open(path, "pt") as weights:
            found[path.parent.name] = sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
    return found


def quotes(text: str) -> list[re.Match[str]]:
    return list(QUOTE.finditer(text))


def agrees(quote: re.Match[str], size: int) -> bool:
    """Whether the number is `size`, rounded to the digits that it is quoted with."""
    number = quote["number"].replace(",", "")
    if not number[0].isdigit():
        return False  # a number in words is no figure
    unit = UNITS[quote["unit"] and quote["unit"].lower()]
    digits = len(number.partition(".")[2])
    return f"{size / unit:.{digits}f}" == number


def test_quoted_numbers_of_parameters_match_the_shipped_models():
    sizes = shipped().values()
    wrong = [
        f"{name}: {quote[0]}"
        for name, path in ((path.relative_to(ROOT).as_posix(), path) for path in FILES)
        for quote in quotes(path.read_text(encoding="utf-8"))
        if quote[0] not in OTHERS.get(name, []) and not any(agrees(quote, size) for size in sizes)
    ]
    assert not wrong


def test_the_quoted_size_of_the_shipped_policy_is_right():
    [quote] = quotes((ROOT / "configs/policy/tiny.yaml").read_text())
    assert agrees(quote, shipped()["policy"])
    assert not any(agrees(one, shipped()["policy"]) for one in quotes("two million parameters, 2M parameters"))
