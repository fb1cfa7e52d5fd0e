"""Read and check the fields of a row: prompt, answer, id, nested fields; all other fields are metadata."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from decimal import Decimal
from typing import Any

from rewards.conversation import Message, messages_of, text_of

Prompt = str | tuple[Message, ...]


def value_at(record: Mapping[str, Any], name: str) -> Any:
    """The value of the field `name`; `extra.question` is the field `question` of the object in the field `extra`.

    A field whose name contains the dot takes precedence, and a number selects an item of a list. If there is no such
    field, raises ValueError, which names the existing fields.
    """
    if name in record:
        return record[name]
    value: Any = record
    for part in name.split("."):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            there = value if isinstance(value, Mapping) else record
            names = ", ".join(repr(str(field)[:40]) for field in list(there)[:12]) or "none"
            inside = "" if there is record else " there"
            raise ValueError(f"no field {name!r}; it has {names}{inside}")
    return value


def with_fields(record: dict[str, Any], fields: Mapping[str, str]) -> dict[str, Any]:
    """The row with its fields renamed: `fields` maps each name that is read to the place of the field in the file.

    Raises ValueError for a field that is missing.
    """
    if not fields:
        return record
    found = {name: value_at(record, place) for name, place in fields.items()}
    return {**{name: value for name, value in record.items() if name not in fields.values()}, **found}


def prompt_of(value: Any, name: str = "the prompt") -> Prompt:
    """A prompt: text, or messages that end with a user turn. Content parts are joined into one text.

    Raises ValueError, beginning with `name`, for an empty prompt and for anything else.
    """
    if isinstance(value, str):
        if not value.strip():
            raise ValueError(f"{name} is empty")
        return value
    if not isinstance(value, list | tuple):
        raise ValueError(f"{name} must be text or messages, not {kind_of(value)}")
    if not value:
        raise ValueError(f"{name} is empty")
    try:
        if all(isinstance(part, Mapping) and "type" in part and "role" not in part for part in value):
            return prompt_of(text_of(value), name)
        messages = messages_of(value)
    except ValueError as error:
        raise error if str(error).startswith(name) else ValueError(f"{name}: {error}") from error
    if messages[-1]["role"] != "user" or not messages[-1]["content"].strip():
        raise ValueError(f"{name} must end with a user turn that is not empty")
    return messages


def answer_of(value: Any, name: str = "answer") -> str | None:
    """A reference answer as text; None for null. Raises ValueError, beginning with `name`, for anything else."""
    if value is None or isinstance(value, str):
        return value
    return number_text(value, name)


def number_text(value: Any, name: str) -> str:
    """A number in decimal notation, without an exponent: 0.00002, not 2e-05. Raises ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} must be text or a number, not {kind_of(value)}")
    if isinstance(value, int):
        return str(value)
    if not math.isfinite(value):
        raise ValueError(f"{name} is not a finite number")
    return format(Decimal(repr(value)), "f")


def id_of(record: Mapping[str, Any], otherwise: str | int) -> str:
    """The row's id, or `otherwise` if it has none. Raises ValueError for an id that is not text or a number."""
    value = record.get("id")
    if value is None:
        return str(otherwise)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"id must be text or a number, not {kind_of(value)}")
    return str(value)


def metadata_of(record: Mapping[str, Any], read: Collection[str]) -> dict[str, Any]:
    """All fields except those in `read`, as JSON values: NaN becomes null."""
    return {name: _without_nan(value) for name, value in record.items() if name not in read}


def kind_of(value: Any) -> str:
    """The JSON name of a value's type."""
    return {type(None): "null", dict: "an object", list: "a list", str: "text", bool: "a boolean"}.get(
        type(value), "a number" if isinstance(value, int | float) else type(value).__name__
    )


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, dict):
        return {name: _without_nan(inner) for name, inner in value.items()}
    return [_without_nan(inner) for inner in value] if isinstance(value, list) else value
