"""Conversations to token ids with the reward model's own chat template, so that no response can forge a turn.

The template is rendered once for each *shape* of conversation (its roles), with placeholders where contents go. The
rendered text is cut at the template's own control tokens; what lies between two of them, contents filled in, is
tokenised with control tokens switched off. So a response that contains `<|eot_id|>`, a whole forged turn or a
placeholder is plain text, and the place of a scored turn is known by construction, never searched for.
For contents without control tokens the ids are those of `tokenizer.apply_chat_template`, which the constructor checks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from rewards.types import Message

_PLACEHOLDER = re.compile("\ue000([0-9]+)\ue001")
_PROBE = ("Half of 3 + 4?  ки", "Step 1: 3 - 4 = 7.\n\nIt's\tso,\n  7", "x", "y: 1,000\n")


class Turn(NamedTuple):
    """One message. A `scored` turn is one whose first token the reward model is asked to predict."""

    role: str
    content: str
    scored: bool = False


def conversation(prompt: Iterable[Message], response: str) -> list[Turn]:
    """The prompt's messages, and the response as the assistant's turn after them."""
    return [*(Turn(message["role"], message["content"]) for message in prompt), Turn("assistant", response)]


@dataclass(frozen=True)
class Rendered:
    """A conversation as token ids, and for each scored turn the index of the token *before* its content."""

    ids: list[int]
    positions: list[int]

    def up_to(self, tokens: int) -> Rendered:
        """The first `tokens` ids, with the positions that lie in them."""
        return Rendered(self.ids[:tokens], [position for position in self.positions if position < tokens])


def load_tokenizer(path: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder or hub name. Raises ValueError when there is none."""
    try:
        return AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"reward.model {path}: cannot load its tokenizer, save one beside it ({reason})") from error


