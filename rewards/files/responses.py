"""Files of problems with responses, as read and written by launch.score.

A record is a JSON object with the problem (`problem`, `prompt` or `question`), its responses (`responses` or `answers`,
a list; or `response`, a text; or `steps`, one response in pieces that are joined by blank lines) and optionally the
reference `answer` and an `id`. RLHFlow's best-of-N files (`prompt`, `answers`, `label`) and ProcessBench's files have
this form. A field that is null counts as absent. All other fields become the problem's metadata.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rewards.conversation import text_of
from rewards.files.fields import answer_of, id_of, metadata_of, prompt_of
from rewards.files.lines import lines_of
from rewards.types import Group, Problem, Response

PROBLEM = ("problem", "prompt", "question")
SEVERAL = ("responses", "answers")
READ = frozenset({*PROBLEM, *SEVERAL, "response", "steps", "answer", "id"})
"""The fields of a record that are read."""

VERDICTS = frozenset({"label", "labels", "step_labels", "scores"})
"""Fields that describe the responses, so they are not metadata of the problem."""


def records(path: Path) -> Iterator[dict[str, Any]]:
    """Every record of a file that one of our commands has written.

    Raises ValueError, with the line number, for a line that is not a usable JSON object.
    """
    for line in lines_of(path):
        if line.fault is not None:
            raise ValueError(f"{path}, line {line.number}: {line.fault}")
        if not isinstance(line.value, dict):
            raise ValueError(f"{path}, line {line.number}: a record must be a JSON object with a problem and responses")
        yield line.value


def group_of(record: Mapping[str, Any], number: int) -> Group:
    """The problem and responses of a record. Raises ValueError if one of them is missing or has the wrong type."""
    prompt = _first(record, PROBLEM)
    if prompt is None:
        raise ValueError(f"there is no problem: give it as {', '.join(PROBLEM)}")
    problem = Problem(
        id_of(record, number),
        prompt_of(prompt),
        answer_of(record.get("answer")),
        metadata_of(record, READ | VERDICTS),
    )
    return Group(problem, tuple(Response(_response(text, place)) for place, text in enumerate(_texts(record))))


def _response(value: Any, place: int) -> str:
    try:
        return text_of(value)
    except ValueError as error:
        raise ValueError(f"every response must be a text: response {place} is not") from error


def _texts(record: Mapping[str, Any]) -> list[Any]:
    several = _first(record, SEVERAL)
    if isinstance(several, list):
        return several
    if record.get("response") is not None:
        return [record["response"]]
    if isinstance(record.get("steps"), list) and all(isinstance(step, str) for step in record["steps"]):
        return ["\n\n".join(record["steps"])]
    raise ValueError(f"there are no responses: give a list as {' or '.join(SEVERAL)}, or one text as response")


def _first(record: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((record[name] for name in names if record.get(name) is not None), None)
