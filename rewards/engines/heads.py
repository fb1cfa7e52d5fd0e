"""The heads of reward models: rows of the language-model head, and linear layers under any names."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PretrainedConfig

from rewards.engines.checkpoint import Checkpoint
from rewards.engines.options import ModelOptions
from rewards.engines.runner import HeadFunction


class LogitHead:
    """The raw logits of some tokens as the token after a position: R rows of one number for each token.

    Only the rows of these tokens are loaded: logits over the whole vocabulary are never computed.
    Raises ValueError for a model that transforms its logits, and for a token that is not in its vocabulary.
    """

    def __init__(self, checkpoint: Checkpoint, token_ids: Sequence[int]) -> None:
        for name, neutral in (("final_logit_softcapping", None), ("logit_scale", 1.0), ("logits_scaling", 1.0)):
            if getattr(checkpoint.config, name, None) not in (None, neutral):
                raise ValueError(f"model {checkpoint.path} transforms its logits ({name}): not supported")
        self.size = int(checkpoint.config.get_text_config().vocab_size)
        if outside := [token for token in token_ids if not 0 <= token < self.size]:
            raise ValueError(f"model {checkpoint.path} has {self.size} tokens: there is no token {outside[0]}")
        self.token_ids = tuple(token_ids)
        self._weights, self._bias, tied = _output_names(checkpoint.config)
        self.tensors = (*(() if tied else self._weights), *self._bias)

    def load(self, checkpoint: Checkpoint, options: ModelOptions) -> HeadFunction:
        """See `rewards.engines.runner.Head`. The rows are rounded to the decoder's type, as in the whole model."""

        def rows(names: Sequence[str], shape: tuple[int, ...]) -> Tensor:
            name = next((name for name in names if checkpoint.has(name)), names[0])
            found = checkpoint.tensor(name, shape, self.token_ids)
            return found.to(options.torch_device, options.torch_dtype).float()

        weight = rows(self._weights, (self.size, checkpoint.hidden_size))
        bias = rows(self._bias, (self.size,)) if self._bias else None
        return lambda hidden: nn.functional.linear(hidden.float(), weight, bias)


class LabelHead(LogitHead):
    """P(first label | first or second label) as the token after a position: one number, a softmax of two logits."""

    def load(self, checkpoint: Checkpoint, options: ModelOptions) -> HeadFunction:
        """See `rewards.engines.runner.Head`."""
        logits = super().load(checkpoint, options)
        return lambda hidden: logits(hidden).softmax(dim=-1)[:, 0]


class LayerHead:
    """Linear layers with a ReLU between each two: R rows of `outputs` raw numbers, with no activation at the end.

    `layers` are the names of the layers in the checkpoint, without `.weight` and `.bias`; a layer without a bias in the
    checkpoint has none. The last layer has `outputs` rows, the others are as wide as the decoder.
    Raises ValueError if the files on this machine show that a layer is missing, has another shape, or is one of more.
    """

    def __init__(self, checkpoint: Checkpoint, layers: Sequence[str], outputs: int) -> None:
        if not layers or any(not name or name.endswith((".weight", ".bias")) for name in layers):
            raise ValueError(f"head must name linear layers, as [score] or [score.0, score.2], not {list(layers)}")
        self.layers, self.outputs = tuple(layers), outputs
        self.tensors = (*(f"{name}." for name in layers), "lm_head.")  # some checkpoints keep the causal model's head
        self._check(checkpoint)

    def load(self, checkpoint: Checkpoint, options: ModelOptions) -> HeadFunction:
        """See `rewards.engines.runner.Head`. The layers are rounded to the decoder's type, as in the whole model."""

        def placed(tensor: Tensor) -> Tensor:
            return tensor.to(options.torch_device, options.torch_dtype).float()

        layers = []
        for name, size in zip(self.layers, self._sizes(checkpoint), strict=True):
            bias = checkpoint.tensor_if_there(f"{name}.bias", size[:1])
            weight = placed(checkpoint.tensor(f"{name}.weight", size))
            layers.append((weight, None if bias is None else placed(bias)))

        def numbers(hidden: Tensor) -> Tensor:
            states = hidden.float()
            for place, (weight, bias) in enumerate(layers):
                states = nn.functional.linear(states.relu() if place else states, weight, bias)
            return states

        return numbers

    def _sizes(self, checkpoint: Checkpoint) -> list[tuple[int, int]]:
        width = checkpoint.hidden_size
        return [(width, width)] * (len(self.layers) - 1) + [(self.outputs, width)]

    def _check(self, checkpoint: Checkpoint) -> None:
        if checkpoint.names is None:
            return
        kinds = {name.split(".")[0] for name in self.layers}
        found = sorted(name for name in checkpoint.names if name.split(".")[0] in kinds)
        if strays := [name for name in found if name.rpartition(".")[0] not in self.layers]:
            raise checkpoint.refusal(f"its head has {', '.join(strays)}, which this reward does not read")
        for name, size in zip(self.layers, self._sizes(checkpoint), strict=True):
            shape = checkpoint.shapes.get(f"{name}.weight")
            if f"{name}.weight" not in checkpoint.names:
                raise checkpoint.refusal(f"it has no {name}.weight, the head that this reward reads")
            if shape is not None and shape != size:
                raise checkpoint.refusal(f"its {name}.weight has the shape {shape}, this reward reads {size}")


def _output_names(config: PretrainedConfig) -> tuple[tuple[str, ...], tuple[str, ...], bool]:
    """The names of the language-model head's weight and bias, and whether the weight is shared with the embedding.

    They come from the model's own class, created without weights. A checkpoint may use any of the names.
    """
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    head = model.get_output_embeddings()
    named = list(model.named_parameters(remove_duplicate=False))
    weights = [name for name, parameter in named if parameter is head.weight]
    bias = tuple(name for name, parameter in named if parameter is getattr(head, "bias", None))
    tied = head.weight is model.get_input_embeddings().weight
    bare = [name.removeprefix(f"{model.base_model_prefix}.") for name in weights]  # saved without the decoder's prefix
    old = ["embed_out.weight"]  # GPT-NeoX, which transformers renames while loading
    return tuple(dict.fromkeys([*weights, *bare, *old])), bias, tied
