"""Split a response into steps: half-open character spans of its text, by default without the white space at both ends.

The published models split at `ки\\n` (Mistral data, as Math-Shepherd writes it) or at a blank line (Deepseek data),
strip each piece and, in their reference code, keep empty ones. Here empty pieces are dropped unless `keep_empty` is
set: an empty step has no policy token to reward. As in that code, a `ки` at the very end, without a newline, stays in
the last step's text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rewards.types import Span

Splitter = Callable[[str], list[Span]]

STEP_MARKER = "ки"

_SEPARATORS: Mapping[str, str] = {
    "math_shepherd": rf"{STEP_MARKER}\n",
    STEP_MARKER: rf"{STEP_MARKER}\n",
    "blank_line": r"\n\n",
    "line": r"\n",
}


def splitter(name: str, *, pattern: str | None = None, keep_empty: bool = False, strip: bool = True) -> Splitter:
    """The splitter `math_shepherd` (also `ки`), `blank_line`, `line`, or `regex` with its separator in `pattern`.

    Raises ValueError for another name, for `regex` without a pattern or with an invalid one, and for a
    pattern given to another splitter.
    """
    if name == "regex":
        if not pattern:
            raise ValueError("splitter=regex needs pattern, the regular expression between two steps")
        try:
            separator = re.compile(pattern)
        except re.error as error:
            raise ValueError(f"pattern {pattern!r} is not a regular expression: {error}") from error
    elif name in _SEPARATORS:
        if pattern is not None:
            raise ValueError(f"pattern belongs to splitter=regex, not {name}")
        separator = re.compile(_SEPARATORS[name])
    else:
        raise ValueError(f"splitter must be one of {', '.join(_SEPARATORS)} or regex, not {name!r}")
    return lambda text: split(text, separator, keep_empty=keep_empty, strip=strip)


def split(text: str, separator: re.Pattern[str], *, keep_empty: bool = False, strip: bool = True) -> list[Span]:
    """Spans of the pieces of `text` between matches of `separator`; `strip` excludes the white space at their ends.

    A piece that is only white space is empty. With `keep_empty` it has a span too, as has an empty piece after the last
    separator, as in `text.split(...)`. Zero-width matches are ignored.
    """
    spans: list[Span] = []
    start = 0
    cuts = [match.span() for match in separator.finditer(text) if match.end() > match.start()]
    for left, right in [*cuts, (len(text), len(text))]:
        piece = text[start:left]
        if keep_empty or piece.strip():
            begin = start + len(piece) - len(piece.lstrip()) if strip else start
            spans.append((begin, begin + len(piece.strip()) if strip else left))
        start = right
    return spans


@dataclass(frozen=True)
class StepTexts:
    """How a response is cut into the steps that a process model reads.

    `split` gives the spans; `remove` is taken out of every step, which is then stripped if `strip`; without
    `keep_empty`, steps with nothing left are dropped.
    """

    split: Splitter
    remove: str = ""
    strip: bool = True
    keep_empty: bool = False

    @classmethod
    def of(
        cls, chosen: str | Splitter, pattern: str | None, *, keep_empty: bool, strip: bool, remove: str
    ) -> StepTexts:
        """From the options of a reward: `chosen` is a splitter's name, or a function from a text to its spans.

        Raises ValueError as `splitter` does, and for options that a function of your own does not read.
        """
        if isinstance(chosen, str):
            chosen = splitter(chosen, pattern=pattern, keep_empty=keep_empty, strip=strip)
        elif pattern is not None:
            raise ValueError("pattern belongs to splitter=regex, not to a function of your own")
        elif not strip:
            raise ValueError("strip=false has no effect on a function of your own: its spans are taken as they are")
        return cls(chosen, remove, strip, keep_empty)

    def __call__(self, text: str) -> tuple[list[str], list[Span]]:
        """The text of each step as the model reads it, and its span in the response."""
        texts, spans = [], []
        for start, end in self.split(text):
            step = text[start:end]
            if self.remove:
                step = step.replace(self.remove, "")
                step = step.strip() if self.strip else step
            if self.keep_empty or step.strip():
                texts.append(step)
                spans.append((start, end))
        return texts, spans
