"""Convert annotated problems to training data in the published formats; pure functions of a record.

A record is a row of annotated.jsonl: `prompt`, `answers`, `label` as in any best-of-N file, and for each answer
`step_spans` (characters) and `step_values` (the share of correct continuations; for the last step, the label).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rewards.conversation import earlier_turns
from rewards.conversation import question_of as transcript_of
from rewards.types import Problem, Span

Record = Mapping[str, Any]
Row = dict[str, Any]

POSITIVE, NEGATIVE = "+", "-"


def sign(value: float) -> str:
    """Math-Shepherd's hard label (arXiv 2312.08935, section 3.3.2): `+` if any continuation is correct."""
    return POSITIVE if value > 0 else NEGATIVE


def process_rows(record: Record, *, soft: bool, remove: str) -> Iterator[Row]:
    """One conversation per solution: user turn k is step k (the first also has the problem), answered with `+` or `-`.

    `earlier` has the turns of a dialogue before its question, which reward models read before the conversation. With
    `soft`, the row also has `values`, the shares of correct continuations, in [0, 1]. `remove` is text removed from the
    steps; a step that consists of nothing else is dropped.
    """
    problem = _problem(record)
    for text, spans, values in zip(record["answers"], record["step_spans"], record["step_values"], strict=True):
        pieces = [(_clean(text[start:end], remove), value) for (start, end), value in zip(spans, values, strict=True)]
        pieces = [(piece, value) for piece, value in pieces if piece]
        if not pieces:
            continue
        turns = [f"{problem.text} {pieces[0][0]}", *[piece for piece, _ in pieces[1:]]]
        signs = [sign(value) for _, value in pieces]
        row: Row = {"conversations": conversation(*[turn for pair in zip(turns, signs, strict=True) for turn in pair])}
        yield row | _earlier(problem) | ({"values": [value for _, value in pieces]} if soft else {})


def outcome_rows(record: Record, *, remove: str) -> Iterator[Row]:
    """One conversation per solution: one turn with the problem and the whole solution, answered with `+` or `-`."""
    problem = _problem(record)
    for text, label in zip(record["answers"], record["label"], strict=True):
        row: Row = {"conversations": conversation(f"{problem.text} {_clean(text, remove)}", sign(label))}
        yield row | _earlier(problem)


def conversation(*contents: str) -> list[dict[str, str]]:
    """The contents as turns of the user and the assistant, alternating."""
    return [
        {"role": "assistant" if index % 2 else "user", "content": content} for index, content in enumerate(contents)
    ]


def question_of(record: Record) -> str:
    """The question in a judge's prompt: the prompt itself, or a transcript if it is a dialogue."""
    return transcript_of(_problem(record).messages, "the judge's prompt")


def _problem(record: Record) -> Problem:
    prompt = record["prompt"]
    return Problem("", prompt if isinstance(prompt, str) else tuple(prompt))


def _earlier(problem: Problem) -> Row:
    """The turns of a dialogue before its question, which a reward model also reads; empty if there are none."""
    turns = earlier_turns(problem.messages)
    return {"earlier": [dict(turn) for turn in turns]} if turns else {}


def beginnings(text: str, spans: Sequence[Span]) -> list[str]:
    """The text to continue for each step except the last: everything before the next step.

    It includes the separator, so that the policy starts a new step and cannot lengthen the old one.
    """
    return [text[:start] for start, _ in spans[1:]]


def empty_steps(spans: Sequence[Span]) -> list[int]:
    """The indices of empty pieces before the last step that is not empty."""
    last = max((index for index, (start, end) in enumerate(spans) if start < end), default=0)
    return [index for index, (start, end) in enumerate(spans[:last]) if start == end]


def _clean(text: str, remove: str) -> str:
    return (text.replace(remove, "") if remove else text).strip()
