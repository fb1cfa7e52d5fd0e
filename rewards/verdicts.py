"""The input and output of a pairwise judge: the prompt, the parser, and the verdict.

The format is PairJudge RM's (arXiv 2501.13007): the judge checks two responses step by step and then writes verdicts
such as `<resp_a_judge>Correct</resp_a_judge>` and `<resp_b_judge>Incorrect</resp_b_judge>`. Only the judge's own
completion is parsed, and verdict tags inside a response lose their angle brackets before the judge reads them, so that
a response cannot smuggle in a verdict for the judge to quote. The published code does neither.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from rewards.conversation import Message

SYSTEM = "You are a helpful assistant."
STOP = "</resp_b_judge>"
"""The stop string of a judge's completion. Engines remove it; `parse` adds it back."""

DEFAULT_TEMPLATE = (Path(__file__).parent / "judging" / "formats" / "pairjudge.md").read_text(encoding="utf-8")

_PLACEHOLDER = re.compile(r"\{(question|response_a|response_b)\}")
_VERDICT = r"<\s*resp_{side}_judge\s*>\s*(correct|incorrect|true|false)\s*\.?\s*<\s*/\s*resp_{side}_judge\s*>"
_VERDICT_OF = {side: re.compile(_VERDICT.replace("{side}", side), re.IGNORECASE) for side in "ab"}
_ANY_TAG = re.compile(r"<(\s*/?\s*resp_[ab]_judge\s*)>", re.IGNORECASE)


Which = Literal["first", "last"]
"""Which of several verdicts on one side counts. The published parser uses the first."""


class Comparison(NamedTuple):
    """One question for a judge: is `a` correct, and is `b` correct?

    `messages` are the problem's own turns, for a judge that reads turns; without them the question is the only one.
    """

    question: str
    a: str
    b: str
    messages: tuple[Message, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """A judge's answer: how correct each side is, from 0 (False) to 1 (True), or None for a side without a readable
    verdict, with the reason. A judge that only prefers a side gives the sides 1 together: 0.5 and 0.5 is a tie.

    `text` is what the judge wrote, None if it did not answer; it is ignored when verdicts are compared.
    """

    a: float | None
    b: float | None
    reason: str | None = None
    text: str | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if (self.a is None or self.b is None) != (self.reason is not None):
            raise ValueError("a verdict names both sides, or gives the reason why it does not")

    @classmethod
    def none(cls, reason: str) -> Verdict:
        """A missing verdict, with the reason."""
        return cls(None, None, reason)

    @property
    def given(self) -> bool:
        """Whether there is a verdict on both sides."""
        return self.reason is None

    @property
    def readable(self) -> bool:
        """Whether there is a verdict on at least one side."""
        return self.a is not None or self.b is not None


class Judge(Protocol):
    """Anything that can compare responses: a model on vLLM, an endpoint, a verifier that knows the answer."""

    def judge(self, comparisons: Sequence[Comparison]) -> list[Verdict]:
        """One verdict per comparison, in order. Raises only for set-up errors."""
        ...


def load_template(path: str | None) -> str:
    """The prompt template in the file at `path`, or the default template if `path` is None.

    Raises FileNotFoundError for a missing file and ValueError for a template that lacks one of the placeholders
    `{question}`, `{response_a}`, `{response_b}`. Other braces are left as they are.
    """
    if path is None:
        return DEFAULT_TEMPLATE
    if not Path(path).is_file():
        raise FileNotFoundError(f"template: no such file: {path}; give the path of a prompt file, or null")
    template = Path(path).read_text(encoding="utf-8")
    missing = {"question", "response_a", "response_b"} - set(_PLACEHOLDER.findall(template))
    if missing:
        names = ", ".join(f"{{{name}}}" for name in sorted(missing))
        raise ValueError(f"template: {path} lacks the placeholder {names}")
    return template


def fill(template: str, comparison: Comparison) -> str:
    """The user turn for one comparison.

    All placeholders are replaced in one pass, so that braces or placeholders inside the question or a response stay
    plain text.
    """
    texts = {
        "question": comparison.question,
        "response_a": without_verdict_tags(comparison.a),
        "response_b": without_verdict_tags(comparison.b),
    }
    return _PLACEHOLDER.sub(lambda match: texts[match.group(1)], template)


def without_verdict_tags(text: str) -> str:
    """`text` with verdict tags such as `<resp_a_judge>` written as `(resp_a_judge)`; all else is unchanged."""
    return _ANY_TAG.sub(r"(\1)", text)


def parse(completion: str, which: Which = "first") -> Verdict:
    """The verdict in a judge's completion (never in the prompt), ignoring case and spaces.

    A side is Correct or Incorrect, or True or False, as in the published parser; `which` selects among several verdicts
    on one side. The stop string is added back if the engine cut it off. A side without a verdict is None.
    """
    text = completion
    if not text.rstrip().lower().endswith(STOP):
        text += STOP
    found = {side: pattern.findall(text) for side, pattern in _VERDICT_OF.items()}
    missing = [side.upper() for side, verdicts in found.items() if not verdicts]
    reason = f"the judge gave no verdict on response {' and '.join(missing)}" if missing else None
    place = 0 if which == "first" else -1
    a, b = (found[side][place].lower() in ("correct", "true") if found[side] else None for side in "ab")
    return Verdict(a, b, reason, text=text)