class ChatTemplate:
    """A tokenizer's chat template, made fast (shapes are cached) and safe (contents are text, whatever they say).

    Raises ValueError when the tokenizer has no chat template or no fast backend, when the template writes more than one
    BOS or drops a message, and when the ids would differ from `apply_chat_template` on ordinary text.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self.name = str(getattr(tokenizer, "name_or_path", "") or "the tokenizer")
        if not tokenizer.chat_template:
            raise ValueError(f"{self.name} has no chat template: save one with the tokenizer (tokenizer.chat_template)")
        if getattr(tokenizer, "backend_tokenizer", None) is None:
            raise ValueError(f"{self.name} has no fast tokenizer: convert it, so that there is a tokenizer.json")
        self._strips = lru_cache(maxsize=None)(self._probe_strips)
        self._shape = lru_cache(maxsize=4096)(self._make_shape)
        literals = self._render_text([Turn("user", _mark(0)), Turn("assistant", _mark(1))], True)
        self._control = _control_tokens(tokenizer, literals)
        self._split = re.compile("|".join(map(re.escape, sorted(self._control, key=len, reverse=True))) or "(?!)")
        self._backend = _text_only_backend(tokenizer, self._control)
        self._check_against_reference()

    def render(self, conversations: Iterable[Sequence[Turn]], *, generation_prompt: bool = False) -> list[Rendered]:
        """Token ids of each conversation; `generation_prompt` ends it with the opening of an assistant turn.

        Raises ValueError when a scored turn's content is not exactly one token in its place.
        """
        plans = []
        for turns in conversations:
            key = tuple((turn.role, turn.content if turn.scored else None) for turn in turns)
            plans.append(self._shape(key, generation_prompt).fill(turns))
        fixed = {text for plan in plans for text, labels in plan.stretches if labels}
        plain = {text for plan in plans for text, labels in plan.stretches if not labels}
        encoded = self._encode(fixed, offsets=True) | self._encode(plain - fixed, offsets=False)
        return [self._join(plan, encoded) for plan in plans]

    def label_ids(self, labels: Sequence[str]) -> tuple[int, ...]:
        """The token id of each label as the content of an assistant turn.

        Raises ValueError when one is not exactly one token there (`+`, say, that merges with the space before it).
        """
        ids = []
        for label in labels:
            [rendered] = self.render([[Turn("user", "x"), Turn("assistant", label, scored=True)]])
            ids.append(rendered.ids[rendered.positions[0] + 1])
        if len(set(ids)) != len(labels):
            raise ValueError(f"reward.labels {list(labels)} must be different tokens of {self.name}")
        return tuple(ids)

    def grows_by_turns(self) -> bool:
        """Whether a longer conversation begins with the ids of the shorter one, so that one forward serves all."""
        turn = [Turn("user", "x"), Turn("assistant", "y")]
        short, long = self.render([turn, turn + turn])
        return long.ids[: len(short.ids)] == short.ids

    def _render_text(self, turns: Sequence[Turn], generation_prompt: bool) -> str:
        messages: list[Message] = [{"role": turn.role, "content": turn.content} for turn in turns]
        try:
            text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=generation_prompt)
        except Exception as error:
            roles = ", ".join(turn.role for turn in turns)
            raise ValueError(f"the chat template of {self.name} refuses the roles ({roles}): {error}") from error
        return str(text)

    def _probe_strips(self, role: str) -> tuple[bool, bool]:
        """Whether the template strips white space at the left and at the right of this role's contents."""
        before = [Turn("user", "x")] if role == "assistant" else []
        after = [Turn("user", "x")] if role == "system" else []
        bare = self._render_text([*before, Turn(role, _mark(0)), *after], False)
        padded = self._render_text([*before, Turn(role, f"\n {_mark(0)} \n"), *after], False)
        for left, right in product((False, True), repeat=2):
            expected = ("" if left else "\n ") + _mark(0) + ("" if right else " \n")
            if bare.replace(_mark(0), expected) == padded:
                return left, right
        raise ValueError(f"the chat template of {self.name} rewrites the contents of role {role}: it cannot be scored")

    def _make_shape(self, key: tuple[tuple[str, str | None], ...], generation_prompt: bool) -> _Shape:
        """Render the template for these roles and cut it at its control tokens."""
        marked = [Turn(role, _mark(index)) for index, (role, _) in enumerate(key)]
        text = self._render_text(marked, generation_prompt)
        for index, (role, _) in enumerate(key):
            if text.count(_mark(index)) != 1:
                raise ValueError(f"the chat template of {self.name} does not show message {index} ({role}) once")
        pieces: list[int | tuple[str | int, ...]] = []
        end, strip_left = 0, False
        for match in [*self._split.finditer(text), None]:
            control = self._control[match.group()] if match else None
            stretch = text[end : match.start() if match else len(text)]
            if stretch:
                pieces.append(_parts(stretch, strip_left, bool(control and control.lstrip)))
            if match and control:
                pieces.append(control.id)
                end, strip_left = match.end(), control.rstrip
        if self.tokenizer.bos_token_id is not None and pieces.count(self.tokenizer.bos_token_id) > 1:
            raise ValueError(f"the chat template of {self.name} writes {self.tokenizer.bos_token} more than once")
        return _Shape(pieces, tuple(self._strips(role) for role, _ in key))

    def _encode(self, texts: Iterable[str], *, offsets: bool) -> dict[str, _Encoded]:
        """Ids of each text, control tokens read as text; with character offsets where asked for (slower)."""
        texts = list(texts)
        encode = self._backend.encode_batch if offsets else self._backend.encode_batch_fast
        encodings = encode(texts, add_special_tokens=False) if texts else []
        return {
            text: _Encoded(encoding.ids, encoding.offsets if offsets else [])
            for text, encoding in zip(texts, encodings, strict=True)
        }

    def _join(self, plan: _Plan, encoded: dict[str, _Encoded]) -> Rendered:
        """Ids of the whole conversation, and where its scored turns are."""
        ids: list[int] = []
        positions: list[int] = []
        stretches = iter(plan.stretches)
        for control in plan.controls:
            if control is not None:
                ids.append(control)
                continue
            text, labels = next(stretches)
            for span in labels:
                if span not in encoded[text].offsets:
                    raise ValueError(
                        f"the label {text[span[0] : span[1]]!r} is not exactly one token of {self.name} where its "
                        f"template puts it ({text[max(0, span[0] - 20) : span[1] + 20]!r}): choose other reward.labels"
                    )
                positions.append(len(ids) + encoded[text].offsets.index(span) - 1)
            ids.extend(encoded[text].ids)
        return Rendered(ids, positions)

    def _check_against_reference(self) -> None:
        """Compare with `apply_chat_template` on text that is awkward but has no control tokens."""
        turns = [Turn(role, text) for role, text in zip(("user", "assistant") * 2, _PROBE, strict=True)]
        expected = self.tokenizer.apply_chat_template(
            [{"role": turn.role, "content": turn.content} for turn in turns], tokenize=True, return_dict=False
        )
        if self.render([turns])[0].ids != expected:
            raise ValueError(
                f"{self.name} tokenises a turn differently in its place than in the whole conversation: its tokenizer "
                "or chat template is of a kind this renderer does not know"
            )


