r"""MATH-style files (Hendrycks et al., arXiv 2103.03874): `problem`, and `answer` or a boxed `solution`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from rewards.grading.announcements import braced
from rl.tasks.jsonl import Files, JsonlTask


class MathTask(JsonlTask):
    r"""MATH, MATH-500 and similar files. The reference answer is the field `answer` if there is one, else the content
    of the last `\boxed{...}` (or `\fbox{...}`) in the field `solution`.

    Arguments and errors as in `JsonlTask`; a row whose solution has no box is left out.
    """

    def __init__(
        self,
        train: Files = None,
        held_out: Files = None,
        system: str | None = None,
        overlap: Literal["stop", "drop"] = "stop",
        weights: tuple[float, ...] | None = None,
        overlong: Literal["stop", "drop"] = "stop",
    ) -> None:
        super().__init__(train, held_out, "problem", "answer", system, overlap, weights, overlong)

    def reference_answer(self, fields: Mapping[str, Any]) -> str:
        r"""The field `answer`, or the content of the last box in `solution`."""
        if fields.get("answer") is not None:
            return super().reference_answer(fields)
        solution = fields.get("solution")
        if not isinstance(solution, str):
            raise ValueError("neither a field 'answer' nor a field 'solution' with text")
        answer = last_boxed(solution)
        if not answer:
            raise ValueError(r"the solution has no \boxed{...} with an answer in it")
        return answer


def last_boxed(text: str) -> str | None:
    r"""The content of the last `\boxed{...}` or `\fbox{...}` with balanced braces; None if there is none."""
    start = max(text.rfind("\\boxed{"), text.rfind("\\fbox{"))
    if start < 0:
        return None
    inner = braced(text, text.index("{", start))
    return None if inner is None else inner.strip()
