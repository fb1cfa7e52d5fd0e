"""Reward models run by transformers: length-sorted right-padded batches, one forward a sequence, the head where needed.

No attention mask is passed: attention is causal and padding stands on the right, so no real token sees it, and sdpa
takes its fast causal path. The language-model head is applied to the two label rows at the scored positions only:
full logits (tokens x vocabulary) are never made.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, cached_file

from rewards.engines.batches import token_batches
from rewards.engines.onednn import use_onednn
from rewards.model_folder import hint_inside

Precision = Literal["fp32", "bf16"]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}

BATCH_TOKENS = {"cpu": 1024, "cuda": 16384}
"""Tokens of one forward pass by default. On a CPU small batches keep activations in cache and in memory that is already
mapped: from 1500 tokens on, page faults cost a 3M-parameter model a third of its time."""


_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")

_logger = logging.getLogger(__name__)


def pick_device(device: str) -> str:
    """`auto` as cuda where this process sees one, else cpu; any other name as it is."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device


def default_batch_tokens(device: str) -> int:
    """`BATCH_TOKENS` of a device as torch names it (`cuda:1`, say)."""
    return BATCH_TOKENS["cpu" if device == "cpu" else "cuda"]


def read_config(path: str, architecture: str = "ForCausalLM") -> PretrainedConfig:
    """The checkpoint's configuration. Raises ValueError unless it names an architecture ending in `architecture`."""
    if not Path(path).is_dir() and not _HUB_NAME.fullmatch(path):
        raise ValueError(f"reward.model {path}: there is no such folder (a hub name is written owner/name)")
    if Path(path).is_dir() and not Path(path, "config.json").is_file():
        raise ValueError(f"reward.model {path}: there is no config.json, so it is no model folder{hint_inside(path)}")
    try:
        config = AutoConfig.from_pretrained(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"reward.model {path}: cannot read its config.json ({_first_line(error)})") from error
    names = config.architectures or []
    if not any(name.endswith(architecture) for name in names):
        raise ValueError(
            f"reward.model {path} is of the wrong kind: its architecture is {', '.join(names) or 'not named'}, "
            f"this reward needs one that ends in {architecture}"
        )
    return config


def tensor_names(path: str) -> frozenset[str] | None:
    """The names of a checkpoint's tensors, None where safetensors on this machine or a hub's index do not tell them."""
    quiet = {"_raise_exceptions_for_missing_entries": False, "_raise_exceptions_for_connection_errors": False}
    try:
        if index := cached_file(path, SAFE_WEIGHTS_INDEX_NAME, **quiet):
            return frozenset(json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"])
        if whole := cached_file(path, SAFE_WEIGHTS_NAME, local_files_only=True, **quiet):
            with safe_open(whole, "pt") as file:
                return frozenset(file.keys())
    except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"reward.model {path}: cannot read its weights ({_first_line(error)})") from error
    return None


def load_model(kind: Any, path: str, dtype: torch.dtype) -> Any:
    """The checkpoint as one of transformers' automatic classes, `kind`, loads it, ready to score, on the CPU.

    Raises ValueError for files that cannot be read, and as `check_loading` does.
    """
    try:
        model, info = kind.from_pretrained(
            path,
            dtype=dtype,
            attn_implementation="sdpa",
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # check_loading refuses them, by name
        )
    except (OSError, SafetensorError) as error:
        raise ValueError(f"reward.model {path}: cannot read its weights ({_first_line(error)})") from error
    check_loading(path, info)
    return model.eval()


def check_loading(path: str, info: dict[str, Any]) -> None:
    """Raise ValueError for tensors that are missing or of another shape; warn of those the model does not use.

    `info` comes from `from_pretrained(..., output_loading_info=True, ignore_mismatched_sizes=True)`.
    """
    missing = sorted(info["missing_keys"])
    if missing:
        raise ValueError(
            f"reward.model {path} lacks {len(missing)} tensors of its architecture "
            f"({_some(missing)}): the checkpoint is incomplete or of another kind"
        )
    mismatched = sorted(name for name, *_ in info["mismatched_keys"])
    if mismatched:
        raise ValueError(
            f"reward.model {path} has {len(mismatched)} tensors of another shape than its config.json says "
            f"({_some(mismatched)}): weights and configuration do not belong together"
        )
    unused = sorted(info["unexpected_keys"])
    if unused:
        _logger.warning("%s has %d tensors this reward does not use (%s)", path, len(unused), _some(unused))


