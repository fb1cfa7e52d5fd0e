"""A random ArmoRM of a few thousand parameters in the published layout, and the published procedure done naively."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, LlamaConfig, LlamaModel

from rewards.engines.armorm_model import OBJECTIVES, ArmoRewardModel, armorm_config, save_armorm
from tests.tiny import make_tokenizer


def make_armorm(folder: str | Path, kind="llama31", names=OBJECTIVES, seed=0, max_positions=512, hidden=32) -> str:
    """Save a random tiny ArmoRM (float32) in `folder`; vLLM's CPU attention wants `hidden` >= 128."""
    tokenizer = make_tokenizer(kind)
    decoder = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=max_positions,
        initializer_range=1.7 / hidden**0.5,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    config = armorm_config(decoder, names, gating_hidden_dim=24)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = ArmoRewardModel(config).to(torch.float32)
        with torch.no_grad():
            for parameter in model.gating.parameters():
                parameter.normal_(std=0.7)
            model.gating.logit_scale.fill_(1.3)
            transform = torch.eye(len(names))
            transform[min(4, len(names) - 1)] -= torch.rand(len(names))
            model.reward_transform_matrix.copy_(transform)
    return str(save_armorm(model, tokenizer, folder))


def naive_armorm(folder: str, messages: list[dict[str, str]]) -> dict[str, torch.Tensor]:
    """The published procedure on one conversation, from the raw tensors: no shared code with the implementation."""
    config = json.loads((Path(folder) / "config.json").read_text())
    tensors = load_file(str(Path(folder) / "model.safetensors"))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    decoder = LlamaModel(LlamaConfig.from_pretrained(folder)).to(torch.float32).eval()
    decoder.load_state_dict({name[6:]: tensor for name, tensor in tensors.items() if name.startswith("model.")})
    ids = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
    text = "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
    pattern = tokenizer(text, add_special_tokens=False)["input_ids"]
    starts = [start for start in range(len(ids)) if ids[start : start + len(pattern)] == pattern]
    with torch.no_grad():
        hidden = decoder(input_ids=torch.tensor([ids])).last_hidden_state[0]
        rewards = tensors["regression_layer.weight"] @ hidden[-1]
        x = hidden[starts[-1]]
        layers = config["gating_n_hidden"] + 1
        for layer in range(layers):
            x = tensors[f"gating.layers.{layer}.weight"] @ x + tensors[f"gating.layers.{layer}.bias"]
            if layer < layers - 1:
                x = x.clamp(min=0)
        gate = torch.softmax(x / config["gating_temperature"], dim=0) * tensors["gating.logit_scale"]
        score = (gate * (rewards @ tensors["reward_transform_matrix"])).sum()
    return {"score": score, "rewards": rewards, "gate": gate}
