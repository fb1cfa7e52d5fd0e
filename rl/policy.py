"""Check the policy's folder, load its tokenizer, and turn problems into prompt tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from rewards.chat import ChatTemplate, Turn
from rewards.control_tokens import THOUGHT_TAG
from rewards.model_folder import check_model
from rewards.types import Problem


def check_policy(path: str, key: str = "policy.path") -> None:
    """Raise FileNotFoundError, with a one-line message that names the key, for an unusable model folder.

    A name of the form `owner/model` without a local folder is taken for a hub model, to be downloaded later.
    """
    try:
        check_model(path, complete=True)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{key}: {error}") from None


def load_tokenizer(path: str, options: Mapping[str, Any] | None = None) -> Any:
    """Load the policy's tokenizer, with a padding token and its chat template's options (used by `prompt_ids`).

    Raises ValueError if it has no chat template, or one that cannot be rendered exactly (`rewards.chat.ChatTemplate`),
    or if the template does not read an option of `policy.chat_template_kwargs`. Code that comes with a model is never
    run (`trust_remote_code` stays off).
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
    except Exception as error:
        raise ValueError(f"policy.path: the tokenizer in {path} does not load: {str(error).splitlines()[0]}") from error
    if not tokenizer.chat_template:
        raise ValueError(
            f"policy.path: the tokenizer in {path} has no chat template; put a chat_template.jinja next to it"
        )
    if tokenizer.eos_token_id is None:
        raise ValueError(f"policy.path: the tokenizer in {path} names no end-of-sequence token (eos_token)")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.chat_template_kwargs = dict(options or {})
    try:
        prompt_template(tokenizer)
    except ValueError as error:
        separator = "." if str(error).startswith("chat_template_kwargs") else ".path: "
        raise ValueError(f"policy{separator}{error}") from error
    return tokenizer


def prompt_template(tokenizer: Any) -> ChatTemplate:
    """The chat template that a tokenizer's prompts are rendered with. Raises ValueError as `ChatTemplate` does."""
    options = getattr(tokenizer, "chat_template_kwargs", {})
    return _template(tokenizer, str(tokenizer.chat_template), repr(options))


@lru_cache(maxsize=8)
def _template(tokenizer: Any, template: str, options: str) -> ChatTemplate:
    """Cached: built once per tokenizer, template and options."""
    return ChatTemplate(tokenizer, getattr(tokenizer, "chat_template_kwargs", {}))


def prompt_ids(tokenizer: Any, problem: Problem) -> tuple[int, ...]:
    """The problem's prompt tokens: the chat template up to the start of the assistant's turn.

    The template writes the beginning-of-sequence token itself, so none is added. A control token in a message is read
    as text, as in the reward models, so that no row can end its turn and open another. Raises ValueError, naming the
    problem, if the prompt is empty or the template refuses it.
    """
    if not problem.text.strip():
        raise ValueError(f"problem {problem.id}: the prompt is empty")
    turns = [Turn(message["role"], message["content"]) for message in problem.messages]
    [rendered] = prompt_template(tokenizer).render_each([turns], generation_prompt=True)
    if rendered.failure is not None:
        raise ValueError(f"problem {problem.id}: {rendered.failure}")
    return tuple(rendered.ids)


def prompt_lengths(tokenizer: Any, problems: Sequence[Problem]) -> list[int | str]:
    """The number of tokens of each prompt as in `prompt_ids`, or the reason it cannot be rendered. One batched call."""
    dialogues = [[Turn(turn["role"], turn["content"]) for turn in problem.messages] for problem in problems]
    rendered = prompt_template(tokenizer).render_each(dialogues, generation_prompt=True)
    return [len(one.ids) if one.failure is None else one.failure for one in rendered]


def decode(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of response tokens, without special tokens except thought tags, and without any cleanup.

    Some tokenizers mark `<think>` as special; without the tags, a thought would be indistinguishable from the answer.
    """
    if dropped := _special_but_thoughts(tokenizer):
        ids = [token for token in ids if token not in dropped]
    return str(tokenizer.decode(list(ids), skip_special_tokens=not dropped, clean_up_tokenization_spaces=False))


@lru_cache(maxsize=8)
def _special_but_thoughts(tokenizer: Any) -> frozenset[int]:
    """All special tokens except thought tags; empty if no tag is special, as in most tokenizers."""
    special = frozenset(tokenizer.all_special_ids)
    thoughts = {index for index in special if THOUGHT_TAG.fullmatch(tokenizer.convert_ids_to_tokens(index))}
    return special - thoughts if thoughts else frozenset()
