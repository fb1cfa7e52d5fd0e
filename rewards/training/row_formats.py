"""Parse training rows of reward models in their published formats, and say what is wrong with a bad row.

| kind          | a row                                                                                              |
|---------------|----------------------------------------------------------------------------------------------------|
| signs         | `conversations` (or `messages`): user turns, each answered with a label (RLHFlow's ORM, PRM data); |
|               | for soft targets also `values`, one share in [0, 1] per label (Math-Shepherd's soft estimation);   |
|               | `earlier`: the turns of a dialogue before its question, which get no label                         |
| pairs         | `chosen` and `rejected`: messages that end with the response (RLHFlow), or texts with a `prompt`   |
| objectives    | `messages` (or `prompt`, `response`) and a number, NaN or null per objective (ArmoRM's data)       |
| judgements    | `messages` that end with a judgement, or `question`, `response_a`, `response_b`, `judgement`       |

Every parser raises ValueError with the reason if a row cannot be used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rewards.chat import Turn
from rewards.conversation import messages_of
from rewards.verdicts import Comparison, Verdict, parse

SIGN_FIELDS = frozenset({"id", "conversations", "messages", "earlier"})
SOFT_SIGN_FIELDS = SIGN_FIELDS | {"values"}
PAIR_FIELDS = frozenset({"id", "prompt", "chosen", "rejected"})
JUDGEMENT_FIELDS = frozenset({"id", "messages", "conversations", "question", "response_a", "response_b", "judgement"})
OBJECTIVE_FIELDS = frozenset({"id", "messages", "prompt", "response", "objectives"})

Turns = tuple[Turn, ...]

LARGEST = 1e18
"""The largest absolute value of an objective: its square still fits into a float32."""


@dataclass(frozen=True)
class Signs:
    """User turns and the label that answers each of them; a system text or None; `earlier` turns without labels.

    `shares`, if given, are the targets instead of the labels: the probability of the positive label after each turn.
    """

    users: tuple[str, ...]
    labels: tuple[str, ...]
    system: str | None = None
    shares: tuple[float, ...] | None = None
    earlier: Turns = ()


@dataclass(frozen=True)
class Preference:
    """Two whole conversations; the first is the better one."""

    chosen: Turns
    rejected: Turns


@dataclass(frozen=True)
class Objectives:
    """A whole conversation and one number per objective, NaN if unknown."""

    turns: Turns
    values: tuple[float, ...]


@dataclass(frozen=True)
class Judgement:
    """A judge's text, and what it had read: a comparison to put into a template, or the turns themselves."""

    asked: Comparison | Turns
    written: str
    verdict: Verdict


def parse_signs(record: Mapping[str, Any], labels: Sequence[str], *, soft: bool = False) -> Signs:
    """A conversation of user turns, each answered with one of `labels`; a system turn may come first.

    With `soft`, the row's `values` are its shares. `earlier`, if present, has a dialogue's turns before the question.
    """
    turns = list(_messages(_either(record, "conversations", "messages"), "conversations"))
    system = turns.pop(0).content if turns and turns[0].role == "system" else None
    if not turns or len(turns) % 2:
        raise ValueError(f"a conversation must have pairs of user and assistant turns, this one has {len(turns)} turns")
    for place, turn in enumerate(turns):
        wanted = ("user", "assistant")[place % 2]
        if turn.role != wanted:
            raise ValueError(f"turn {place} is the {turn.role}'s: user and assistant must alternate")
        if wanted == "user" and not turn.content.strip():
            raise ValueError(f"step {place // 2} is empty")
        if wanted == "assistant" and turn.content.strip() not in labels:
            raise ValueError(f"step {place // 2} is labelled {turn.content[:20]!r}: expected one of {list(labels)}")
    signs = tuple(turn.content.strip() for turn in turns[1::2])
    shares = _shares(record.get("values"), len(signs)) if soft else None
    earlier = () if record.get("earlier") is None else _messages(record["earlier"], "earlier")
    if any(turn.role == "system" for turn in earlier):
        raise ValueError("earlier: a system turn belongs at the start of the conversation, not into earlier")
    return Signs(tuple(turn.content for turn in turns[::2]), signs, system, shares, earlier)


