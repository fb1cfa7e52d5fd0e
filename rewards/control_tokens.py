"""A tokenizer's control tokens, and how to keep message contents from forging one.

A control token opens or ends a turn: a special token, or another added token that the chat template writes around
messages. Thought tags (`<think>`) are not control tokens: they belong to a response, templates look for them there,
and they cannot form a turn.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

THOUGHT_TAG = re.compile(r"</?think(ing)?>|\[/?THINK\]")
_SWITCH = re.compile(r"/\w+")  # GLM's /nothink: an added token that sets a mode and does not open a turn
_PRIVATE = re.compile("[\U000f0000-\U0010fffd]")
_FIRST_STAND_IN = 0xF0000


class Control(NamedTuple):
    """A control token, and whether it swallows white space to its left and right."""

    id: int
    lstrip: bool
    rstrip: bool


def control_tokens(tokenizer: PreTrainedTokenizerBase, written: str) -> dict[str, Control]:
    """The control tokens by their text; `written` is what the chat template writes around messages."""
    return {
        token.content: Control(index, token.lstrip, token.rstrip)
        for index, token in tokenizer.added_tokens_decoder.items()
        if token.content.strip()
        and not THOUGHT_TAG.fullmatch(token.content)
        and (token.special or (token.content in written and not _SWITCH.fullmatch(token.content)))
    }


def text_only_backend(tokenizer: PreTrainedTokenizerBase, control: Iterable[str], *, inside: bool = True) -> Tokenizer:
    """A copy of the tokenizer that reads control tokens as plain text and reports untrimmed offsets.

    `inside`: its texts follow a control token, so SentencePiece-like tokenizers must not treat them as a text's start.
    """
    settings: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    settings.update(post_processor=None, truncation=None, padding=None)
    control = set(control)
    for token in settings["added_tokens"]:
        token["special"] = token["content"] in control
    text = json.dumps(settings)
    backend = Tokenizer.from_str(
        text.replace('"prepend_scheme": "first"', '"prepend_scheme": "never"') if inside else text
    )
    backend.encode_special_tokens = True
    return backend


@dataclass(frozen=True)
class Veil:
    """Hides from a template any part of a content that could become a control token, and nothing else.

    The first and last characters of control tokens are replaced by stand-ins, so that no content yields a control
    token, even after the template cuts or joins it. `literals` are the texts that the template itself looks for; those
    that cannot be part of a control token, such as `</think>`, stay visible.
    """

    control: frozenset[str]
    literals: frozenset[str]

    @cached_property
    def edges(self) -> str:
        """First and last characters of the control tokens."""
        return "".join(sorted({edge for token in self.control for edge in (token.strip()[0], token.strip()[-1])}))

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """A text that stays visible, or (group 1) a character to hide."""
        kept = [text for text in self.literals if set(text) & set(self.edges) and not self._touches_control(text)]
        kept.sort(key=len, reverse=True)
        return re.compile("|".join([*map(re.escape, kept), f"([{re.escape(self.edges)}])" if self.edges else "(?!)"]))

    def stand_ins(self, contents: Iterable[str], more: int) -> list[str]:
        """Characters that occur in none of the contents: one per edge, then `more` others."""
        used = {character for content in contents for character in _PRIVATE.findall(content)}
        wanted, code = len(self.edges) + more, _FIRST_STAND_IN
        found: list[str] = []
        while len(found) < wanted:
            if chr(code) not in used:
                found.append(chr(code))
            code += 1
        return found

    def hide(self, content: str, stand_ins: dict[str, str]) -> str:
        """The content with its dangerous characters replaced."""
        return self.pattern.sub(lambda match: stand_ins[match[1]] if match[1] else match[0], content)

    def _touches_control(self, text: str) -> bool:
        """Whether an occurrence of `text` could overlap an occurrence of a control token."""
        return any(
            token in text
            or text in token
            or any(
                text.endswith(token[:size]) or text.startswith(token[-size:])
                for size in range(1, min(len(text), len(token)) + 1)
            )
            for token in self.control
        )
