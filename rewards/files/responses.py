"""Files of problems with responses, as read and written by launch.score.

A record is a JSON object with the problem (`problem`, `prompt` or `question`), its responses (`responses` or `answers`,
a list; or `response`, a text; or `steps`, one response in pieces, joined by blank lines) and perhaps the reference
`answer` and an `id`. RLHFlow's best-of-N files (`prompt`, `answers`, `label`) and ProcessBench's are of this kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rewards.files.lines import lines_of
from rewards.types import Group, Problem, Response

PROBLEM = ("problem", "prompt", "question")
SEVERAL = ("responses", "answers")


def records(path: Path) -> Iterator[dict[str, Any]]:
    """Every record of a JSONL file, or of a JSON file that holds one list.

    Raises ValueError, with the line number, for a line that is no JSON object, or none that can be used.
    """
    for line in lines_of(path):
        if line.fault is not None:
            raise ValueError(f"{path}, line {line.number}: {line.fault}")
        if not isinstance(line.value, dict):
            raise ValueError(f"{path}, line {line.number}: a record must be a JSON object with a problem and responses")
        yield line.value


def groups(path: Path) -> Iterator[tuple[dict[str, Any], Group]]:
    """Every record with its group. Raises ValueError, with the record's number, for one that lacks something."""
    for number, record in enumerate(records(path), start=1):
        try:
            yield record, group_of(record, number)
        except ValueError as error:
            raise ValueError(f"{path}, record {number}: {error}") from error


def group_of(record: Mapping[str, Any], number: int) -> Group:
    """The problem and responses of a record. Raises ValueError for one that lacks them or has them in another type."""
    prompt = _first(record, PROBLEM)
    if isinstance(prompt, list):
        prompt = tuple(prompt)
    if not prompt or not isinstance(prompt, str | tuple):
        raise ValueError(f"there is no problem: give it as {', '.join(PROBLEM)}")
    answer = record.get("answer")
    problem = Problem(str(record.get("id", number)), prompt, None if answer is None else str(answer))
    texts = _texts(record)
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("every response must be a text")
    return Group(problem, tuple(Response(text) for text in texts))


def _texts(record: Mapping[str, Any]) -> list[Any]:
    several = _first(record, SEVERAL)
    if isinstance(several, list):
        return several
    if "response" in record:
        return [record["response"]]
    if isinstance(record.get("steps"), list) and all(isinstance(step, str) for step in record["steps"]):
        return ["\n\n".join(record["steps"])]
    raise ValueError(f"there are no responses: give a list as {' or '.join(SEVERAL)}, or one text as response")


def _first(record: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((record[name] for name in names if name in record), None)
