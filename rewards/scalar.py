"""Scalar reward models: a decoder with one linear head, whose output at the conversation's end is the score.

So `recipe=bradley_terry` writes them, and so they lie on the hub (Skywork-Reward, FsfairX): transformers'
`AutoModelForSequenceClassification` with one label. The conversation is the prompt's messages and the response in the
model's own chat template, whole, without a generation prompt, as in training. The head is read where transformers
reads it: at the last token that is not `pad_token_id` of config.json, which is the last token unless a template ends
with the padding token. The value is the raw number, with no sigmoid; only differences of it between responses to the
same prompt have a meaning: -log sigmoid of the difference is the loss of Bradley and Terry's model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, PretrainedConfig
from transformers.modeling_layers import GenericForSequenceClassification

from rewards.chat import ChatTemplate, conversation, load_tokenizer
from rewards.engines.onednn import use_onednn
from rewards.engines.transformers import (
    DTYPES,
    Precision,
    at_positions,
    default_batch_tokens,
    load_model,
    pick_device,
    read_config,
    tensor_names,
)
from rewards.labels import Engine, longest_input, share_of_memory
from rewards.protocol import Pair, ResponseReward
from rewards.types import Score

HEAD = "score.weight"


class ScalarEngine(Protocol):
    """How the model is run."""

    def values(self, sequences: Sequence[Sequence[int]]) -> list[float]:
        """The head's output, computed in float32, at the last token of each sequence."""
        ...

    def load(self) -> Any:
        """Load the weights, unless they are loaded already."""
        ...


class TransformersScalarEngine:
    """A scalar model on transformers: length-sorted right-padded batches; the weights are loaded at the first call."""

    def __init__(self, model: str, *, dtype: Precision, device: str, batch_tokens: int | None) -> None:
        self.path, self.dtype, self.device = model, DTYPES[dtype], pick_device(device)
        self.batch_tokens = batch_tokens or default_batch_tokens(self.device)
        self._model: Any = None

    def load(self) -> Any:
        """The model, loaded once. Raises ValueError where the checkpoint lacks tensors, the head's among them."""
        if self._model is None:
            self._model = load_model(AutoModelForSequenceClassification, self.path, self.dtype).to(self.device)
            use_onednn(self._model.base_model)
        return self._model

    def values(self, sequences: Sequence[Sequence[int]]) -> list[float]:
        """See ScalarEngine; one forward a sequence, the head at its last token only."""
        model = self.load()
        weight = model.score.weight[0].float()

        def value(hidden: Tensor) -> Tensor:
            return hidden.float() @ weight

        ends = [[len(ids) - 1] for ids in sequences]
        found = at_positions(model.base_model, sequences, ends, value, batch_tokens=self.batch_tokens)
        return torch.cat(found).tolist()


class ScalarReward(ResponseReward):
    """A scalar reward model's number for a response.

    model: folder or hub name of a decoder with a sequence-classification head of one label, its tokenizer and its chat
    template.
    normalise: (value - mean) / std with the `mean` and `std` that OpenRLHF's training leaves in config.json, as its
    `reward.normalize_enable` does; None: as `normalize_reward` of config.json says, else not.
    dtype: fp32 or bf16, of the decoder; the head is computed in float32. device: cpu, cuda, or auto (cuda where there
    is one).
    max_tokens: longest conversation in tokens, a longer one fails its score; None takes the model's limit.
    batch_tokens: tokens of one forward pass, padding included; None: 1024 on a CPU, 16384 on a GPU.
    engine: transformers or vllm; the scores are equal. gpu_memory: vLLM's share of a GPU's memory, in (0, 1].
    Raises ValueError for a set-up that cannot work: a causal language model, several labels, a missing head.
    """

    part_names = frozenset[str]()

    def __init__(
        self,
        model: str,
        *,
        normalise: bool | None = None,
        dtype: Precision = "fp32",
        device: str = "auto",
        max_tokens: int | None = None,
        batch_tokens: int | None = None,
        engine: Engine = "transformers",
        gpu_memory: float = 0.4,
    ) -> None:
        share_of_memory(gpu_memory)
        if dtype not in DTYPES:
            raise ValueError(f"reward.dtype must be one of {', '.join(DTYPES)}, not {dtype!r}")
        if batch_tokens is not None and batch_tokens < 1:
            raise ValueError(f"reward.batch_tokens must be at least 1, not {batch_tokens}")
        config = read_config(model, "ForSequenceClassification")
        check_kind(model, config)
        self.mean, self.std = _normalisation(model, config, normalise)
        self.template = ChatTemplate(load_tokenizer(model))
        self.padding: int | None = config.get_text_config().pad_token_id
        self.max_tokens = longest_input(model, max_tokens, getattr(config, "max_position_embeddings", None))
        self.engine = _engine(engine, model, dtype, device, batch_tokens, self.max_tokens, gpu_memory)

    def load(self) -> None:
        """Load the weights, unless they are loaded already."""
        self.engine.load()

    def score_responses(self, pairs: Sequence[Pair]) -> list[Score]:
        """A score for each response; an empty one and one that is too long fail with a reason."""
        conversations = [conversation(problem.messages, response.text) for problem, response in pairs]
        sequences = [rendered.ids for rendered in self.template.render(conversations)]
        failures = [self._failure(turns[-1].content, ids) for turns, ids in zip(conversations, sequences, strict=True)]
        kept = [
            without_padding(ids, self.padding)
            for ids, failure in zip(sequences, failures, strict=True)
            if failure is None
        ]
        values = iter(self.engine.values(kept) if kept else [])
        return [
            Score.failed(failure) if failure is not None else Score.of((next(values) - self.mean) / self.std)
            for failure in failures
        ]

    def _failure(self, text: str, ids: Sequence[int]) -> str | None:
        """Why a conversation cannot be scored, or None."""
        if not text.strip():
            return "the response is empty"
        return f"longer than {self.max_tokens} tokens (reward.max_tokens)" if len(ids) > self.max_tokens else None


