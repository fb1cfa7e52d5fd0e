"""A tiny InternLM2 reward model in the published layout, and its decoder written out from arXiv 2403.17297.

The tokenizer is a SentencePiece model, as the published repositories have it, whose own class is remote code.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from safetensors.torch import save_file
from torch import Tensor

HIDDEN, INNER, LAYERS, HEADS, GROUPS = 128, 96, 2, 4, 2
REWARD, POLAR_SEPARATOR = "[UNUSED_TOKEN_130]", "<|reward|>"
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_TEXT = """Tom buys 3 bags of 4 apples and then finds 5 apples. How many apples are there?
Step 1: 3 * 4 = 12 apples. Step 2: 12 + 5 - 4 = 13 apples. The answer is: 13, 250 or 96, 7 or 8. user assistant system
the words of the response and the questions in it"""


@cache
def sentencepiece_model() -> bytes:
    made = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(_TEXT.splitlines() * 3), model_writer=made, vocab_size=400, model_type="bpe",
        byte_fallback=True, unk_id=0, bos_id=1, eos_id=2, pad_id=-1, add_dummy_prefix=False, split_digits=True,
        remove_extra_whitespaces=False, normalization_rule_name="identity", allow_whitespace_only_pieces=True,
        control_symbols=[REWARD], hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    return made.getvalue()


def make_internlm2(folder: Path) -> Path:
    """Save config.json, tensors and tokenizer as the published repositories have them."""
    pieces = sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model())
    size = pieces.get_piece_size()
    (folder / "tokenizer.model").write_bytes(sentencepiece_model())
    added = {0: "<unk>", 1: "<s>", 2: "</s>", size: "<|im_end|>", size + 1: "<|im_start|>", size + 2: POLAR_SEPARATOR}
    flags = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False, "special": True}
    tokenizer = {
        "tokenizer_class": "InternLM2Tokenizer",
        "auto_map": {"AutoTokenizer": ["tokenization_internlm2.InternLM2Tokenizer", None]},
        "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "</s>",
        "added_tokens_decoder": {str(index): {"content": text, **flags} for index, text in added.items()},
        "chat_template": TEMPLATE,
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    config = {
        "architectures": ["InternLM2ForRewardModel"], "model_type": "internlm2",
        "auto_map": {"AutoConfig": "configuration_internlm2.InternLM2Config", "AutoModel": "modeling_internlm2.Model"},
        "vocab_size": size + 3, "hidden_size": HIDDEN, "intermediate_size": INNER, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "num_key_value_heads": GROUPS, "hidden_act": "silu", "bias": False,
        "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "rope_theta": 1000000,
        "rope_scaling": {"type": "dynamic", "factor": 2.0}, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2,
        "reward_token_id": pieces.piece_to_id(REWARD),
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    tensors = {
        "model.tok_embeddings.weight": torch.randn(size + 3, HIDDEN),
        "v_head.weight": torch.randn(1, HIDDEN) / 11,
    }
    for number in range(LAYERS):
        name, rows = f"model.layers.{number}", (HEADS + 2 * GROUPS) * HIDDEN // HEADS
        shapes = {
            "attention.wqkv": (rows, HIDDEN), "attention.wo": (HIDDEN, HIDDEN), "feed_forward.w1": (INNER, HIDDEN),
            "feed_forward.w3": (INNER, HIDDEN), "feed_forward.w2": (HIDDEN, INNER),
        }  # fmt: skip
        tensors |= {f"{name}.{part}.weight": torch.randn(shape) * 0.08 for part, shape in shapes.items()}
        tensors |= {f"{name}.{part}_norm.weight": 0.5 + torch.rand(HIDDEN) for part in ("attention", "ffn")}
    tensors["model.norm.weight"] = 0.5 + torch.rand(HIDDEN)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def internlm2_states(tensors: Mapping[str, Tensor], config: Mapping[str, Any], ids: Sequence[int]) -> Tensor:
    """The final hidden states (L, H): RMS norm, grouped attention with rotary positions, SwiGLU, written out."""
    size, share = HIDDEN // HEADS, HEADS // GROUPS
    states = tensors["model.tok_embeddings.weight"][list(ids)]
    length = len(states)
    speeds = config["rope_theta"] ** (-torch.arange(0, size, 2) / size)
    angles = torch.arange(length)[:, None] * speeds
    cos, sin = torch.cat([angles, angles], -1).cos(), torch.cat([angles, angles], -1).sin()

    def norm(x: Tensor, name: str) -> Tensor:
        return x / (x.pow(2).mean(-1, keepdim=True) + config["rms_norm_eps"]).sqrt() * tensors[name]

    def turned(x: Tensor) -> Tensor:
        left, right = x.chunk(2, dim=-1)
        return x * cos + torch.cat([-right, left], -1) * sin

    for number in range(LAYERS):
        layer = f"model.layers.{number}"
        mixed = norm(states, f"{layer}.attention_norm.weight") @ tensors[f"{layer}.attention.wqkv.weight"].T
        mixed = mixed.view(length, GROUPS, share + 2, size)  # of each group: its queries, its key, its value
        heads = []
        for head in range(HEADS):
            group = mixed[:, head // share]
            query, key, value = turned(group[:, head % share]), turned(group[:, share]), group[:, share + 1]
            weights = (query @ key.T / size**0.5).masked_fill(torch.ones(length, length).triu(1).bool(), -torch.inf)
            heads.append(weights.softmax(-1) @ value)
        states = states + torch.cat(heads, -1) @ tensors[f"{layer}.attention.wo.weight"].T
        inner = norm(states, f"{layer}.ffn_norm.weight")
        gate, up = (inner @ tensors[f"{layer}.feed_forward.{part}.weight"].T for part in ("w1", "w3"))
        states = states + (torch.nn.functional.silu(gate) * up) @ tensors[f"{layer}.feed_forward.w2.weight"].T
    return norm(states, "model.norm.weight")
