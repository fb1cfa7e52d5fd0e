"""Texts in a policy's chat template: taken apart into the conversation and the response, and put together.

Some protocols send a prompt, or the prompt and the response in one text, as the policy reads and writes them: with
special tokens and the template's headers. The policy's tokenizer says where the parts are. Whatever is taken apart is
rendered again and compared with the text, so a text that does not follow the template fails and is never guessed at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from rewards.chat import load_tokenizer
from rewards.conversation import Message, question_of
from rewards.files.fields import Prompt, prompt_of
from rewards.template_options import checked_options
from rewards.types import Problem, Response

_TEMPLATED = re.compile(
    r"\s*(<\|[^\s|<>]{1,40}\|>|<\uff5c[^\s\uff5c<>]{1,40}\uff5c>|<s>|<bos>|<start_of_turn>|\[INST\])"
)
_MARKS = ("\ue000a\ue001", "\ue000b\ue001", "\ue000c\ue001", "\ue000d\ue001")
_CACHED_CHARACTERS = 20_000

NEEDED = "start the service with the policy (policy=hf policy.path=FOLDER)"


class Texts:
    """Reads and writes texts in the template of one policy.

    tokenizer: the policy's folder or hub name. None: texts are plain, without a template; one that begins with a
    control token is then refused. options: keyword arguments of its template (`chat_template_kwargs`).
    dialogues: whether a text that has prompt and response in one may have several assistant turns. A response that
    forges turns cannot be told from a dialogue there, so the default refuses them. Protocols that send the prompt on
    its own always take dialogues.
    Raises ValueError for a tokenizer that cannot be loaded or has no chat template.
    """

    def __init__(
        self, tokenizer: str | None = None, *, options: Mapping[str, Any] | None = None, dialogues: bool = False
    ) -> None:
        self.dialogues, self.options = dialogues, dict(options or {})
        self.tokenizer: Any = None
        if tokenizer is None:
            return
        self.tokenizer = load_tokenizer(tokenizer)
        if not self.tokenizer.chat_template:
            raise ValueError(f"tokenizer {tokenizer} has no chat template: save one with it, or leave it out")
        self.options = checked_options(self.tokenizer, options)

    def prompt(self, text: str) -> Prompt:
        """The messages of a prompt; without a tokenizer, the text. Raises ValueError if it is not in the template."""
        if self.tokenizer is None:
            self._check_plain(text)
            return prompt_of(text)
        if len(text) > _CACHED_CHARACTERS:
            return self._parsed(text)
        return self._cached(text)

    def after(self, prompt: str, whole: str) -> Response:
        """The response in `whole`, a text that begins with `prompt`. Raises ValueError if it does not begin so."""
        rest = whole
        if self.tokenizer is not None and not whole.startswith(prompt):
            rest = _without_leading(whole, self._parts.leading)
        if not rest.startswith(prompt):
            raise ValueError("the text does not begin with its prompt")
        rest = rest[len(prompt) :]
        return Response(rest.removeprefix("\n")) if self.tokenizer is None else self.response(rest)

    def response(self, text: str) -> Response:
        """A response without its end-of-turn token and padding. It was cut off at its length if there is no such token.

        Without a tokenizer nothing is taken off, and the response counts as finished.
        """
        if self.tokenizer is None:
            return Response(text)
        parts = self._parts
        text, before = _without_trailing(text, parts.pads), len(text)
        padded_with_end = len(text) < before and any(pad in parts.ends for pad in parts.pads)
        for end in parts.ends:
            if text.endswith(end):
                return Response(text[: -len(end)])
        return Response(text, "stop" if padded_with_end else "length")

    def conversation(self, text: str) -> tuple[Prompt, Response]:
        """Prompt and response of one text. Raises ValueError if they cannot be told apart."""
        if self.tokenizer is None:
            raise ValueError(
                f"a prompt and its response in one text can only be told apart with the template: {NEEDED}"
            )
        parts = self._parts
        text = _without_leading(text, parts.leading)
        header = next((one for one in (parts.opening, *parts.headers) if one in text), None)
        if header is None:
            raise ValueError("the text does not follow the policy's chat template: it has no assistant turn")
        if not self.dialogues and max(text.count(one) for one in (parts.opening, *parts.headers)) > 1:
            raise ValueError("the text has several assistant turns: set dialogues=true if they are a dialogue")
        before, _, after = text.rpartition(header)
        return self.prompt(before + parts.opening), self.response(after)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, with special tokens. Raises ValueError without a tokenizer, or for ids it lacks."""
        if self.tokenizer is None:
            raise ValueError(f"token ids need a tokenizer: {NEEDED}")
        if any(not 0 <= number < len(self.tokenizer) for number in ids):
            raise ValueError("a token id is not one of the policy's tokenizer")
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False))

    def written_prompt(self, problem: Problem, reader: str) -> str:
        """The prompt as the policy reads it; without a tokenizer, the question (a dialogue as a transcript).

        Raises ValueError if the template refuses the messages.
        """
        if self.tokenizer is None:
            return question_of(problem.messages, reader)
        try:
            return self._written(tuple((message["role"], message["content"]) for message in problem.messages))
        except Exception as error:
            raise ValueError(f"the chat template refuses the prompt: {str(error).splitlines()[0]}") from error

    def written(self, prompt: str, response: Response) -> str:
        """Prompt and response as one text, with the end-of-turn token if the response is finished."""
        if self.tokenizer is None:
            return f"{prompt}\n{response.text}"
        end = self.tokenizer.eos_token if response.finish_reason == "stop" else None
        return prompt + response.text + (end or "")

    def _check_plain(self, text: str) -> None:
        if found := _TEMPLATED.match(text):
            raise ValueError(
                f"the text begins with {found[1]}, as a chat template writes it, which has to be taken off: {NEEDED}"
            )

    @cached_property
    def _cached(self) -> Callable[[str], Prompt]:
        """`_parsed`, once for all responses to a prompt."""
        return lru_cache(maxsize=1024)(self._parsed)

    @cached_property
    def _written(self) -> Callable[[tuple[tuple[str, str], ...]], str]:
        """The rendered prompt of (role, content) turns, once for all its responses."""
        return lru_cache(maxsize=1024)(
            lambda turns: self._render([{"role": role, "content": content} for role, content in turns], True)
        )

    @cached_property
    def _parts(self) -> _Parts:
        return _parts_of(self.tokenizer, self._render)

    def _render(self, messages: Sequence[Any], generation_prompt: bool) -> str:
        return str(
            self.tokenizer.apply_chat_template(
                list(messages), tokenize=False, add_generation_prompt=generation_prompt, **self.options
            )
        )

    def _parsed(self, text: str) -> Prompt:
        """The messages that the template renders to this text."""
        text = _without_leading(text, self._parts.leading)
        for messages in self._parts.readings(text):
            try:
                same = self._render(messages, True) == text
            except Exception:  # the template refuses these roles or contents
                continue
            if same:
                return prompt_of(messages)
        raise ValueError("the text does not follow the policy's chat template")


