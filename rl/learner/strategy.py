"""OpenRLHF's DeepSpeed strategy on any device, in fp32 as well as bf16.

Differences from the original: without CUDA, gloo and a CPU mesh; on a CPU, torch's AdamW, because compiling DeepSpeed's
takes minutes; under ZeRO 2 and 3, bf16 gradients are accumulated in fp32; the caller says which micro-batch is last.
"""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import rl.learner.openrlhf_cpu  # isort: skip  # noqa: F401  # must come before OpenRLHF

import deepspeed
import torch
import transformers
from openrlhf.utils.deepspeed import DeepspeedStrategy
from torch import Tensor
from torch import distributed as dist
from torch.distributed.device_mesh import init_device_mesh

from rl.learner.openrlhf_cpu import use_plain_barrier
from rl.settings import LearnerSettings, Precision


class DeviceStrategy(DeepspeedStrategy):
    """DeepSpeed through OpenRLHF with `device` "cpu" or "cuda", `dtype` "fp32" or "bf16", and ZeRO stage 0, 2 or 3."""

    def __init__(self, settings: LearnerSettings, dtype: Precision, device: str, seed: int) -> None:
        arguments = SimpleNamespace(
            local_rank=0,  # Ray shows each actor only its own GPU
            ds=SimpleNamespace(
                param_dtype=dtype,
                zero_stage=settings.zero_stage,
                tensor_parallel_size=1,
                # Without ZeRO, DeepSpeed can accumulate bf16 gradients only in bf16.
                grad_accum_dtype=None if settings.zero_stage == 0 else "fp32",
            ),
            # The learner makes its own micro-batches: DeepSpeed must not count them or scale by their number.
            train=SimpleNamespace(dynamic_batch_enable=True),
        )
        super().__init__(
            seed=seed,
            max_norm=settings.max_grad_norm,
            train_batch_size=settings.ranks,
            zero_stage=settings.zero_stage,
            args=arguments,
        )
        self.device = device
        self.settings = settings

    def setup_distributed(self, timeout: timedelta = timedelta(minutes=60)) -> None:
        """Join the other ranks; the environment has MASTER_ADDR, MASTER_PORT, RANK and WORLD_SIZE."""
        if self.device == "cuda":
            super().setup_distributed(timeout)
            return
        transformers.set_seed(self.seed)
        deepspeed.init_distributed(dist_backend="gloo", timeout=timeout, verbose=False)
        use_plain_barrier()
        self.world_size = dist.get_world_size()
        self.ds_device_mesh = init_device_mesh("cpu", (self.world_size, 1, 1), mesh_dim_names=("dp", "sp", "tp"))
        self.setup_ring_attn(self.ds_device_mesh)
        self.accumulated_gradient = 1

    def get_ds_train_config(self, optim_dict: dict | None = None, *, max_norm: float | None = None) -> dict[str, Any]:
        """DeepSpeed's configuration for training or, without an optimizer, for loading a model under ZeRO-3."""
        config = super().get_ds_train_config(optim_dict, max_norm=max_norm)
        if optim_dict is not None and self.device == "cpu":
            config["optimizer"]["params"]["torch_adam"] = True
        return self._gathered_in_order(config)

    def get_ds_eval_config(self, offload: bool = False) -> dict[str, Any]:
        """DeepSpeed's configuration for a frozen model."""
        return self._gathered_in_order(super().get_ds_eval_config(offload))

    def train_config(self, learning_rate: float, steps: int) -> dict[str, Any]:
        """The argument of `prepare` for training a model for `steps` optimizer steps.

        AdamW. The learning rate rises linearly from zero during the warm-up, then stays constant or decays to zero
        along a cosine.
        """
        settings = self.settings
        warmup = settings.warmup_updates
        cosine = settings.lr_schedule == "cosine"
        return {
            "optim": "adam",
            "adam": {"lr": learning_rate, "betas": settings.betas, "eps": 1e-8, "weight_decay": settings.weight_decay},
            "lr_scheduler": "cosine" if cosine else "constant_with_warmup",
            "scheduler_steps": max(1, steps),
            # OpenRLHF rounds steps x ratio up; half a step less makes the warm-up exactly this long.
            "lr_warmup_ratio": max(0.0, warmup - 0.5) / max(1, steps),
            "max_norm": settings.max_grad_norm,
        }

    def _gathered_in_order(self, config: dict[str, Any]) -> dict[str, Any]:
        """Make ZeRO-3 gather one weight at a time on a CPU, because gloo does not keep gathers in order.

        DeepSpeed gathers several weights at once and waits only for the last one. On a CUDA stream, that means all of
        them have arrived. Gloo's threads finish in any order, so under load weights were read before they had arrived.
        """
        if self.device == "cpu":
            config["zero_optimization"]["stage3_allgather_sequential"] = True
        return config

    def _get_model_parameters(self, model: Any, *, optim: str | None = None, weight_decay: float = 0.0) -> Any:
        """OpenRLHF's parameter groups without empty ones: with LoRA, no norm weights are trained."""
        raw_model, groups = super()._get_model_parameters(model, optim=optim, weight_decay=weight_decay)
        return raw_model, [group for group in groups if group["params"]]

    def sum_over_ranks(self, values: list[float]) -> list[float]:
        """The element-wise sum over all ranks, in float64."""
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor)
        return [float(value) for value in tensor]

    def sum_tensor(self, values: Tensor) -> Tensor:
        """The element-wise sum of every rank's tensor of this shape, on the CPU."""
        shared = values.to(self.device)
        dist.all_reduce(shared)
        return shared.cpu()

    def max_over_ranks(self, value: float) -> float:
        """The largest of all ranks' values."""
        tensor = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
        return float(tensor)
