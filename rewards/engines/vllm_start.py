"""Start a vLLM engine for a reward in this process, on a GPU or on a CPU."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from rewards.engines.options import Precision

VLLM_DTYPES = {"fp32": "float32", "bf16": "bfloat16"}

CPU_ENVIRONMENT = {
    # Without the first, inductor compiles sampler functions for half a minute; without the second, vLLM takes a share
    # of all memory for its KV cache (in GiB).
    "TORCHDYNAMO_DISABLE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "CUDA_VISIBLE_DEVICES": "",
}


def start_llm(model: str, *, dtype: Precision, max_model_len: int, gpu_memory: float, **options: Any) -> Any:
    """A `vllm.LLM` for the checkpoint in folder `model`.

    `max_model_len` is in tokens; `gpu_memory` is the share of the GPU's memory, unused on a CPU; `options` go to
    `vllm.LLM`. Environment variables that are already set are not changed. If the engine does not start, raises
    ValueError in one line that says what to change.
    """
    # One process is enough: the reward's Ray actor already is a separate one.
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    if Path(model).is_dir():
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    if torch.cuda.is_available():
        options["gpu_memory_utilization"] = gpu_memory
    else:
        for name, value in CPU_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        options["enforce_eager"] = True
    from vllm import LLM  # after the environment is set, and it takes seconds to import

    try:
        return LLM(
            model=model, dtype=VLLM_DTYPES[dtype], max_model_len=max_model_len, disable_log_stats=True, **options
        )
    except Exception as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        memory = "memory" in str(error).lower() or "kv cache" in str(error).lower()
        advice = "give it more memory or a shorter context; " if memory else ""
        raise ValueError(f"reward: the vLLM engine for {model} did not start: {advice}{reason}") from error
