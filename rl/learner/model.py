"""Load OpenRLHF's Actor in any precision, and compute the log-probabilities of sampled tokens with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from rl.learner.strategy import DeviceStrategy  # isort: skip  # imports OpenRLHF in the right order

import torch
from openrlhf.models import Actor
from openrlhf.models.actor import _patch_zero3_weight_mapping
from openrlhf.models.utils import set_z3_leaf_modules
from torch import Tensor, nn
from torch.nn.functional import pad
from transformers import AutoModelForCausalLM
from transformers.integrations.deepspeed import HfDeepSpeedConfig
from transformers.utils import is_flash_attn_2_available

from rl.learner.attention import SHARED_PROMPTS
from rl.learner.batching import Micro
from rl.learner.forward import read_logprobs, reads_packed_rows
from rl.learner.packing import packed
from rl.settings import PolicySettings
from rl.truncation import Truncation
from rl.types import TrainBatch

_POSITIONS = 1024
"""How many positions' logits are sorted at once."""


def load_actor(policy: PolicySettings, strategy: DeviceStrategy) -> Actor:
    """OpenRLHF's Actor around the model in `policy.path`. Under ZeRO-3 the weights are partitioned while loading.

    Actor itself does not load the model, because it does not support fp32 and runs code from the model's folder.
    """
    with loading(policy, strategy) as options:
        model = AutoModelForCausalLM.from_pretrained(policy.path, **options)
    place_on_device(model, strategy)
    reads_packed_rows(model, read_logprobs)
    return as_actor(model)


def as_actor(model: nn.Module) -> Actor:
    """OpenRLHF's Actor around a model that is already loaded."""
    actor = Actor(model)
    actor.packing_samples = False
    actor.is_vlm = False
    actor.shares_prompts = False
    return actor


@contextmanager
def loading(policy: PolicySettings, strategy: DeviceStrategy) -> Iterator[dict[str, Any]]:
    """A context for `from_pretrained` that partitions weights under ZeRO-3; yields keyword arguments for the call."""
    partitioned = strategy.stage == 3
    if partitioned:
        _patch_zero3_weight_mapping()
    # Transformers looks for this object while it loads, but keeps only a weak reference to it.
    held = HfDeepSpeedConfig(strategy.get_ds_train_config()) if partitioned else None
    flash = strategy.device == "cuda" and policy.dtype == "bf16" and is_flash_attn_2_available()
    yield {
        "dtype": torch.float32 if policy.dtype == "fp32" else torch.bfloat16,
        "attn_implementation": "flash_attention_2" if flash else SHARED_PROMPTS,
    }
    del held


def place_on_device(model: nn.Module, strategy: DeviceStrategy) -> None:
    """Move a loaded model to its device and prepare it for DeepSpeed."""
    set_z3_leaf_modules(model, detect_hybrid=False)
    if strategy.device == "cuda" and strategy.stage != 3:
        model.to("cuda")


def token_logprobs(actor: Actor, rows: TrainBatch, temperature: float) -> Tensor:
    """Token-aligned log-probabilities at this temperature, (b, l) float32, 0 outside the response.

    An actor that shares prompts reads packed rows. Otherwise rows are right-padded. Attention is causal, so padding
    never affects a real token. No attention mask is needed, and the fast attention kernels remain available. Actor's
    column t belongs to token t + 1; a column of zeros in front aligns the columns with the tokens.
    """
    if actor.shares_prompts:
        together = packed(rows)
        return together.spread(actor.model(packed_rows=together, temperature=temperature))
    actor.temperature = temperature
    values = actor(
        rows.input_ids,
        action_mask=rows.response_mask[:, 1:],
        attention_mask=torch.ones_like(rows.input_ids),
        use_cache=False,
    )
    return pad(values, (1, 0))


def token_logprobs_with_kept(
    actor: Actor, rows: TrainBatch, temperature: float, truncation: Truncation
) -> tuple[Tensor, Tensor]:
    """The result of `token_logprobs`, and in the same form the log of the total probability of the kept tokens.

    Kept tokens are those that truncated sampling may draw at that position. Both come from one forward pass, with this
    policy at this temperature.
    """
    actor.temperature = temperature
    values, output = actor(
        rows.input_ids,
        action_mask=rows.response_mask[:, 1:],
        attention_mask=torch.ones_like(rows.input_ids),
        return_output=True,
        use_cache=False,
    )
    wanted = rows.response_mask[:, 1:]
    parts = [truncation.log_kept(part) for part in output["logits"][:, :-1][wanted].split(_POSITIONS)]
    kept = torch.zeros_like(values)
    kept[wanted] = torch.cat(parts)
    return pad(values, (1, 0)), pad(kept, (1, 0))


def rows_on(device: str, batch: TrainBatch, rows: Micro) -> TrainBatch:
    """These rows on the device. If none, the shortest row with its response masked, to keep the ranks in lockstep."""
    if rows:
        chosen = batch.select(rows)
    else:
        chosen = batch.select([int(batch.attention_mask.sum(dim=1).argmin())])
        chosen.response_mask = torch.zeros_like(chosen.response_mask)
    return replace(chosen, **{name: value.to(device) for name, value in vars(chosen).items() if value is not None})
