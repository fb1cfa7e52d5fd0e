"""Scalar reward models: a decoder with a head that gives one number; its output at the end of the conversation.

The usual form is that of `recipe=bradley_terry` and of most published models (Skywork-Reward-V2, Nemotron on Qwen,
FsfairX): transformers' `AutoModelForSequenceClassification` with one label. Others have another head: two layers
(Qwen2.5-Math-RM), a value head at a token of its own (InternLM2), or the logit of one token (Nemotron on Llama). The
conversation is the prompt's messages and the response in the model's own chat template, whole, without a generation
prompt, as in training. The head is read where transformers reads it: at the last token that is not `pad_token_id` of
config.json, which is the last token unless a template ends with the padding token. The value is the raw number, without
a sigmoid. Only differences between responses to the same prompt are meaningful: -log sigmoid of the difference is the
Bradley-Terry loss.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from transformers import AutoModelForSequenceClassification, PretrainedConfig, PreTrainedTokenizerBase
from transformers.modeling_layers import GenericForSequenceClassification

from rewards.chat import ChatTemplate, Rendered, Turn, conversation, load_tokenizer
from rewards.conversation import with_system
from rewards.engines.checkpoint import Checkpoint
from rewards.engines.heads import LayerHead, LogitHead
from rewards.engines.options import EngineName, ModelOptions, Precision
from rewards.model_reward import ModelReward, Prompt
from rewards.protocol import Pair
from rewards.raw_text import one_token
from rewards.types import Score

SCORE = ("score",)
"""The head of transformers' sequence classifiers."""
REWARD_TOKEN = "reward_token_id"


class ScalarReward(ModelReward):
    """A scalar reward model's output for a response.

    model: folder or hub name of a decoder with a head of one number, its tokenizer and its chat template.
    head: names of the head's linear layers in the checkpoint, with a ReLU between each two. `[score]` is transformers'
    sequence classifier of one label and nothing else.
    logit: read this token's logit in place of a head (a causal language model, `head` then None).
    end_token: a token that the model reads after the conversation, where its head is read: its text, or
    `reward_token_id` for the id under that key in config.json. None: nothing is added.
    system: text of a system turn for prompts that have none.
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
        head: Sequence[str] | None = ("score",),
        logit: int | None = None,
        end_token: str | None = None,
        system: str | None = None,
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
        checkpoint = Checkpoint(model, _architecture(head, logit))
        if head is not None and tuple(head) == SCORE:
            check_kind(checkpoint)
        found = LogitHead(checkpoint, [logit]) if logit is not None else LayerHead(checkpoint, head or (), 1)
        self.mean, self.std = _normalisation(model, checkpoint.config, normalise)
        tokenizer = load_tokenizer(model)
        self.template = ChatTemplate(tokenizer, chat_template_kwargs)
        self.end_ids = [] if end_token is None else [_end_token(tokenizer, checkpoint, end_token)]
        self.system = system
        if system is not None:
            self.template.render([[Turn("system", system), Turn("user", "x"), Turn("assistant", "y")]])
        self.padding: int | None = checkpoint.config.get_text_config().pad_token_id
        super().__init__(checkpoint, options, found)

    def prompts(self, pairs: Sequence[Pair]) -> list[Prompt | str]:
        """See ModelReward; an empty response has no prompt."""
        conversations = [
            conversation(with_system(problem.messages, self.system), response.text) for problem, response in pairs
        ]
        rendered = self.template.render_each(conversations)
        return [
            self._prompt(one) if turns[-1].content.strip() else "the response is empty"
            for one, turns in zip(rendered, conversations, strict=True)
        ]

    def scores(self, prompts: Sequence[Prompt], read: Sequence[Tensor]) -> list[Score]:
        """See ModelReward."""
        return [Score.of((value.item() - self.mean) / self.std) for value in read]

    def _prompt(self, rendered: Rendered) -> Prompt | str:
        ids = rendered.ids + self.end_ids if self.end_ids else without_padding(rendered.ids, self.padding)
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
        raise checkpoint.refusal(
            f"it is a classifier of {config.num_labels} labels, a scalar reward model has one "
            "(num_labels or id2label in config.json)"
        )
    if checkpoint.names is not None and "score.bias" in checkpoint.names:
        raise checkpoint.refusal("its head has score.bias, which transformers' classifiers do not have")


def _architecture(head: Sequence[str] | None, logit: int | None) -> str:
    """What the architecture's name must end in. Raises ValueError unless there is a head or a logit."""
    if (head is None) == (logit is None):
        raise ValueError("head and logit exclude each other: give the head's layers, or logit with head=null")
    if logit is not None:
        return "ForCausalLM"
    return "ForSequenceClassification" if tuple(head or ()) == SCORE else ""


def _end_token(tokenizer: PreTrainedTokenizerBase, checkpoint: Checkpoint, wanted: str) -> int:
    """The id of the token after a conversation. Raises ValueError if there is none."""
    if wanted != REWARD_TOKEN:
        return one_token(tokenizer, wanted, "end_token")
    found = getattr(checkpoint.config, REWARD_TOKEN, None)
    if not isinstance(found, int) or not 0 <= found < checkpoint.config.get_text_config().vocab_size:
        raise checkpoint.refusal(f"end_token: its config.json has no {REWARD_TOKEN} in its vocabulary, but {found}")
    return found


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
