"""What a pairwise judge is asked and what it answers: the prompt, the parser, and the verdict between them.

The form is PairJudge RM's (arXiv 2501.13007): the judge checks two responses step by step and then writes
`<resp_a_judge>Correct</resp_a_judge>` and `<resp_b_judge>Incorrect</resp_b_judge>`; either side may be either. Only the
judge's own completion is ever parsed, and verdict tags inside a response lose their angle brackets before the judge
reads them, so that a judge which quotes a response cannot be made to quote a verdict. The published code does neither.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

SYSTEM = "You are a helpful assistant."
STOP = "</resp_b_judge>"
"""Where a judge's completion ends. The engines drop it; put it back before parsing (`parse` does)."""

DEFAULT_TEMPLATE = """\
Check two responses to the same question. For each of them go through its steps one by one, say of each step whether
it is right, and decide whether the final answer is correct. Both may be correct and both may be incorrect.

Question:
{question}

Response A:
{response_a}

Response B:
{response_b}

Write your check of Response A and of Response B. Then end with your verdicts in exactly this form, each of them
either Correct or Incorrect:
<resp_a_judge>Correct</resp_a_judge>
<resp_b_judge>Incorrect</resp_b_judge>
"""

_PLACEHOLDER = re.compile(r"\{(question|response_a|response_b)\}")
_VERDICT = r"<\s*resp_{side}_judge\s*>\s*(correct|incorrect|true|false)\s*\.?\s*<\s*/\s*resp_{side}_judge\s*>"
_VERDICT_OF = {side: re.compile(_VERDICT.replace("{side}", side), re.IGNORECASE) for side in "ab"}
_ANY_TAG = re.compile(r"<(\s*/?\s*resp_[ab]_judge\s*)>", re.IGNORECASE)


Which = Literal["first", "last"]
"""Which of several verdicts on one side counts. The published parser takes the first."""


class Comparison(NamedTuple):
    """One question to a judge: is `a` correct, is `b` correct?"""

    question: str
    a: str
    b: str


@dataclass(frozen=True)
class Verdict:
    """A judge's answer: whether each side is correct; None for a side without a readable verdict, with the reason.

    `text` is what the judge wrote, None if it did not answer; verdicts are equal whatever the words.
    """

    a: bool | None
    b: bool | None
    reason: str | None = None
    text: str | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if (self.a is None or self.b is None) != (self.reason is not None):
            raise ValueError("a verdict names both sides, or gives the reason why it does not")

    @classmethod
    def none(cls, reason: str) -> Verdict:
        """No answer of the judge, and why."""
        return cls(None, None, reason)

    @property
    def given(self) -> bool:
        """Whether there is a verdict on both sides."""
        return self.reason is None

    @property
    def readable(self) -> bool:
        """Whether there is a verdict on one side at least."""
        return self.a is not None or self.b is not None


class Judge(Protocol):
    """Whatever can compare responses: a model on vLLM, an endpoint, a verifier that knows the answer."""

    def judge(self, comparisons: Sequence[Comparison]) -> list[Verdict]:
        """One verdict a comparison, in their order. Raises only for faults of the set-up."""
        ...


def load_template(path: str | None) -> str:
    """The prompt template in the file at `path`, or the default one for None.

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
        raise ValueError(f"template: {path} lacks the placeholder {names}; add it where its text belongs")
    return template


def fill(template: str, comparison: Comparison) -> str:
    """The user's turn for one comparison.

    All placeholders are replaced in one pass, so that braces or placeholders inside the question or a response stay
    what they are: text.
    """
    texts = {
        "question": comparison.question,
        "response_a": without_verdict_tags(comparison.a),
        "response_b": without_verdict_tags(comparison.b),
    }
    return _PLACEHOLDER.sub(lambda match: texts[match.group(1)], template)


def without_verdict_tags(text: str) -> str:
    """`text` with `<resp_a_judge>` and its like written as `(resp_a_judge)`; any other text comes back unchanged."""
    return _ANY_TAG.sub(r"(\1)", text)


def parse(completion: str, which: Which = "first") -> Verdict:
    """The verdict in a judge's completion (never in the prompt); case and spaces do not matter.

    A side is Correct or Incorrect, or True or False, as in the published parser; `which` of several verdicts on one
    side counts. A completion which the engine cut at the stop string gets it back. A side without a verdict is None.
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
