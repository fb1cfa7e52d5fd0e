"""Makes OpenRLHF and DeepSpeed importable, and quick to start, on a machine without CUDA. Import it before them.

It leaves an installed flash-attn alone. On a CPU it changes three things:

- OpenRLHF imports flash-attn's padding functions, although it needs them only for packed samples. flash-attn cannot be
  built without CUDA, so a replacement with the same functions is registered.
- DeepSpeed compiles a shared-memory communication library when it starts (45 to 96 s if not cached). Gloo does not need
  it.
- OpenRLHF's barrier also waits for CUDA (`torch_dist_barrier_and_cuda_sync`): see `use_plain_barrier`.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import torch
from torch import Tensor


def index_first_axis(values: Tensor, indices: Tensor) -> Tensor:
    """Rows `indices` of `values` (N, ...)."""
    return values[indices]


def unpad_input(values: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor, Tensor, int, Tensor]:
    """Remove padding: (B, L, ...) -> (tokens, ...), indices, cumulative lengths, longest length, lengths (B,)."""
    lengths = attention_mask.sum(dim=-1, dtype=torch.int32)
    indices = torch.nonzero(attention_mask.flatten(), as_tuple=False).flatten()
    cumulative = torch.nn.functional.pad(torch.cumsum(lengths, dim=0, dtype=torch.int32), (1, 0))
    return values.flatten(0, 1)[indices], indices, cumulative, int(lengths.max()), lengths


def pad_input(values: Tensor, indices: Tensor, batch: int, length: int) -> Tensor:
    """Undo `unpad_input`: (tokens, ...) -> (batch, length, ...), with zeros as padding."""
    padded = values.new_zeros(batch * length, *values.shape[1:])
    padded[indices] = values
    return padded.unflatten(0, (batch, length))


def all_gather(values: Tensor, process_group: Any = None) -> Tensor:
    """Concatenate every rank's `values` along the first axis."""
    world = torch.distributed.get_world_size(process_group)
    gathered = [torch.empty_like(values) for _ in range(world)]
    torch.distributed.all_gather(gathered, values, group=process_group)
    return torch.cat(gathered)


def register_flash_attn() -> None:
    """Put the replacement into `sys.modules`, unless flash-attn itself can be imported."""
    if "flash_attn" in sys.modules or importlib.util.find_spec("flash_attn") is not None:
        return
    from einops import rearrange

    contents: dict[str, dict[str, Any]] = {
        "flash_attn": {},
        "flash_attn.bert_padding": {
            "index_first_axis": index_first_axis,
            "pad_input": pad_input,
            "unpad_input": unpad_input,
            "rearrange": rearrange,
        },
        "flash_attn.utils": {},
        "flash_attn.utils.distributed": {"all_gather": all_gather},
    }
    for name, members in contents.items():
        module = ModuleType(name)
        module.__spec__ = ModuleSpec(name, loader=None, is_package=True)
        module.__path__ = []
        for member, value in members.items():
            setattr(module, member, value)
        sys.modules[name] = module


def skip_shared_memory_build() -> None:
    """Keep DeepSpeed from compiling `deepspeed_shm_comm` on a machine without CUDA."""
    import deepspeed.ops

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def use_plain_barrier() -> None:
    """Make OpenRLHF's strategy, which must be imported, wait for the other ranks without calling CUDA."""
    import openrlhf.utils.deepspeed.deepspeed as strategy

    strategy.torch_dist_barrier_and_cuda_sync = torch.distributed.barrier


if not torch.cuda.is_available():
    register_flash_attn()
    skip_shared_memory_build()
