from __future__ import annotations

import json
from pathlib import Path

import pytest


@pytest.fixture
def solutions(tmp_path) -> Path:
    """Nine problems of four responses; the first is always right, the others announce other answers."""
    file = tmp_path / "solutions.jsonl"
    rows = [
        {
            "prompt": f"What is {n}?",
            "answers": [f"The answer is: {n}", "Surely the answer is: 0", "Surely the answer is: 0", "Perhaps."],
            "label": [1, 0, 0, 0],
            "answer": str(n),
        }
        for n in range(1, 10)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file
