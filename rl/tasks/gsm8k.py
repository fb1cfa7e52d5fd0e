"""GSM8K-style files (Cobbe et al., arXiv 2110.14168): `question`, and a worked `answer` that ends with `#### N`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from rl.tasks.jsonl import Files, JsonlTask


class Gsm8kTask(JsonlTask):
    """GSM8K's own files (train.jsonl, test.jsonl). The reference answer is what follows the last `####`.

    Arguments and errors as in `JsonlTask`; a row whose answer has no `####` is left out.
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
        super().__init__(train, held_out, "question", "answer", system, overlap, weights, overlong)

    def reference_answer(self, fields: Mapping[str, Any]) -> str:
        """The number after the last `####`, without thousands separators."""
        _, mark, answer = super().reference_answer(fields).rpartition("####")
        if not mark or not answer.strip():
            raise ValueError("the answer has no '#### N' at its end")
        return answer.strip().replace(",", "")