def parse_preference(record: Mapping[str, Any]) -> Preference:
    """Two conversations with the same beginning, the better response in `chosen`."""
    sides = []
    for name in ("chosen", "rejected"):
        value = record.get(name)
        if isinstance(value, str):
            value = [*_prompt(record), {"role": "assistant", "content": value}]
        sides.append(_answered(value, name))
    chosen, rejected = sides
    if chosen == rejected:
        raise ValueError("chosen and rejected are the same")
    if chosen[:-1] != rejected[:-1]:
        raise ValueError("chosen and rejected do not answer the same prompt")
    return Preference(chosen, rejected)


def parse_objectives(record: Mapping[str, Any], names: Sequence[str]) -> Objectives:
    """A conversation with one column per objective (absent, null or NaN: unknown), or all in a list `objectives`."""
    if "messages" in record:
        turns = _answered(record["messages"], "messages")
    elif isinstance(record.get("response"), str):
        turns = _answered([*_prompt(record), {"role": "assistant", "content": record["response"]}], "response")
    else:
        raise ValueError("there is no conversation: give it as messages, or as prompt and response")
    given = record.get("objectives")
    if given is None:
        given = [record.get(name) for name in names]
    elif not isinstance(given, list) or len(given) != len(names):
        found = f"{len(given)} numbers" if isinstance(given, list) else type(given).__name__
        raise ValueError(f"objectives must be a list of {len(names)} numbers, not {found}")
    values = tuple(_number(value, name) for value, name in zip(given, names, strict=True))
    if all(math.isnan(value) for value in values):
        raise ValueError("no objective is known")
    return Objectives(turns, values)


def parse_judgement(record: Mapping[str, Any]) -> Judgement:
    """A judgement with a verdict on both responses, and what was asked; `judgement` takes precedence over messages."""
    asked: Comparison | Turns
    if "judgement" in record:
        names = ("question", "response_a", "response_b")
        missing = [name for name in names if not isinstance(record.get(name), str)]
        if missing:
            raise ValueError(f"{missing[0]} is not a text")
        asked, written = Comparison(*(record[name] for name in names)), record["judgement"]
    else:
        *before, last = _answered(_either(record, "messages", "conversations"), "messages")
        asked, written = tuple(before), last.content
    if not isinstance(written, str):
        raise ValueError("judgement is not a text")
    verdict = parse(written)
    if not verdict.given:
        raise ValueError(f"{verdict.reason}")
    return Judgement(asked, written, verdict)


def _either(record: Mapping[str, Any], *names: str) -> Any:
    found = [record[name] for name in names if record.get(name) is not None]
    if not found:
        raise ValueError(f"there is no conversation: give it as {' or '.join(names)}")
    if len(found) > 1:
        raise ValueError(f"{' and '.join(names)} are both given: keep one")
    return found[0]


def _prompt(record: Mapping[str, Any]) -> list[Any]:
    prompt = record.get("prompt")
    if isinstance(prompt, list):
        return prompt
    if not isinstance(prompt, str) or not prompt.strip():
        raise ValueError("there is no prompt")
    return [{"role": "user", "content": prompt}]


def _messages(value: Any, name: str) -> Turns:
    if not isinstance(value, list) or not value:
        raise ValueError(f"{name} must be a list of messages that is not empty")
    try:
        return tuple(Turn(message["role"], message["content"]) for message in messages_of(value))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _answered(value: Any, name: str) -> Turns:
    """Messages that end with a non-empty assistant turn."""
    turns = _messages(value, name)
    if turns[-1].role != "assistant" or len(turns) < 2:
        raise ValueError(f"{name} must end with a response of the assistant")
    if not turns[-1].content.strip():
        raise ValueError(f"{name}: the response is empty")
    return turns


def _shares(values: Any, steps: int) -> tuple[float, ...]:
    if values is None:
        raise ValueError("there are no values: soft targets are one share in [0, 1] per step")
    if not isinstance(values, list) or len(values) != steps:
        found = f"{len(values)} of them" if isinstance(values, list) else type(values).__name__
        raise ValueError(f"values must be a list of {steps} shares, one per step, not {found}")
    for place, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise ValueError(f"the value of step {place} must be a share in [0, 1]")
    return tuple(map(float, values))


def _number(value: Any, name: str) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"objective {name} must be a number, NaN or null, not {value!r}")
    if abs(value) > LARGEST:  # before the conversion: a float cannot represent a very large integer
        raise ValueError(f"objective {name} must be a number between -{LARGEST:.0e} and {LARGEST:.0e}, NaN or null")
    return float(value)
