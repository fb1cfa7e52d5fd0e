"""A checkpoint's files: its configuration, the names of its tensors, and single tensors read without a model."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import AutoConfig, PretrainedConfig
from transformers.utils import (
    SAFE_WEIGHTS_INDEX_NAME,
    SAFE_WEIGHTS_NAME,
    WEIGHTS_INDEX_NAME,
    WEIGHTS_NAME,
    cached_file,
)

from rewards.engines import internlm2
from rewards.engines.recognise import fitting_option
from rewards.model_folder import check_model

_QUIET = {"_raise_exceptions_for_missing_entries": False, "_raise_exceptions_for_connection_errors": False}

_logger = logging.getLogger(__name__)


def read_config(path: str, architecture: str = "ForCausalLM") -> PretrainedConfig:
    """The checkpoint's configuration, as a Llama's for InternLM2.

    Raises ValueError unless it names an architecture that ends in `architecture`, and says which reward would fit.
    """
    try:
        check_model(path)
    except FileNotFoundError as error:
        raise ValueError(f"model: {error}") from error
    try:
        raw, _ = PretrainedConfig.get_config_dict(path)
        if raw.get("model_type") == internlm2.MODEL_TYPE:
            config: PretrainedConfig = internlm2.llama_config(raw)
        else:
            config = AutoConfig.from_pretrained(path, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"model {path}: cannot read its config.json ({first_line(error)})") from error
    names = config.architectures or []
    if architecture and not any(name.endswith(architecture) for name in names):
        raise ValueError(
            f"model {path} is of the wrong kind: its architecture is {', '.join(names) or 'not named'}, "
            f"this reward needs one that ends in {architecture}{_fitting(path, config)}"
        )
    return config


class Checkpoint:
    """A model in a folder or on the hub; its tensors are read on request.

    Raises ValueError as `read_config` does. An empty `architecture` takes any, for heads that are known by their
    tensors.
    """

    def __init__(self, path: str, architecture: str = "ForCausalLM") -> None:
        self.path = path
        self.config = read_config(path, architecture)

    def refusal(self, reason: str) -> ValueError:
        """An error that says why the model is refused and, if its family is known, which reward reads it."""
        return ValueError(f"model {self.path}: {reason}{_fitting(self.path, self.config)}")

    @property
    def is_internlm2(self) -> bool:
        """Whether the tensors have InternLM2's names, so that they must be renamed for a Llama."""
        return any(name.startswith("InternLM2") for name in self.config.architectures or [])

    @property
    def hidden_size(self) -> int:
        """Width of the decoder's hidden states."""
        return int(self.config.get_text_config().hidden_size)

    @cached_property
    def names(self) -> frozenset[str] | None:
        """The names of all tensors; None if neither local safetensors nor an index on the hub lists them."""
        if self._index is not None:
            return frozenset(self._index)
        return frozenset(self.shapes) or None

    @cached_property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shapes of the tensors in local safetensors, by name. Nothing is downloaded for this."""
        return _shapes(self.path, self._index)

    def tensor_if_there(self, name: str, shape: Sequence[int]) -> Tensor | None:
        """As `tensor`, but None if the checkpoint has no tensor with this name. May download the file."""
        try:
            return self._read(name, shape, None)
        except (OSError, SafetensorError, RuntimeError, json.JSONDecodeError) as error:
            raise ValueError(f"model {self.path}: cannot read its weights ({first_line(error)})") from error

    def tensor(self, name: str, shape: Sequence[int], rows: Sequence[int] | None = None) -> Tensor:
        """One tensor of this shape, or only these rows of it, on the CPU in the dtype it was saved in.

        Raises ValueError, naming the tensor, if it is missing, has a different shape or cannot be read.
        """
        try:
            found = self._read(name, shape, rows)
        except (OSError, SafetensorError, RuntimeError, json.JSONDecodeError) as error:
            raise ValueError(f"model {self.path}: cannot read its weights ({first_line(error)})") from error
        if found is None:
            raise ValueError(_lacks(self.path, [name]))
        return found

    def llama_tensors(self) -> dict[str, Tensor]:
        """All tensors of an InternLM2 checkpoint, those of its decoder as a Llama's. Raises ValueError as `tensor`."""
        names: Iterable[str] = self.names or ()
        if not names:  # a file that has been downloaded since, or a pickled one
            cached_file(self.path, SAFE_WEIGHTS_NAME, **_QUIET)
            names = _shapes(self.path, self._index) or self._unpickled("")
        tensors = {}
        for name in names:
            found = self._read(name, None, None)
            if found is None:
                raise ValueError(_lacks(self.path, [name]))
            tensors[name] = found
        try:
            return internlm2.llama_tensors(tensors, self.config)
        except ValueError as error:
            raise ValueError(_mismatched(self.path, [str(error)])) from error

    def has(self, name: str) -> bool:
        """Whether there is a tensor with this name."""
        return name in (self.names if self.names is not None else self._unpickled(name))

    @cached_property
    def _index(self) -> dict[str, str] | None:
        """The file of each tensor of a checkpoint in several files."""
        return _weight_map(self.path)

    def _read(self, name: str, shape: Sequence[int] | None, rows: Sequence[int] | None) -> Tensor | None:
        file_name = self._index.get(name, "") if self._index is not None else SAFE_WEIGHTS_NAME
        file = cached_file(self.path, file_name, **_QUIET) if file_name else None
        if file is None or not file_name.endswith(".safetensors"):
            tensor = self._unpickled(name).get(name)
            if tensor is None:
                return None
            self._check_shape(name, tuple(tensor.shape), shape)
            return tensor if rows is None else tensor[list(rows)]
        with safe_open(file, "pt") as opened:
            if name not in opened.keys():  # noqa: SIM118  (safe_open is not a mapping)
                return None
            stored = opened.get_slice(name)
            self._check_shape(name, tuple(stored.get_shape()), shape)
            return opened.get_tensor(name) if rows is None else torch.cat([stored[row : row + 1] for row in rows])

    def _unpickled(self, name: str) -> dict[str, Tensor]:
        """All tensors of the file that contains this one, in PyTorch's older format; {} if there is no such file."""
        file_name = (self._index or {}).get(name, WEIGHTS_NAME)
        file = cached_file(self.path, file_name, **_QUIET)
        return {} if file is None else torch.load(file, map_location="cpu", weights_only=True, mmap=True)

    def _check_shape(self, name: str, found: Sequence[int], expected: Sequence[int] | None) -> None:
        if expected is not None and tuple(found) != tuple(expected):
            raise ValueError(_mismatched(self.path, [f"{name}: {tuple(found)} instead of {tuple(expected)}"]))


