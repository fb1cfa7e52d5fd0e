"""Render conversations to token ids with a model's own chat template, so that no content can forge a turn.

The template is rendered with the real contents, because published templates depend on them: they drop thoughts up to
`</think>`, strip white space, or write an empty think block if there is none. Text that could become a control token is
hidden from the template (`rewards.control_tokens.Veil`). The rendered text is split at the template's own control
tokens, and the stretches between them are tokenised as text. So `<|eot_id|>`, a whole forged turn or a placeholder in a
response stays plain text, and the position of a scored turn is known by construction, never searched for. For contents
without control tokens the ids equal those of `tokenizer.apply_chat_template`; the constructor checks this.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from rewards.control_tokens import Control, Veil, control_tokens, text_only_backend
from rewards.conversation import Message
from rewards.template_options import checked_options, template_literals, template_source

_ROLE = re.compile(r"\w[\w.-]*")
SURROGATE = re.compile("[\ud800-\udfff]")
_THOUGHT = "<think>\nHalf of 3 + 4?\n</think>\n\n"
_PROBE = ("Half of 3 + 4?  ки", "Step 1: 3 - 4 = 7.\n\nIt's\tso,\n  7", '"x\\n" <b>&amp;', "\ny: 1,000\n")


class Turn(NamedTuple):
    """One message. A `scored` turn is one whose first token the reward model is asked to predict.

    `marks` are places in the content, in characters and in order, where the template's `separator` is inserted.
    """

    role: str
    content: str
    scored: bool = False
    marks: tuple[int, ...] = ()


def conversation(prompt: Iterable[Message], response: str) -> list[Turn]:
    """The prompt's messages followed by the response as an assistant turn."""
    return [*(Turn(message["role"], message["content"]) for message in prompt), Turn("assistant", response)]


@dataclass(frozen=True)
class Rendered:
    """A conversation's token ids, and for each scored turn the index of the token *before* its content.

    With a separator, the positions are those of the separators inserted at the marks.

    `failure` says why a conversation could not be rendered; there are then no ids.
    """

    ids: list[int]
    positions: list[int]
    failure: str | None = None

    def up_to(self, tokens: int) -> Rendered:
        """The first `tokens` ids and the positions within them."""
        return Rendered(self.ids[:tokens], [position for position in self.positions if position < tokens])