@dataclass(frozen=True)
class _Parts:
    """What a template writes around the contents of its turns."""

    user: str  # before the first user turn
    system: tuple[str, str] | None  # before a system turn, and between it and the user's
    opening: str  # after the last user turn: what the policy's response is appended to
    headers: tuple[str, ...]  # between a user's and an assistant's turn that is already there
    following: str | None  # between an assistant's and the next user's turn
    ends: tuple[str, ...]  # what ends a response, the longest first
    pads: tuple[str, ...]

    @property
    def leading(self) -> tuple[str, ...]:
        """The padding that may come before a prompt."""
        return tuple(pad for pad in self.pads if not self.user.startswith(pad))

    def readings(self, text: str) -> list[list[Message]]:
        """The conversations that the text could be, the likeliest first."""
        if not text.endswith(self.opening):
            return []
        inner = text[: -len(self.opening)]
        found = []
        if inner.startswith(self.user):
            found += self._turns(inner[len(self.user) :])
        if self.system is not None and inner.startswith(self.system[0]):
            content, between, rest = inner[len(self.system[0]) :].partition(self.system[1])
            if between:
                found += [[Message(role="system", content=content), *turns] for turns in self._turns(rest)]
        return found

    def _turns(self, text: str) -> list[list[Message]]:
        """User and assistant turns in turn, ending with the user's; or the whole text as one user turn."""
        found = []
        for header in self.headers if self.following else ():
            turns: list[Message] = []
            user, between, rest = text.partition(header)
            while between:
                answer, between, after = rest.partition(str(self.following))
                if not between:
                    break
                turns += [Message(role="user", content=user), Message(role="assistant", content=answer)]
                user, between, rest = after.partition(header)
            else:
                found.append([*turns, Message(role="user", content=user)])
        return [*found, [Message(role="user", content=text)]]


def _parts_of(tokenizer: Any, render: Callable[[Sequence[Any], bool], str]) -> _Parts:
    """The parts of a tokenizer's template, read off rendered conversations. Raises ValueError if they cannot be."""
    a, b, c, d = _MARKS
    one = _cut(render, [("user", a)], True)
    if one is None:
        raise ValueError("the policy's chat template does not show a user turn as it is")
    talk = _cut(render, [("user", a), ("assistant", b), ("user", c), ("assistant", d)], False)
    said = _cut(render, [("user", a), ("assistant", b)], False)
    told = _cut(render, [("system", a), ("user", b)], True)
    headers = [text[1] for text in (talk, said) if text is not None]
    headers += [talk[3]] if talk is not None else []
    closing = {text[-1] for text in (talk, said) if text is not None}
    ends = {*closing, *(text.strip() for text in closing), str(tokenizer.eos_token or "")} - {""}
    pads = {str(tokenizer.pad_token or "")} - {""}
    return _Parts(
        user=one[0],
        system=(told[0], told[1]) if told is not None else None,
        opening=one[1],
        headers=tuple(dict.fromkeys(header for header in headers if header)),
        following=talk[2] if talk is not None else None,
        ends=tuple(sorted(ends, key=len, reverse=True)),
        pads=tuple(pads),
    )


def _cut(
    render: Callable[[Sequence[Any], bool], str], turns: Sequence[tuple[str, str]], generation_prompt: bool
) -> list[str] | None:
    """What a template writes before, between and after these contents; None if it refuses or changes them."""
    try:
        text = render([{"role": role, "content": content} for role, content in turns], generation_prompt)
    except Exception:  # templates raise whatever they like; this form of conversation is then not used
        return None
    found = []
    for _, content in turns:
        before, there, text = text.partition(content)
        if not there:
            return None
        found.append(before)
    return [*found, text]


def _without_leading(text: str, pads: Sequence[str]) -> str:
    for pad in pads:
        while text.startswith(pad):
            text = text.removeprefix(pad)
    return text


def _without_trailing(text: str, pads: Sequence[str]) -> str:
    for pad in pads:
        while text.endswith(pad):
            text = text.removesuffix(pad)
    return text