class _Encoded(NamedTuple):
    ids: list[int]
    offsets: list[tuple[int, int]]


class _Control(NamedTuple):
    id: int
    lstrip: bool
    rstrip: bool


@dataclass(frozen=True)
class _Plan:
    """A conversation before tokenisation: control ids, None for a stretch; the stretches with their label spans."""

    controls: list[int | None]
    stretches: list[tuple[str, tuple[tuple[int, int], ...]]]


@dataclass(frozen=True)
class _Shape:
    """A rendered template: control token ids, and between them stretches of literal text and message numbers."""

    pieces: list[int | tuple[str | int, ...]]
    strips: tuple[tuple[bool, bool], ...]

    def fill(self, turns: Sequence[Turn]) -> _Plan:
        """The shape with these turns' contents in their places."""
        controls: list[int | None] = []
        stretches = []
        for piece in self.pieces:
            if isinstance(piece, int):
                controls.append(piece)
                continue
            text, labels = "", []
            for part in piece:
                content = part if isinstance(part, str) else self._content(turns, part)
                if isinstance(part, int) and turns[part].scored:
                    labels.append((len(text), len(text) + len(content)))
                text += content
            controls.append(None)
            stretches.append((text, tuple(labels)))
        return _Plan(controls, stretches)

    def _content(self, turns: Sequence[Turn], index: int) -> str:
        content = turns[index].content
        left, right = self.strips[index]
        content = content.lstrip() if left else content
        return content.rstrip() if right else content


def _mark(index: int) -> str:
    """A placeholder for message `index`, in characters of Unicode's private use area."""
    return f"\ue000{index}\ue001"


def _parts(stretch: str, strip_left: bool, strip_right: bool) -> tuple[str | int, ...]:
    """Literal text and message numbers of a stretch; white space that a neighbouring control token swallows is cut."""
    stretch = stretch.lstrip() if strip_left else stretch
    stretch = stretch.rstrip() if strip_right else stretch
    cut = _PLACEHOLDER.split(stretch)
    return tuple(int(part) if place % 2 else part for place, part in enumerate(cut) if part)


def _control_tokens(tokenizer: PreTrainedTokenizerBase, literals: str) -> dict[str, _Control]:
    """Tokens no content may produce: the special ones, and any other added token the template itself writes."""
    added = tokenizer.added_tokens_decoder
    return {
        token.content: _Control(index, token.lstrip, token.rstrip)
        for index, token in added.items()
        if token.special or token.content in literals
    }


def _text_only_backend(tokenizer: PreTrainedTokenizerBase, control: dict[str, _Control]) -> Tokenizer:
    """A copy of the tokenizer that reads control tokens as plain text and reports untrimmed offsets."""
    settings: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    settings.update(post_processor=None, truncation=None, padding=None)
    for token in settings["added_tokens"]:
        token["special"] = token["content"] in control
    # A stretch stands inside a conversation: SentencePiece-like tokenizers must not take it for the text's beginning.
    text = json.dumps(settings).replace('"prepend_scheme": "first"', '"prepend_scheme": "never"')
    backend = Tokenizer.from_str(text)
    backend.encode_special_tokens = True
    return backend
