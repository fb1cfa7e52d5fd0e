"""The heads of reward models in transformers' own architectures: label tokens and one linear row."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PretrainedConfig

from rewards.engines.checkpoint import Checkpoint
from rewards.engines.options import ModelOptions
from rewards.engines.runner import HeadFunction

SCORE = "score.weight"


class LabelHead:
    """P(first label | first or second label) as the token after a position: one number, a softmax of two logits.

    Only these two rows of the language-model head are loaded: logits over the whole vocabulary are never computed.
    Raises ValueError for a model that transforms its logits.
    """

    def __init__(self, checkpoint: Checkpoint, label_ids: tuple[int, int]) -> None:
        for name, neutral in (("final_logit_softcapping", None), ("logit_scale", 1.0), ("logits_scaling", 1.0)):
            if getattr(checkpoint.config, name, None) not in (None, neutral):
                raise ValueError(f"model {checkpoint.path} transforms its logits ({name}): not supported")
        self.label_ids = label_ids
        self._weights, self._bias, tied = _output_names(checkpoint.config)
        self.tensors = (*(() if tied else self._weights), *self._bias)

    def load(self, checkpoint: Checkpoint, options: ModelOptions) -> HeadFunction:
        """See `rewards.engines.runner.Head`. The rows are rounded to the decoder's type, as in the whole model."""
        size = checkpoint.config.get_text_config().vocab_size

        def rows(names: Sequence[str], shape: tuple[int, ...]) -> Tensor:
            name = next((name for name in names if checkpoint.has(name)), names[0])
            found = checkpoint.tensor(name, shape, self.label_ids)
            return found.to(options.torch_device, options.torch_dtype).float()

        weight = rows(self._weights, (size, checkpoint.hidden_size))
        bias = rows(self._bias, (size,)) if self._bias else None

        def probability(hidden: Tensor) -> Tensor:
            return nn.functional.linear(hidden.float(), weight, bias).softmax(dim=-1)[:, 0]

        return probability


class ScalarHead:
    """One linear row without bias, `score.weight`, as in transformers' sequence classifiers: the raw number."""

    tensors = (SCORE,)

    def load(self, checkpoint: Checkpoint, options: ModelOptions) -> HeadFunction:
        """See `rewards.engines.runner.Head`. The row is rounded to the decoder's type, as in the whole model."""
        found = checkpoint.tensor(SCORE, (1, checkpoint.hidden_size))
        weight = found[0].to(options.torch_device, options.torch_dtype).float()

        def value(hidden: Tensor) -> Tensor:
            return hidden.float() @ weight

        return value


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
