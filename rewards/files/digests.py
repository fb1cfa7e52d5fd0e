"""Digests of files, to notice that an input, a data set or a model has changed.

A digest is a SHA-256 in hexadecimal. The digest of a model folder covers the content, size and name of every file.
Files are read completely if the folder has at most 2 GB; in a larger folder, a file over 64 MiB is represented by its
size, its first and last MiB (which include the header of a safetensors file) and 64 evenly spaced pieces of 64 KiB.
That detects a model that was trained further, but perhaps not a single changed number.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rewards.types import Problem

WHOLE_BYTES = 2 * 10**9
_LARGE, _EDGE, _PIECE, _PIECES = 64 * 2**20, 2**20, 2**16, 64
_PATH_KEYS = ("model", "tokenizer", "path", "file", "template", "folder", "train", "held_out")


def file_digest(path: Path) -> str:
    """The digest of a file's content, or of a folder (see `folder_digest`)."""
    if path.is_dir():
        return folder_digest(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_digest(folder: Path) -> str:
    """The digest of all files directly in a folder, by name, size and content (see above)."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    whole = sum(path.stat().st_size for path in files) <= WHOLE_BYTES
    sha = hashlib.sha256()
    for path in files:
        content = file_digest(path) if whole or path.stat().st_size <= _LARGE else _sampled(path)
        sha.update(f"{path.name} {path.stat().st_size} {content}\n".encode())
    return sha.hexdigest()


def problems_digest(problems: Iterable[Problem]) -> str:
    """The digest of problems, in order: ids, prompts, answers and metadata."""
    sha = hashlib.sha256()
    for problem in problems:
        content = [problem.id, problem.messages, problem.answer, dict(problem.metadata)]
        sha.update(json.dumps(content, sort_keys=True).encode() + b"\n")
    return sha.hexdigest()


def files_of(node: Any, key: str) -> dict[str, str]:
    """The digest of every file and folder that a configuration node names, by dotted key: models, templates."""
    return {place: file_digest(path) for place, path in _paths(node, key)}


def _paths(node: Any, key: str) -> Iterator[tuple[str, Path]]:
    if isinstance(node, Mapping):
        for name, value in node.items():
            yield from _paths(value, f"{key}.{name}" if key else str(name))
    elif isinstance(node, list | tuple):
        for place, value in enumerate(node):
            yield from _paths(value, f"{key}[{place}]")
    elif isinstance(node, str) and node and ("/" in node or key.rpartition(".")[2].split("[")[0].endswith(_PATH_KEYS)):
        path = Path(node).expanduser()
        try:
            there = path.is_file() or path.is_dir()
        except (OSError, ValueError):  # text that cannot be a path
            return
        if there:
            yield key, path


def _sampled(path: Path) -> str:
    size = path.stat().st_size
    sha = hashlib.sha256()
    with path.open("rb") as file:
        sha.update(file.read(_EDGE))
        for piece in range(_PIECES):
            file.seek(_EDGE + piece * (size - 2 * _EDGE) // _PIECES)
            sha.update(file.read(_PIECE))
        file.seek(size - _EDGE)
        sha.update(file.read(_EDGE))
    return sha.hexdigest()