def at_positions(
    decoder: nn.Module,
    sequences: Sequence[Sequence[int]],
    positions: Sequence[Sequence[int]],
    head: Callable[[Tensor], Tensor],
    *,
    batch_tokens: int,
) -> list[Tensor]:
    """What `head` makes of the final hidden states at the given positions, one forward a sequence.

    `decoder` is a transformers model without a head. `head` maps the (R, H) hidden states of one batch to a tensor of R
    rows. Returns for each sequence its rows, in the order of its positions, on the CPU.
    """
    device = next(decoder.parameters()).device
    results: list[Tensor] = [torch.empty(0)] * len(sequences)
    for batch in token_batches([len(sequence) for sequence in sequences], batch_tokens):
        rows = [row for row, index in enumerate(batch) for _ in positions[index]]
        columns = [column for index in batch for column in positions[index]]
        with torch.inference_mode():
            input_ids = nn.utils.rnn.pad_sequence(
                [torch.tensor(sequences[index], dtype=torch.long) for index in batch], batch_first=True
            ).to(device)
            hidden = decoder(input_ids=input_ids, use_cache=False).last_hidden_state
            values = head(hidden[rows, columns]).cpu()
        for index, value in zip(batch, values.split([len(positions[index]) for index in batch]), strict=True):
            results[index] = value
    return results


class TransformersEngine:
    """A causal language model asked for the probability of one label against another at given positions.

    `dtype` is fp32 or bf16; the two logits and their softmax are always float32. `device` is cpu, cuda, or auto: cuda
    where there is one. `batch_tokens` bounds a forward pass, padding included; None takes `BATCH_TOKENS` of the device.
    The weights are loaded at the first call.
    """

    def __init__(
        self, model: str, *, dtype: Precision = "fp32", device: str = "auto", batch_tokens: int | None = None
    ) -> None:
        if dtype not in DTYPES:
            raise ValueError(f"reward.dtype must be one of {', '.join(DTYPES)}, not {dtype!r}")
        if batch_tokens is not None and batch_tokens < 1:
            raise ValueError(f"reward.batch_tokens must be at least 1, not {batch_tokens}")
        config = read_config(model)
        for name, neutral in (("final_logit_softcapping", None), ("logit_scale", 1.0), ("logits_scaling", 1.0)):
            if getattr(config, name, None) not in (None, neutral):
                raise ValueError(f"reward.model {model} transforms its logits ({name}): not supported")
        self.path, self.dtype, self.device = model, DTYPES[dtype], pick_device(device)
        self.batch_tokens = batch_tokens or default_batch_tokens(self.device)
        self._model: Any = None

    def load(self) -> Any:
        """The model, loaded once. Raises ValueError when the checkpoint lacks tensors."""
        if self._model is None:
            self._model = load_model(AutoModelForCausalLM, self.path, self.dtype).to(self.device)
            use_onednn(self._model.base_model)
        return self._model

    def label_probabilities(
        self, sequences: Sequence[Sequence[int]], positions: Sequence[Sequence[int]], label_ids: tuple[int, int]
    ) -> list[list[float]]:
        """P(first label | first or second label) as the token *after* each given position of each sequence."""
        model = self.load()
        head = model.get_output_embeddings()
        weight = head.weight[list(label_ids)].float()
        bias = None if head.bias is None else head.bias[list(label_ids)].float()

        def probability(hidden: Tensor) -> Tensor:
            return nn.functional.linear(hidden.float(), weight, bias).softmax(dim=-1)[:, 0]

        found = at_positions(model.base_model, sequences, positions, probability, batch_tokens=self.batch_tokens)
        return [values.tolist() for values in found]

    def hidden_states_at(self, sequences: Sequence[Sequence[int]], positions: Sequence[Sequence[int]]) -> list[Tensor]:
        """The final hidden states at each sequence's positions: (P, H) float32 tensors on the CPU."""
        decoder = self.load().base_model
        return at_positions(decoder, sequences, positions, Tensor.float, batch_tokens=self.batch_tokens)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
