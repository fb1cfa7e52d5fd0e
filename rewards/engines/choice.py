"""Create the runner that a reward model's options select."""

from __future__ import annotations

from rewards.engines.checkpoint import Checkpoint
from rewards.engines.options import ModelOptions
from rewards.engines.runner import Runner


def make_runner(checkpoint: Checkpoint, options: ModelOptions, *, max_tokens: int, ends_only: bool = False) -> Runner:
    """The runner that `options.engine` names; no weights are loaded yet.

    `max_tokens` is the longest sequence. `ends_only` promises that only the last token of each sequence is read, so
    that vLLM may take shared prompts from its prefix cache.
    """
    if options.engine == "vllm":
        if checkpoint.is_internlm2:
            raise ValueError(
                f"engine: vLLM reads the InternLM2 model {checkpoint.path} with remote code only, which is never run: "
                "set engine=transformers"
            )
        from rewards.engines.vllm import VllmRunner  # vLLM takes seconds to import

        return VllmRunner(checkpoint, options, max_tokens=max_tokens, ends_only=ends_only)
    from rewards.engines.transformers import TransformersRunner

    return TransformersRunner(checkpoint, options)