def load_tokenizer(path: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder or hub name. Raises ValueError if there is none."""
    try:
        return AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"reward.model {path}: cannot load its tokenizer; save one next to it ({reason})") from error


class ChatTemplate:
    """A tokenizer's chat template, made safe: contents are always tokenised as plain text.

    options: keyword arguments for the template (`chat_template_kwargs`), such as `enable_thinking`.
    separator: text of an added token that is inserted at the marks of turns; in contents the same text stays plain.
    Raises ValueError if the tokenizer has no chat template or no fast backend, if the template does not read an option,
    writes a second BOS or drops a message, and if the ids would differ from `apply_chat_template` on ordinary text,
    with or without thoughts.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        options: Mapping[str, Any] | None = None,
        separator: str | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.name = str(getattr(tokenizer, "name_or_path", "") or "the tokenizer")
        source = template_source(tokenizer)
        if getattr(tokenizer, "backend_tokenizer", None) is None:
            raise ValueError(f"{self.name} has no fast tokenizer: convert it to a tokenizer.json")
        self.options = checked_options(tokenizer, options)
        written = self._text([Turn("user", _mark(0)), Turn("assistant", _mark(1))], True)
        self._control = control_tokens(tokenizer, written + (separator or ""))
        self._separator = separator or ""
        self._separator_id = None if separator is None else self._added_token(separator, written)
        self._split = re.compile("|".join(map(re.escape, sorted(self._control, key=len, reverse=True))) or "(?!)")
        self._veil = Veil(frozenset(self._control), template_literals(source))
        self._backend = text_only_backend(tokenizer, self._control)
        self._shape = lru_cache(maxsize=4096)(self._make_shape)
        self._check_bos()
        self._check_against_reference()

    def _added_token(self, separator: str, written: str) -> int:
        """The id of a separator. Raises ValueError if it is no added token, or if the template writes it itself."""
        if separator not in self._control:
            raise ValueError(f"separator {separator!r} is not an added token of {self.name}")
        if separator in written:
            raise ValueError(f"separator {separator!r} is written by the chat template of {self.name} itself")
        return self._control[separator].id

    def render(self, conversations: Iterable[Sequence[Turn]], *, generation_prompt: bool = False) -> list[Rendered]:
        """Token ids of each conversation; `generation_prompt` appends the header of an assistant turn.

        Raises ValueError for the first conversation that cannot be rendered (see `render_each`).
        """
        rendered = self.render_each(conversations, generation_prompt=generation_prompt)
        for one in rendered:
            if one.failure is not None:
                raise ValueError(one.failure)
        return rendered

    def render_each(
        self, conversations: Iterable[Sequence[Turn]], *, generation_prompt: bool = False
    ) -> list[Rendered]:
        """Token ids of each conversation, or the reason why it failed; the others are unaffected.

        A conversation fails if the template refuses its roles or drops a message, if a content has a lone surrogate
        (half a character), or if a scored turn's content is not exactly one token in its place.
        """
        plans: list[_Plan | str] = []
        for turns in conversations:
            try:
                plans.append(self._plan(turns, generation_prompt))
            except ValueError as error:
                plans.append(str(error))
        stretches = [stretch for plan in plans if not isinstance(plan, str) for stretch in plan.stretches]
        fixed = {text for text, labels in stretches if labels}
        encoded = self._encode(fixed, offsets=True)
        encoded |= self._encode({text for text, labels in stretches if not labels} - fixed, offsets=False)
        return [Rendered([], [], plan) if isinstance(plan, str) else self._join(plan, encoded) for plan in plans]

    def label_ids(self, labels: Sequence[str]) -> tuple[int, ...]:
        """The token id of each label as the content of an assistant turn.

        Raises ValueError if a label is not exactly one token there (a `+` that merges with the space before it).
        """
        ids = []
        for label in labels:
            [rendered] = self.render([[Turn("user", "x"), Turn("assistant", label, scored=True)]])
            ids.append(rendered.ids[rendered.positions[0] + 1])
        if len(set(ids)) != len(labels):
            raise ValueError(f"reward.labels {list(labels)} must be different tokens of {self.name}")
        return tuple(ids)

    def keeps_earlier_tokens(self) -> bool:
        """Whether a longer conversation begins with the ids of a shorter one, so that one forward pass serves all."""
        turn = [Turn("user", "x"), Turn("assistant", "y")]
        short, long = self.render([turn, turn + turn])
        return long.ids[: len(short.ids)] == short.ids

    def _text(self, turns: Sequence[Turn], generation_prompt: bool) -> str:
        messages = [{"role": turn.role, "content": turn.content} for turn in turns]
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    messages, tokenize=False, add_generation_prompt=generation_prompt, **self.options
                )
            )
        except Exception as error:
            roles = ", ".join(turn.role for turn in turns)
            reason = str(error).strip().split("\n")[0]
            raise ValueError(f"the chat template of {self.name} refuses the roles ({roles}): {reason}") from error

    def _plan(self, turns: Sequence[Turn], generation_prompt: bool) -> _Plan:
        """Render the template with veiled contents (nothing can forge a turn) and split it at its control tokens."""
        for turn in turns:
            if not turn.content.isascii() and (half := SURROGATE.search(turn.content)):
                raise ValueError(f"the text of the {turn.role} has half a character (\\u{ord(half[0]):04x})")
            if not _ROLE.fullmatch(turn.role):
                raise ValueError(f"a role must be one word, not {turn.role[:40]!r}")
            if turn.scored and not turn.content.strip():
                raise ValueError(f"the label {turn.content!r} is not exactly one token: choose other reward.labels")
        *hidden, opening, closing, mark = self._veil.stand_ins((turn.content for turn in turns), 3)
        stand_ins = dict(zip(self._veil.edges, hidden, strict=True))
        shown, spaces = [], []
        for turn in turns:
            content = self._veil.hide(_marked(turn, mark), stand_ins)
            if turn.scored:
                left, right = len(content) - len(content.lstrip()), len(content.rstrip())
                spaces.append((content[:left], content[right:]))
                content = content[:left] + opening + content[left:right] + closing + content[right:]
            shown.append(Turn(turn.role, content))
        text = self._text(shown, generation_prompt)
        if text.count(mark) != sum(len(turn.marks) for turn in turns):
            raise ValueError(f"the chat template of {self.name} does not show every step exactly once")
        pieces = self._cut(text.replace(mark, self._separator))
        key = tuple((turn.role, None if turn.content.strip() else turn.content) for turn in turns)
        controls = [piece for piece in pieces if isinstance(piece, int) and piece != self._separator_id]
        if controls != self._shape(key, generation_prompt):
            raise ValueError(
                f"the chat template of {self.name} writes different turns around this text than around other texts"
            )
        plain = str.maketrans({stand_in: edge for edge, stand_in in stand_ins.items()})
        plan, around = _Plan([], []), iter(spaces)
        for piece in pieces:
            plan.controls.append(piece if isinstance(piece, int) else None)
            if isinstance(piece, str):
                parts = re.split(f"[{opening}{closing}]", piece.translate(plain))
                plan.stretches.append(_with_spans(parts, around))
        return plan

    def _cut(self, text: str) -> list[int | str]:
        """Split a rendered text into control ids and texts, without white space that a control token swallows."""
        pieces: list[int | str] = []
        end, strip_left = 0, False
        for match in [*self._split.finditer(text), None]:
            control: Control | None = self._control[match.group()] if match else None
            stretch = text[end : match.start() if match else len(text)]
            stretch = stretch.lstrip() if strip_left else stretch
            stretch = stretch.rstrip() if control and control.lstrip else stretch
            if stretch:
                pieces.append(stretch)
            if match and control:
                pieces.append(control.id)
                end, strip_left = match.end(), control.rstrip
        return pieces

    def _make_shape(self, key: tuple[tuple[str, str | None], ...], generation_prompt: bool) -> list[int]:
        """The control tokens that the template writes for these roles; None means any non-blank content."""
        marked = [Turn(role, _mark(index) if blank is None else blank) for index, (role, blank) in enumerate(key)]
        text = self._text(marked, generation_prompt)
        for index, (role, blank) in enumerate(key):
            if blank is None and text.count(_mark(index)) != 1:
                raise ValueError(
                    f"the chat template of {self.name} does not show message {index} ({role}) exactly once"
                )
        return [piece for piece in self._cut(text) if isinstance(piece, int)]

    def _encode(self, texts: Iterable[str], *, offsets: bool) -> dict[str, _Encoded]:
        """Ids of each text, control tokens read as plain text; `offsets` adds character offsets (slower)."""
        texts = list(texts)
        encode = self._backend.encode_batch if offsets else self._backend.encode_batch_fast
        encodings = encode(texts, add_special_tokens=False) if texts else []
        return {
            text: _Encoded(encoding.ids, encoding.offsets if offsets else [])
            for text, encoding in zip(texts, encodings, strict=True)
        }

    def _join(self, plan: _Plan, encoded: dict[str, _Encoded]) -> Rendered:
        """Ids of the whole conversation and the positions of its scored turns."""
        ids: list[int] = []
        positions: list[int] = []
        stretches = iter(plan.stretches)
        for control in plan.controls:
            if control is not None:
                if control == self._separator_id:
                    positions.append(len(ids))
                ids.append(control)
                continue
            text, labels = next(stretches)
            for span in labels:
                if span not in encoded[text].offsets:
                    return Rendered(
                        [],
                        [],
                        f"the label {text[span[0] : span[1]]!r} is not exactly one token of {self.name} where its "
                        f"template puts it ({text[max(0, span[0] - 20) : span[1] + 20]!r}): choose other reward.labels",
                    )
                positions.append(len(ids) + encoded[text].offsets.index(span) - 1)
            ids.extend(encoded[text].ids)
        return Rendered(ids, positions)

    def _check_bos(self) -> None:
        """Refuse a doubled BOS, unless the template begins every turn with it (ChatML's `<|im_start|>`)."""
        bos = self.tokenizer.bos_token_id
        pair = (("user", None), ("assistant", None))
        one = self._shape(pair, False)
        if bos is None or one.count(bos) < 2:
            return
        try:
            grows = self._shape(pair * 2, False).count(bos) > one.count(bos)
        except ValueError:
            grows = False
        if not grows or self._text([Turn("user", "x")], False).startswith(str(self.tokenizer.bos_token) * 2):
            raise ValueError(f"the chat template of {self.name} writes {self.tokenizer.bos_token} more than once")

    def _check_against_reference(self) -> None:
        """Compare with `apply_chat_template` on awkward text without control tokens."""
        user, said, quoted, last = _PROBE
        pairs = [Turn("user", user), Turn("assistant", said)], [Turn("user", quoted), Turn("assistant", last)]
        thought = [Turn("user", user), Turn("assistant", _THOUGHT + said)]
        self._compare(pairs[0])
        for turns in ([*pairs[0], *pairs[1]], thought, [*thought, *pairs[1]], [Turn("system", quoted), *pairs[0]]):
            try:
                expected = self._reference(turns)
                self._shape(tuple((turn.role, None) for turn in turns), False)
            except Exception:  # the template refuses these roles: only conversations with them will fail
                continue
            self._compare(turns, expected)

    def _reference(self, turns: Sequence[Turn]) -> list[int]:
        messages = [{"role": turn.role, "content": turn.content} for turn in turns]
        return list(self.tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False, **self.options))

    def _compare(self, turns: Sequence[Turn], expected: list[int] | None = None) -> None:
        [rendered] = self.render([turns])
        if rendered.ids != (self._reference(turns) if expected is None else expected):
            raise ValueError(
                f"{self.name} tokenises a turn differently in its place than in the whole conversation: its tokenizer "
                "or chat template is of a kind this renderer does not support"
            )


