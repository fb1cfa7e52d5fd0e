"""OpenRLHF's Actor: loading it in any precision, and the log-probabilities of sampled tokens."""

from __future__ import annotations

from rl.learner.strategy import DeviceStrategy  # isort: skip  # imports OpenRLHF in the right order

import torch
from openrlhf.models import Actor
from openrlhf.models.actor import _patch_zero3_weight_mapping
from openrlhf.models.utils import set_z3_leaf_modules
from torch import Tensor
from torch.nn.functional import pad
from transformers import AutoModelForCausalLM
from transformers.integrations.deepspeed import HfDeepSpeedConfig
from transformers.utils import is_flash_attn_2_available

from rl.settings import PolicySettings
from rl.types import TrainBatch


def load_actor(policy: PolicySettings, strategy: DeviceStrategy, temperature: float) -> Actor:
    """OpenRLHF's Actor round the model in `policy.path`, its weights partitioned at once under ZeRO-3.

    The model is made here rather than by Actor, which knows no fp32 and trusts code from the model's folder.
    """
    cuda = strategy.device == "cuda"
    partitioned = strategy.stage == 3
    if partitioned:
        _patch_zero3_weight_mapping()
    # Transformers looks for this object, held only weakly, while it loads.
    held = HfDeepSpeedConfig(strategy.get_ds_train_config()) if partitioned else None
    model = AutoModelForCausalLM.from_pretrained(
        policy.path,
        dtype=torch.float32 if policy.dtype == "fp32" else torch.bfloat16,
        attn_implementation="flash_attention_2"
        if cuda and policy.dtype == "bf16" and is_flash_attn_2_available()
        else "sdpa",
    )
    del held
    set_z3_leaf_modules(model, detect_hybrid=False)
    if cuda and not partitioned:
        model.to("cuda")
    actor = Actor(model, temperature=temperature)
    actor.packing_samples = False
    actor.is_vlm = False
    return actor


def token_logprobs(actor: Actor, rows: TrainBatch) -> Tensor:
    """Token-aligned log-probabilities (b, l) at the actor's temperature, float32, 0 outside the response.

    Rows are right-padded and attention is causal, so padding never reaches a real token: no attention mask is needed
    and the fast attention kernels stay in use. Actor returns column t for token t + 1; one column of zeros in front
    aligns them with the tokens themselves.
    """
    values = actor(
        rows.input_ids,
        action_mask=rows.response_mask[:, 1:],
        attention_mask=torch.ones_like(rows.input_ids),
        use_cache=False,
    )
    return pad(values, (1, 0))
