"""Scores as JSON: the single format of all score files, written and read here.

    {"value": 0.5, "steps": [...], "spans": [[start, end], ...], "parts": {...}, "matches": {"1": 1.0, ...}}
    {"failure": "why there is no value"}

`value` is always present unless the score failed; every other key is present only if the score has it. `matches` maps
the index of another response in the group to this response's points against it (JSON writes these keys as strings; they
are read back as integers).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from rewards.types import Score


def score_to_json(score: Score) -> dict[str, Any]:
    """The score as a JSON object."""
    if score.failure is not None:
        return {"failure": score.failure}
    record: dict[str, Any] = {"value": score.value}
    if score.steps is not None and score.spans is not None:
        record |= {"steps": list(score.steps), "spans": [list(span) for span in score.spans]}
    if score.parts:
        record["parts"] = dict(score.parts)
    if score.matches is not None:
        record["matches"] = {str(other): points for other, points in score.matches.items()}
    return record


def score_from_json(record: Mapping[str, Any]) -> Score:
    """The score that `score_to_json` wrote. Raises ValueError for an object that is not such a score."""
    try:
        if "failure" in record:
            return Score.failed(str(record["failure"]))
        score = Score.of(
            record["value"],
            steps=record.get("steps"),
            spans=record.get("spans"),
            parts=record.get("parts"),
            matches={int(other): float(points) for other, points in record["matches"].items()}
            if "matches" in record
            else None,
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a score: {_short(record)} ({type(error).__name__}: {error})") from error
    if not score.ok:
        raise ValueError(f"not a score: {_short(record)} ({score.failure})")
    return score


def failures(scores: Iterable[Iterable[Score]]) -> Counter[str]:
    """How many scores failed for each reason."""
    return Counter(score.failure for group in scores for score in group if score.failure is not None)


def _short(record: object) -> str:
    text = str(record)
    return text if len(text) <= 80 else f"{text[:77]}..."
