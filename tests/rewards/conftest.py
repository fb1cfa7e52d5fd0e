"""Tiny random checkpoints shared by the reward tests, one for each chat template."""

from __future__ import annotations

import pytest

from tests.tiny import make_llama, make_tokenizer


@pytest.fixture(scope="session", params=["simple", "llama31"])
def checkpoint(request, tmp_path_factory) -> str:
    """A tiny random Llama's folder, once with the simple template and once with Llama-3.1's."""
    return str(make_llama(tmp_path_factory.mktemp(request.param), make_tokenizer(request.param)))


@pytest.fixture(scope="session")
def llama31(tmp_path_factory) -> str:
    """A tiny random Llama's folder with Llama-3.1's template."""
    return str(make_llama(tmp_path_factory.mktemp("llama31"), make_tokenizer("llama31")))
