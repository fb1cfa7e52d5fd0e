"""ArmoRM's network (arXiv 2406.12845) under its published tensor names and config keys, with no remote code.

A Llama decoder with two heads, both in float32 whatever the decoder's dtype. A linear regression predicts K objectives
from the last token of the conversation; a gate, a small MLP, predicts from the last token of the prompt how much each
objective counts:

    rewards = W h_last                                   (K)
    gate    = softmax(MLP(h_prompt) / temperature) * logit_scale   (K)
    score   = sum(gate * (rewards T)) = sum(rewards * (gate T^t))

T (`reward_transform_matrix`) removes verbosity from the other objectives. `gate T^t` are the effective coefficients.
The gate's dropout is used in training only (`rewards.training.armorm_stages`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaModel, LlamaPreTrainedModel, PretrainedConfig, PreTrainedTokenizerBase

from rewards.engines.checkpoint import Checkpoint, check_loading
from rewards.engines.options import ModelOptions
from rewards.engines.runner import HeadFunction

ARCHITECTURE = "LlamaForRewardModelWithGating"

OBJECTIVES = (
    "helpsteer-helpfulness",
    "helpsteer-correctness",
    "helpsteer-coherence",
    "helpsteer-complexity",
    "helpsteer-verbosity",
    "ultrafeedback-overall_score",
    "ultrafeedback-instruction_following",
    "ultrafeedback-truthfulness",
    "ultrafeedback-honesty",
    "ultrafeedback-helpfulness",
    "beavertails-is_safe",
    "prometheus-score",
    "argilla-overall_quality",
    "argilla-judge_lm",
    "code-complexity",
    "code-style",
    "code-explanation",
    "code-instruction-following",
    "code-readability",
)
"""The 19 objectives of RLHFlow/ArmoRM-Llama3-8B-v0.1, in the order of its heads."""


class ArmoOutput(NamedTuple):
    """The heads' output for B conversations with K objectives; all float32."""

    score: Tensor  # (B,)
    rewards: Tensor  # (B, K)
    gate: Tensor  # (B, K)
    coefficients: Tensor  # (B, K), gate @ T.T


class GatingNetwork(nn.Module):
    """`hidden` layers of width `width` with ReLU between, then K logits; softmax of logits / temperature, scaled."""

    def __init__(self, size: int, objectives: int, *, width: int, hidden: int, temperature: float) -> None:
        super().__init__()
        sizes = [size, *[width] * hidden, objectives]
        self.temperature = temperature
        self.logit_scale = nn.Parameter(torch.ones(1))
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))

    def logits(self, states: Tensor) -> Tensor:
        """(B, H) states of the prompt to (B, K) logits, before temperature and softmax."""
        for layer in self.layers[:-1]:
            states = torch.relu(layer(states))
        return self.layers[-1](states)

    def forward(self, states: Tensor) -> Tensor:
        """(B, H) states of the prompt to (B, K) weights, which sum to `logit_scale`."""
        return torch.softmax(self.logits(states) / self.temperature, dim=-1) * self.logit_scale[0]


def _add_heads(module: nn.Module, config: PretrainedConfig) -> None:
    """Add the heads to a module, under their published tensor names."""
    objectives = config.num_objectives
    module.regression_layer = nn.Linear(config.hidden_size, objectives, bias=False)
    module.reward_transform_matrix = nn.Parameter(torch.eye(objectives), requires_grad=False)
    module.gating = GatingNetwork(
        config.hidden_size,
        objectives,
        width=config.gating_hidden_dim,
        hidden=config.gating_n_hidden,
        temperature=config.gating_temperature,
    )


class ArmoRewardModel(LlamaPreTrainedModel):
    """A Llama decoder with ArmoRM's heads. `model` is the decoder; build one from scratch with `armorm_config`."""

    base_model_prefix = "model"
    _keep_in_fp32_modules_strict = {"regression_layer", "reward_transform_matrix", "gating"}  # noqa: RUF012

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__(config)
        self.model = LlamaModel(config)
        _add_heads(self, config)
        self.post_init()

    def heads(self, last: Tensor, prompt: Tensor) -> ArmoOutput:
        """The heads on (B, H) final hidden states of the conversation's last token and of the prompt's last token."""
        rewards = self.regression_layer(last.float())
        gate = self.gating(prompt.float())
        transform = self.reward_transform_matrix
        return ArmoOutput((gate * (rewards @ transform)).sum(dim=-1), rewards, gate, gate @ transform.T)

    def forward(self, input_ids: Tensor, prompt_positions: Tensor, lengths: Tensor) -> ArmoOutput:
        """Score (B, L) right-padded conversations of `lengths` (B,) tokens, prompts ending at `prompt_positions`."""
        hidden = self.model(input_ids=input_ids, use_cache=False).last_hidden_state
        rows = torch.arange(len(input_ids), device=input_ids.device)
        return self.heads(hidden[rows, lengths - 1], hidden[rows, prompt_positions])