class _Encoded(NamedTuple):
    ids: list[int]
    offsets: list[tuple[int, int]]


@dataclass(frozen=True)
class _Plan:
    """A conversation before tokenisation: control ids with None for each stretch, and the stretches' label spans."""

    controls: list[int | None]
    stretches: list[tuple[str, tuple[tuple[int, int], ...]]]


def _mark(index: int) -> str:
    """A placeholder for message `index`, in characters of Unicode's private use area."""
    return f"\ue000{index}\ue001"


def _marked(turn: Turn, mark: str) -> str:
    """The content with `mark` at the turn's marks."""
    cuts = [0, *turn.marks, len(turn.content)]
    return mark.join(turn.content[start:end] for start, end in pairwise(cuts)) if turn.marks else turn.content


def _with_spans(parts: Sequence[str], around: Iterator[tuple[str, str]]) -> tuple[str, tuple[tuple[int, int], ...]]:
    """The joined parts, and the spans of the labels, which are every second part.

    `around` is the white space on both sides of each label; it is part of the label if the template has kept it.
    """
    text, labels = "", []
    for place, part in enumerate(parts):
        if place % 2:
            before, after = next(around)
            start = len(text) - (len(before) if text.endswith(before) else 0)
            end = len(text + part) + (len(after) if parts[place + 1].startswith(after) else 0)
            labels.append((start, end))
        text += part
    return text, tuple(labels)
