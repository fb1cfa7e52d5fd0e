"""The policy's folder: what must be in it, its tokenizer, and how a problem becomes prompt tokens."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rewards.model_folder import hint_inside
from rewards.types import Problem

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")


def check_policy(path: str, key: str = "policy.path") -> None:
    """Refuse a model folder that cannot work, in one line that names the key, before any process starts.

    A name of the form `owner/model` that is no folder here is taken for a model on the hub and left to the download.
    Raises FileNotFoundError.
    """
    folder = Path(path)
    if not folder.is_dir():
        if _HUB_NAME.fullmatch(path):
            return
        raise FileNotFoundError(f"{key}: there is no model folder {path}")
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"{key}: {path} has no config.json, so it is no model folder{hint_inside(path)}")
    if not any(file for pattern in _WEIGHTS for file in folder.glob(pattern)):
        raise FileNotFoundError(f"{key}: {path} has no weights (model.safetensors)")
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        raise FileNotFoundError(f"{key}: {path} has no tokenizer (tokenizer.json): save the model's tokenizer there")


def load_tokenizer(path: str) -> Any:
    """The policy's tokenizer, with a padding token. Raises ValueError where it has no chat template.

    Code that comes with a model is never run (`trust_remote_code` stays off).
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
    except Exception as error:
        raise ValueError(f"policy.path: the tokenizer in {path} does not load: {str(error).splitlines()[0]}") from error
    if not tokenizer.chat_template:
        raise ValueError(
            f"policy.path: the tokenizer in {path} has no chat template; put a chat_template.jinja beside it"
        )
    if tokenizer.eos_token_id is None:
        raise ValueError(f"policy.path: the tokenizer in {path} names no end-of-sequence token (eos_token)")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def prompt_ids(tokenizer: Any, problem: Problem) -> tuple[int, ...]:
    """The problem as the policy reads it: its chat template with the assistant's turn opened.

    The template writes the beginning-of-sequence token itself, so none is added. Raises ValueError, naming the
    problem, for an empty prompt and for one that the template refuses.
    """
    if not problem.text.strip():
        raise ValueError(f"problem {problem.id}: the prompt is empty")
    try:
        encoded = tokenizer.apply_chat_template(problem.messages, add_generation_prompt=True, return_dict=True)
    except Exception as error:
        raise ValueError(f"problem {problem.id}: the chat template refuses the prompt: {error}") from error
    return tuple(encoded["input_ids"])


def decode(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of response tokens, special tokens left out, nothing tidied."""
    return str(tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))