def _weight_map(path: str) -> dict[str, str] | None:
    """The file of each tensor of a checkpoint in several files. Raises ValueError for an index that cannot be read."""
    try:
        for index_name in (SAFE_WEIGHTS_INDEX_NAME, WEIGHTS_INDEX_NAME):
            if index := cached_file(path, index_name, **_QUIET):
                return dict(json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"])
    except (OSError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"model {path}: cannot read its weights ({first_line(error)})") from error
    return None


def _shapes(path: str, weight_map: Mapping[str, str] | None) -> dict[str, tuple[int, ...]]:
    """The shapes of all tensors in safetensors on this machine. Raises ValueError for a file that cannot be read."""
    found: dict[str, tuple[int, ...]] = {}
    try:
        for name in sorted(set(weight_map.values())) if weight_map is not None else [SAFE_WEIGHTS_NAME]:
            file = cached_file(path, name, local_files_only=True, **_QUIET)
            if file is not None and name.endswith(".safetensors"):
                with safe_open(file, "pt") as opened:
                    found |= {key: tuple(opened.get_slice(key).get_shape()) for key in opened.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ValueError(f"model {path}: cannot read its weights ({first_line(error)})") from error
    return found


def _fitting(path: str, config: PretrainedConfig) -> str:
    """Which reward fits the model, for the end of a message; an empty text if that cannot be said."""
    try:
        weight_map = _weight_map(path)
        shapes = _shapes(path, weight_map)
    except ValueError:
        weight_map, shapes = None, {}
    return fitting_option(config, weight_map if weight_map is not None else shapes, shapes)


def check_loading(path: str, info: dict[str, Any], used: Iterable[str] = ()) -> None:
    """Raise ValueError for tensors that are missing or have the wrong shape; warn about those that nothing uses.

    `info` comes from `from_pretrained(..., output_loading_info=True, ignore_mismatched_sizes=True)`. `used` are
    prefixes of the names of tensors that a head reads itself.
    """
    if missing := sorted(info["missing_keys"]):
        raise ValueError(_lacks(path, missing))
    if mismatched := sorted(name for name, *_ in info["mismatched_keys"]):
        raise ValueError(_mismatched(path, mismatched))
    unused = sorted(name for name in info["unexpected_keys"] if not name.startswith(tuple(used)))
    if unused:
        _logger.warning("%s has %d tensors this reward does not use (%s)", path, len(unused), _some(unused))


def _lacks(path: str, names: Sequence[str]) -> str:
    return (
        f"model {path} lacks {len(names)} tensors of its architecture ({_some(names)}): the checkpoint is "
        "incomplete or of another kind"
    )


def _mismatched(path: str, names: Sequence[str]) -> str:
    return (
        f"model {path} has {len(names)} tensors of another shape than its config.json says ({_some(names)}): "
        "weights and configuration do not belong together"
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def first_line(error: Exception) -> str:
    """The first line of an error's text."""
    return str(error).strip().split("\n")[0]
