"""Scalar reward models: a decoder with one linear head; its output at the end of the conversation is the score.

This is the format of `recipe=bradley_terry` and of published models (Skywork-Reward, FsfairX): transformers'
`AutoModelForSequenceClassification` with one label. The conversation is the prompt's messages and the response in the
model's own chat template, whole, without a generation prompt, as in training. The head is read where transformers reads
it: at the last token that is not `pad_token_id` of config.json, which is the last token unless a template ends with the
padding token. The value is the raw number, without a sigmoid. Only differences between responses to the same prompt
are meaningful: -log sigmoid of the difference is the Bradley-Terry loss.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from transformers import AutoModelForSequenceClassification, PretrainedConfig
from transformers.modeling_layers import GenericForSequenceClassification

from rewards.chat import ChatTemplate, Rendered, conversation, load_tokenizer
from rewards.engines.checkpoint import Checkpoint
from rewards.engines.heads import SCORE, ScalarHead
from rewards.engines.options import EngineName, ModelOptions, Precision
from rewards.model_reward import ModelReward, Prompt
from rewards.protocol import Pair
from rewards.types import Score


class ScalarReward(ModelReward):
    """A scalar reward model's output for a response.

    model: folder or hub name of a decoder with a sequence-classification head of one label, its tokenizer and its chat
    template.
    normalise: (value - mean) / std with the `mean` and `std` that OpenRLHF's training writes to config.json, like its
    `reward.normalize_enable`; None: follow `normalize_reward` of config.json, or do not normalise if it is absent.
    A conversation longer than `max_tokens` fails its score. The head is computed in float32 whatever the decoder's
    dtype. The other options are those of `rewards.engines.options.ModelOptions`.
    Raises ValueError for a set-up that cannot work: a causal language model, several labels, a missing head.
    """

    part_names = frozenset[str]()
    ends_only = True

    def __init__(
        self,
        model: str,
        *,
        normalise: bool | None = None,
        dtype: Precision = "fp32",
        device: str = "auto",
        max_tokens: int | None = None,
        batch_tokens: int | None = None,
        engine: EngineName = "transformers",
        gpu_memory: float = 0.4,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        options = ModelOptions(
            dtype=dtype,
            device=device,
            max_tokens=max_tokens,
            batch_tokens=batch_tokens,
            engine=engine,
            gpu_memory=gpu_memory,
            chat_template_kwargs=chat_template_kwargs,
        )
        checkpoint = Checkpoint(model, "ForSequenceClassification")
        check_kind(checkpoint)
        self.mean, self.std = _normalisation(model, checkpoint.config, normalise)
        self.template = ChatTemplate(load_tokenizer(model), chat_template_kwargs)
        self.padding: int | None = checkpoint.config.get_text_config().pad_token_id
        super().__init__(checkpoint, options, ScalarHead())

    def prompts(self, pairs: Sequence[Pair]) -> list[Prompt | str]:
        """See ModelReward; an empty response has no prompt."""
        conversations = [conversation(problem.messages, response.text) for problem, response in pairs]
        rendered = self.template.render_each(conversations)
        return [
            self._prompt(one) if turns[-1].content.strip() else "the response is empty"
            for one, turns in zip(rendered, conversations, strict=True)
        ]

    def scores(self, prompts: Sequence[Prompt], read: Sequence[Tensor]) -> list[Score]:
        """See ModelReward."""
        return [Score.of((value.item() - self.mean) / self.std) for value in read]

    def _prompt(self, rendered: Rendered) -> Prompt | str:
        ids = without_padding(rendered.ids, self.padding)
        return rendered.failure or Prompt(ids, [len(ids) - 1])


def check_kind(checkpoint: Checkpoint) -> None:
    """Raise ValueError if the checkpoint's files show that it is not a scalar reward model on a decoder."""
    path, config = checkpoint.path, checkpoint.config
    names = config.architectures or []
    classifier = AutoModelForSequenceClassification._model_mapping.get(type(config), None)
    if classifier is None or classifier.__name__ not in names:
        raise ValueError(f"model {path}: transformers has no {', '.join(names)} for its type of model")
    if not issubclass(classifier, GenericForSequenceClassification):
        raise ValueError(
            f"model {path} is a {classifier.__name__}, which is not a decoder with one linear head (as "
            "LlamaForSequenceClassification is): not supported"
        )
    if config.num_labels != 1:
        raise ValueError(
            f"model {path} is a classifier of {config.num_labels} labels, a scalar reward model has one "
            "(num_labels or id2label in config.json)"
        )
    heads = sorted(name for name in checkpoint.names or () if name.startswith("score."))
    if checkpoint.names is not None and heads != [SCORE]:
        found = f"has {', '.join(heads)}" if heads else "has none"
        raise ValueError(f"model {path}: the head must be {SCORE} alone, and the checkpoint {found}")


def without_padding(ids: Sequence[int], padding: int | None) -> list[int]:
    """The ids up to the last non-padding token, which is where transformers reads the head."""
    end = len(ids)
    while end > 1 and ids[end - 1] == padding:
        end -= 1
    return list(ids[:end])


def _normalisation(path: str, config: PretrainedConfig, wanted: bool | None) -> tuple[float, float]:
    """The mean to subtract and the std to divide by. Raises ValueError if they are needed but not in config.json."""
    if not (getattr(config, "normalize_reward", False) if wanted is None else wanted):
        return 0.0, 1.0
    found = [getattr(config, name, None) for name in ("mean", "std")]
    mean, std = (float(number) if isinstance(number, int | float) else math.nan for number in found)
    if not (math.isfinite(mean) and math.isfinite(std) and std > 0):
        raise ValueError(
            f"normalise: config.json of {path} has no mean and std above 0 to normalise by: set normalise=false"
        )
    return mean, std
