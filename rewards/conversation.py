"""Chat messages, each a role and a text. The only place that reads messages and their content parts."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

_ROLE = re.compile(r"\w[\w.-]*")
_UNREAD = ("tool_calls", "function_call", "tool_call_id", "reasoning_content", "thinking", "images")
"""Fields that carry part of a conversation but are not supported by any format here."""


_logger = logging.getLogger(__name__)
_told: set[str] = set()


class Message(TypedDict):
    """One chat turn."""

    role: str
    content: str


def text_of(content: Any) -> str:
    """The text of a message's content: a string unchanged, or text parts (`{"type": "text", "text": ...}`) joined.

    Parts are joined without a separator, as published chat templates do. Raises ValueError for any other content: a
    part that is not text, an empty list of parts, null.
    """
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        raise ValueError(f"a message's content must be text or a list of text parts, not {_kind(content)}")
    if not content:
        raise ValueError("a message's content is an empty list")
    return "".join(_part(part, place) for place, part in enumerate(content))


def messages_of(messages: Iterable[Any]) -> tuple[Message, ...]:
    """Messages with a role and a text each; content parts are joined (see `text_of`).

    Fields other than role and content are dropped. Raises ValueError, naming the message by its index (from 0), for a
    missing role or content, a role that is not a word, content that is not text, and a field with content that would
    be lost (such as `tool_calls` or `reasoning_content`).
    """
    return tuple(_message(message, place) for place, message in enumerate(messages))


def with_system(messages: Iterable[Message], system: str | None) -> tuple[Message, ...]:
    """The messages with `system` as a system turn in front, unless they already have one.

    So a row's own system turn takes precedence over the setting for all rows. An empty `system`, or None, adds nothing.
    """
    messages = tuple(messages)
    if not system or any(message["role"] == "system" for message in messages):
        return messages
    return ({"role": "system", "content": system}, *messages)


def earlier_turns(messages: Iterable[Message]) -> tuple[Message, ...]:
    """The turns before the last user turn, without system turns.

    System turns are dropped because they instruct the policy; a reward model that uses one has its own.
    """
    messages = tuple(messages)
    last = max((place for place, message in enumerate(messages) if message["role"] == "user"), default=0)
    return tuple(message for message in messages[:last] if message["role"] != "system")


def question_of(messages: Iterable[Message], reader: str) -> str:
    """The question as one text, for a format without turns; a dialogue becomes a transcript, each turn after its role.

    System turns are left out. The first time a dialogue becomes a transcript, a warning naming the `reader` is logged.
    Raises ValueError if there is no user message.
    """
    messages = tuple(messages)
    asked = [message["content"] for message in messages if message["role"] == "user"]
    if not asked:
        raise ValueError("the prompt has no user message")
    if not (earlier := earlier_turns(messages)):
        return asked[-1]
    tell_once(f"{reader} takes one question: prompts with several turns are given to it as a transcript")
    turns = [*earlier, Message(role="user", content=asked[-1])]
    return "\n\n".join(f"{message['role'].capitalize()}: {message['content']}" for message in turns)


def tell_once(message: str) -> None:
    """Log a warning once per process."""
    if message not in _told:
        _told.add(message)
        _logger.warning("%s", message)


def _message(message: Any, place: int) -> Message:
    if not isinstance(message, Mapping) or not {"role", "content"} <= message.keys():
        raise ValueError(f"message {place} must be an object with role and content")
    role = message["role"]
    if not isinstance(role, str) or not _ROLE.fullmatch(role):
        raise ValueError(f"message {place}: the role must be one word, not {str(role)[:40]!r}")
    lost = [name for name in _UNREAD if message.get(name)]
    if lost:
        raise ValueError(f"message {place} has {lost[0]}, which is not supported: only role and content are read")
    try:
        return {"role": role, "content": text_of(message["content"])}
    except ValueError as error:
        raise ValueError(f"message {place} ({role}): {error}") from error


def _part(part: Any, place: int) -> str:
    if not isinstance(part, Mapping) or part.get("type") != "text":
        kind = part.get("type") if isinstance(part, Mapping) else _kind(part)
        raise ValueError(f"content part {place} is not text but {kind!r}: only text can be read")
    if not isinstance(part.get("text"), str):
        raise ValueError(f"content part {place} has no text")
    return str(part["text"])


def _kind(value: Any) -> str:
    return "null" if value is None else type(value).__name__
