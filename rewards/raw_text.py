"""Inputs of reward models that read plain text instead of a conversation: a problem, then its steps.

Nothing in a problem or a step can become a control token: it is tokenised as text. The places that are read are known
by construction; they are never searched for, so a step that contains the separator moves no place.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Literal, NamedTuple

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerBase

from rewards.chat import SURROGATE
from rewards.control_tokens import control_tokens, text_only_backend

Form = Literal["text", "tokens"]
"""How a text becomes tokens: `text` as one text, `tokens` piece by piece (opening, step, separator, step, ...)."""

NOT_ONE_TOKEN = "the separator after a step is not one token there"


def name_of(tokenizer: PreTrainedTokenizerBase) -> str:
    """The tokenizer's name for messages."""
    return str(getattr(tokenizer, "name_or_path", "") or "the tokenizer")


def one_token(tokenizer: PreTrainedTokenizerBase, text: str, option: str) -> int:
    """The token of a text that stands alone. Raises ValueError, beginning with the option's name, if it is not one."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
    if len(ids) != 1:
        raise ValueError(f"{option} {text!r} is {len(ids)} tokens of {name_of(tokenizer)}, it must be exactly one")
    return int(ids[0])


def named_token(tokenizer: PreTrainedTokenizerBase, name: str, option: str) -> int:
    """The token with this name in the vocabulary. Raises ValueError, beginning with the option's name, if none has."""
    found = tokenizer.get_vocab().get(name)
    if found is None:
        raise ValueError(f"{option} {name!r} is not a token of {name_of(tokenizer)}")
    return int(found)


def half_character(text: str) -> str | None:
    """The reason to refuse a text with a lone surrogate, which no tokenizer takes."""
    found = None if text.isascii() else SURROGATE.search(text)
    return f"the text has half a character (\\u{ord(found[0]):04x})" if found else None


class PlainTokenizer:
    """A tokenizer that reads everything as text: `control` texts and special tokens too."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, control: str = "") -> None:
        self.tokenizer = tokenizer
        self.controls = control_tokens(tokenizer, control)

    @cached_property
    def opening(self) -> Tokenizer:
        """Tokenises a text that stands alone or comes first."""
        return text_only_backend(self.tokenizer, self.controls, inside=False)

    @cached_property
    def inside(self) -> Tokenizer:
        """Tokenises a text that follows a special token."""
        return text_only_backend(self.tokenizer, self.controls)

    @property
    def bos_ids(self) -> list[int]:
        """The BOS token, if there is one."""
        return [] if self.tokenizer.bos_token_id is None else [self.tokenizer.bos_token_id]

    @cached_property
    def written_bos_ids(self) -> list[int]:
        """The BOS token, if the tokenizer puts it before a text by itself."""
        first = self.tokenizer("x")["input_ids"][:1]
        return self.bos_ids if first == self.bos_ids else []


def ids_of(backend: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """The token ids of each text."""
    return [one.ids for one in backend.encode_batch_fast(list(texts), add_special_tokens=False)] if texts else []


class RawInput(NamedTuple):
    """Token ids, and the index of each step's separator; the last token of the step if the separator is left out."""

    ids: list[int]
    ends: list[int]


class StepText:
    """Makes the ids of an opening and steps, each step followed by `separator`.

    form: see `Form`. after: text between a separator and the next step, only for `text`. keep: whether the separator
    stays in the input. If not, it only ends a piece, as a special token does, and each step ends at its last token.
    Raises ValueError for a separator that is not exactly one token.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, separator: str, *, form: Form, after: str = "", keep: bool = True
    ) -> None:
        self.separator, self.form, self.after, self.keep = separator, form, after, keep
        self.plain = PlainTokenizer(tokenizer, separator)
        self.start_ids = self.plain.bos_ids if form == "tokens" else self.plain.written_bos_ids
        control = self.plain.controls.get(separator)
        self.whole = form == "text" and control is None  # a special token would cut the text into pieces
        self.separator_id = -1 if control is None else control.id
        if self.whole:
            self._check_whole()
        elif control is None:
            self.separator_id = one_token(tokenizer, separator, "separator")

    def encode(self, inputs: Sequence[tuple[str, Sequence[str]]]) -> list[RawInput | str]:
        """The input for each opening with its steps, or why it has none."""
        broken = [half_character("".join([opening, *steps])) for opening, steps in inputs]
        sound = [one for one, fault in zip(inputs, broken, strict=True) if not fault]
        made = iter(self._as_one(sound) if self.whole else self._by_pieces(sound))
        return [fault or next(made) for fault in broken]

    def _check_whole(self) -> None:
        if not self.keep:
            raise ValueError(
                f"separator {self.separator!r} is not a special token of {name_of(self.plain.tokenizer)}: it ends "
                "no step without being read (keep_separator=false)"
            )
        [found] = self._as_one([("1 + 2?", ["It is 3"])])
        if isinstance(found, str):
            raise ValueError(f"separator {self.separator!r} is not one token of {name_of(self.plain.tokenizer)}")

    def _as_one(self, inputs: Sequence[tuple[str, Sequence[str]]]) -> list[RawInput | str]:
        texts, places = [], []
        for opening, steps in inputs:
            text, ends = opening, []
            for step in steps:
                text += step + self.separator
                ends.append(len(text.rstrip()) if self.separator.strip() else len(text))
                text += self.after
            texts.append(text)
            places.append(ends)
        encoded = self.plain.opening.encode_batch(texts, add_special_tokens=False) if texts else []
        return [self._located(one.ids, one.offsets, ends) for one, ends in zip(encoded, places, strict=True)]

    def _located(self, ids: list[int], offsets: list[tuple[int, int]], ends: Sequence[int]) -> RawInput | str:
        """The tokens of the separators that end at these characters, if each is one token of its own."""
        separator = self.separator.rstrip() or self.separator
        longest, shortest = len(separator), len(separator.lstrip() or separator)
        found, index = [], 0
        for end in ends:
            while index < len(offsets) and offsets[index][1] < end:
                index += 1
            if index == len(offsets) or offsets[index][1] != end:
                return NOT_ONE_TOKEN
            if not end - longest <= offsets[index][0] <= end - shortest:
                return NOT_ONE_TOKEN
            found.append(index + len(self.start_ids))
        return RawInput([*self.start_ids, *ids], found)

    def _by_pieces(self, inputs: Sequence[tuple[str, Sequence[str]]]) -> list[RawInput | str]:
        openings = ids_of(self.plain.opening, [opening for opening, _ in inputs])
        texts = [self.after * (place > 0) + step for _, steps in inputs for place, step in enumerate(steps)]
        pieces = iter(ids_of(self.plain.opening if self.form == "tokens" else self.plain.inside, texts))
        found: list[RawInput | str] = []
        for opening, (_, steps) in zip(openings, inputs, strict=True):
            ids, ends = [*self.start_ids, *opening], []
            for _ in steps:
                ids.extend(next(pieces))
                if self.keep:
                    ids.append(self.separator_id)
                ends.append(len(ids) - 1)
            found.append(RawInput(ids, ends))
        return found