class ArmoHead:
    """ArmoRM's heads for a runner: 3K numbers per position, [rewards | gate | gate @ T.T], see `ArmoHead.join`.

    The rewards are meant for the last token and the gate for the prompt's end. Both are computed at both positions,
    which costs almost nothing compared with the decoder.
    """

    tensors = ("regression_layer.", "reward_transform_matrix", "gating.")

    def load(self, checkpoint: Checkpoint, options: ModelOptions) -> HeadFunction:
        """See `rewards.engines.runner.Head`."""
        heads = _ArmoHeads(checkpoint.config)
        shapes = {name: tuple(tensor.shape) for name, tensor in heads.state_dict().items()}
        heads.load_state_dict({name: checkpoint.tensor(name, shape).float() for name, shape in shapes.items()})
        return heads.to(options.torch_device).eval()

    @staticmethod
    def join(read: Sequence[Tensor]) -> ArmoOutput:
        """Combine B tensors (2, 3K), read at the prompt's end and at the last token, into the heads' output."""
        prompt, last = torch.stack(list(read)).unbind(dim=1)
        _, gate, coefficients = prompt.chunk(3, dim=-1)
        rewards = last.chunk(3, dim=-1)[0]
        return ArmoOutput((rewards * coefficients).sum(dim=-1), rewards, gate, coefficients)


class _ArmoHeads(nn.Module):
    """The heads without a decoder."""

    regression_layer: nn.Linear
    reward_transform_matrix: nn.Parameter
    gating: GatingNetwork

    def __init__(self, config: PretrainedConfig) -> None:
        super().__init__()
        _add_heads(self, config)

    def forward(self, hidden: Tensor) -> Tensor:
        """(R, H) hidden states to (R, 3K) float32."""
        hidden = hidden.float()
        gate = self.gating(hidden)
        return torch.cat([self.regression_layer(hidden), gate, gate @ self.reward_transform_matrix.T], dim=-1)


def armorm_config(
    decoder: LlamaConfig,
    objective_names: Sequence[str],
    *,
    gating_hidden_dim: int = 1024,
    gating_n_hidden: int = 3,
    gating_temperature: float = 10.0,
) -> LlamaConfig:
    """The config of an ArmoRM on a decoder with config `decoder`: the published keys and `objective_names`."""
    config = LlamaConfig.from_dict(decoder.to_dict())
    config.architectures = [ARCHITECTURE]
    config.num_objectives = len(objective_names)
    config.objective_names = list(objective_names)
    config.gating_hidden_dim = gating_hidden_dim
    config.gating_n_hidden = gating_n_hidden
    config.gating_temperature = gating_temperature
    return config


def objective_names(config: PretrainedConfig, path: str) -> tuple[str, ...]:
    """The objectives in the order of the heads: config key `objective_names`, or the 19 published ones.

    Raises ValueError if their number is not `num_objectives`, or if a config key of the heads is missing.
    """
    for key in ("num_objectives", "gating_temperature", "gating_hidden_dim", "gating_n_hidden"):
        if getattr(config, key, None) is None:
            raise ValueError(f"model {path}: its config.json lacks {key}, so it is not an ArmoRM")
    names = tuple(getattr(config, "objective_names", None) or OBJECTIVES)
    if len(names) != config.num_objectives or len(set(names)) != len(names):
        raise ValueError(
            f"model {path} has {config.num_objectives} objectives and {len(set(names))} different names: "
            "put their names, in order, into objective_names of its config.json"
        )
    return names


def load_armorm(path: str, dtype: torch.dtype = torch.float32) -> ArmoRewardModel:
    """Load the model in folder (or under hub name) `path`, with its decoder in `dtype` and its heads in float32.

    Raises ValueError if a tensor is missing (a head would be random) or its shape does not match the config.
    """
    try:
        model, info = ArmoRewardModel.from_pretrained(
            path, dtype=dtype, attn_implementation="sdpa", output_loading_info=True
        )
    except RuntimeError as error:
        raise ValueError(f"model {path}: its tensors do not fit its config.json ({error})") from error
    check_loading(path, info)
    return model.eval()


def save_armorm(model: ArmoRewardModel, tokenizer: PreTrainedTokenizerBase, folder: str | Path) -> Path:
    """Save model and tokenizer in the published layout: same tensor names, config keys and architecture name.

    `model.safetensors` contains `model.*`, `regression_layer.weight`, `reward_transform_matrix`, `gating.layers.*` and
    `gating.logit_scale`. Returns the folder.
    """
    folder = Path(folder)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    # transformers writes this class's own name as the architecture.
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["architectures"] = [ARCHITECTURE]
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return folder
