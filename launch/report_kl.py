"""How far a run's policy has moved from its start: the column `KL from the start` of `launch.report --kl`.

The KL that a run logs depends on its algorithm: to a frozen reference, to one refreshed at each iteration, or none.
Here it is measured after the run, in the same way for all: the trained policy answers held-out problems at temperature
1, and KL(trained || start) at every token is summed over the whole vocabulary, which varies far less than an estimate
from the sampled token alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor

from rewards.builder import build
from rl.policy import load_tokenizer, prompt_ids

SEED = 1


def kl_from_start(folder: Path, problems: int = 100, tokens: int = 128) -> float:
    """Mean KL(trained || start) in nats per token of the run in `folder`, on its own answers to held-out problems.

    Raises OSError or ValueError if the run's configuration or one of the two policies is missing.
    """
    from transformers import AutoModelForCausalLM

    config: Any = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
    start, trained = config["policy"]["path"], str(folder / "policy")
    tokenizer = load_tokenizer(trained, config["policy"].get("chat_template_kwargs"))
    prompts = [prompt_ids(tokenizer, one) for one in build(config["task"], "task").held_out_problems(problems)]
    models = (
        AutoModelForCausalLM.from_pretrained(trained, dtype=torch.float32).eval(),
        AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32).eval(),
    )
    torch.manual_seed(SEED)
    return float(divergences(*models, prompts, tokenizer, tokens).mean())


@torch.inference_mode()
def divergences(trained: Any, start: Any, prompts: Sequence[Sequence[int]], tokenizer: Any, tokens: int) -> Tensor:
    """KL(trained || start) in nats (T,) at each of the T tokens that `trained` writes after these prompts."""
    inputs = tokenizer.pad(
        {"input_ids": [list(ids) for ids in prompts]}, padding=True, padding_side="left", return_tensors="pt"
    )
    width = inputs["input_ids"].shape[1]
    written = trained.generate(
        **inputs, do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=tokens,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    counted = written_tokens(written[:, width:], tokenizer.eos_token_id)
    mask = torch.cat([inputs["attention_mask"], counted.long()], dim=1)
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    ours, theirs = (
        model(input_ids=written, attention_mask=mask, position_ids=positions).logits[:, width - 1 : -1].log_softmax(-1)
        for model in (trained, start)
    )
    return (ours.exp() * (ours - theirs)).sum(dim=-1)[counted]


def written_tokens(ids: Tensor, end: int) -> Tensor:
    """Mask (B, L): True for the tokens of a response up to and including its first `end`."""
    ended = (ids == end).long()
    return (ended.cumsum(dim=1) - ended) == 0
