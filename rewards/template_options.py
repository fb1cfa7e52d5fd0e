"""What a chat template reads besides messages: its options (`enable_thinking`) and the strings it looks for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from jinja2 import Environment, TemplateError, meta, nodes
from transformers import PreTrainedTokenizerBase

_GENERATION = re.compile(r"\{%-?\s*(end)?generation\s*-?%\}")
_GIVEN = frozenset(
    ["messages", "tools", "documents", "add_generation_prompt", "continue_final_message", "tokenize", "chat_template"]
)
_ASKS = frozenset({"defined", "undefined", "default", "d"})
_FUNCTIONS = frozenset({"raise_exception", "strftime_now"})


def checked_options(tokenizer: PreTrainedTokenizerBase, options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Check the options for a tokenizer's chat template and return them as a dictionary.

    Raises ValueError for an option the template does not read (the message lists those it does), and for the messages
    and special tokens, which are not options.
    """
    options = dict(options or {})
    taken = _GIVEN | set(tokenizer.special_tokens_map)
    read = {name for name in template_reads(template_source(tokenizer)) if name not in taken}
    for name in options:
        if name in taken:
            raise ValueError(f"chat_template_kwargs.{name} cannot be set: it is not an option of the template")
        if name not in read:
            near = get_close_matches(name, read, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"it reads {', '.join(sorted(read)) or 'no options'}"
            raise ValueError(
                f"chat_template_kwargs.{name} is not read by the chat template of {tokenizer.name_or_path}: {hint}"
            )
    return options


def template_source(tokenizer: PreTrainedTokenizerBase) -> str:
    """The template that `apply_chat_template` uses. Raises ValueError if there is none."""
    try:
        return str(tokenizer.get_chat_template())
    except ValueError as error:
        raise ValueError(
            f"{tokenizer.name_or_path or 'the tokenizer'} has no chat template: save one with the tokenizer "
            "(tokenizer.chat_template)"
        ) from error


@lru_cache(maxsize=64)
def template_reads(source: str) -> frozenset[str]:
    """The names that a template takes from its caller.

    These are the names it reads but never sets, and those it sets after testing them (`is defined`, `default`). Raises
    ValueError for a template with a syntax error.
    """
    tree = _parsed(source)
    found = meta.find_undeclared_variables(tree) - _FUNCTIONS
    own = {name.name for name in tree.find_all(nodes.Name) if name.ctx == "store"}
    asked: list[nodes.Test | nodes.Filter] = [test for test in tree.find_all(nodes.Test) if test.name in _ASKS]
    asked += [one for one in tree.find_all(nodes.Filter) if one.name in _ASKS]
    return frozenset(found - own | found & {one.node.name for one in asked if isinstance(one.node, nodes.Name)})


@lru_cache(maxsize=64)
def template_literals(source: str) -> frozenset[str]:
    """The string literals in a template's expressions: anything it can compare a content with, split at, or strip."""
    return frozenset(one.value for one in _parsed(source).find_all(nodes.Const) if isinstance(one.value, str))


def _parsed(source: str) -> nodes.Template:
    """Parse a template. Raises ValueError for a syntax error."""
    environment = Environment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    try:
        return environment.parse(_GENERATION.sub("", source))
    except TemplateError as error:
        raise ValueError(f"the chat template is not valid: {error}") from error