def check_kind(path: str, config: PretrainedConfig) -> None:
    """Raise ValueError for a checkpoint that is no scalar reward model on a decoder, as far as its files tell."""
    names = config.architectures or []
    classifier = AutoModelForSequenceClassification._model_mapping.get(type(config), None)
    if classifier is None or classifier.__name__ not in names:
        raise ValueError(f"reward.model {path}: transformers has no {', '.join(names)} for its type of model")
    if not issubclass(classifier, GenericForSequenceClassification):
        raise ValueError(
            f"reward.model {path} is a {classifier.__name__}, which is no decoder with one linear head (as "
            "LlamaForSequenceClassification is): not supported"
        )
    if config.num_labels != 1:
        raise ValueError(
            f"reward.model {path} is a classifier of {config.num_labels} labels, a scalar reward model has one "
            "(num_labels or id2label in config.json)"
        )
    tensors = tensor_names(path)
    heads = sorted(name for name in tensors or () if name.startswith("score."))
    if tensors is not None and heads != [HEAD]:
        found = f"has {', '.join(heads)}" if heads else "has none"
        raise ValueError(f"reward.model {path}: the head must be {HEAD} alone, and the checkpoint {found}")


def without_padding(ids: Sequence[int], padding: int | None) -> Sequence[int]:
    """The ids up to the last one that is not the padding token: there transformers reads the head."""
    end = len(ids)
    while end > 1 and ids[end - 1] == padding:
        end -= 1
    return ids[:end]


def _normalisation(path: str, config: PretrainedConfig, wanted: bool | None) -> tuple[float, float]:
    """What is subtracted, and what then divides. Raises ValueError where config.json lacks the two numbers."""
    if not (getattr(config, "normalize_reward", False) if wanted is None else wanted):
        return 0.0, 1.0
    found = [getattr(config, name, None) for name in ("mean", "std")]
    mean, std = (float(number) if isinstance(number, int | float) else math.nan for number in found)
    if not (math.isfinite(mean) and math.isfinite(std) and std > 0):
        raise ValueError(
            f"reward.normalise: config.json of {path} has no mean and std above 0 to normalise by: set "
            "reward.normalise=false"
        )
    return mean, std


def _engine(
    engine: Engine,
    model: str,
    dtype: Precision,
    device: str,
    batch_tokens: int | None,
    max_tokens: int,
    gpu_memory: float,
) -> ScalarEngine:
    if engine == "transformers":
        return TransformersScalarEngine(model, dtype=dtype, device=device, batch_tokens=batch_tokens)
    if engine == "vllm":
        from rewards.engines.scalar_vllm import VllmScalarEngine  # vLLM takes seconds to import

        return VllmScalarEngine(model, dtype=dtype, max_tokens=max_tokens, gpu_memory=gpu_memory)
    raise ValueError(f"reward.engine must be transformers or vllm, not {engine!r}")
