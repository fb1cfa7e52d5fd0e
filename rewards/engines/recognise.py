"""Which family a reward model belongs to, by its config.json and its tensors, and which configurations read it.

Used in the messages of all adapters: a model of another family is refused with the name of the one that fits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from transformers import PretrainedConfig

from rewards.engines.internlm2 import MODEL_TYPE

Shape = tuple[int, ...]


class Traits(NamedTuple):
    """What the files of a checkpoint show, without its weights."""

    architecture: str
    model_type: str
    labels: int
    names: Collection[str]
    shapes: Mapping[str, Shape]

    def outputs(self, weight: str) -> int | None:
        """The number of rows of a tensor; None if its shape is unknown."""
        return self.shapes[weight][0] if weight in self.shapes else None


class Family(NamedTuple):
    """A family of reward models, and the option of `reward` that reads it."""

    kind: str
    option: str
    fits: Callable[[Traits], bool]


FAMILIES = (
    Family(
        "ArmoRM",
        "armorm",
        lambda model: "gating.logit_scale" in model.names or model.architecture.endswith("RewardModelWithGating"),
    ),
    Family(
        "a scalar model with Qwen's two-layer head",
        "qwen_math_rm",
        lambda model: _two_layers(model, 1) or model.architecture == "Qwen2ForRewardModel",
    ),
    Family(
        "a process model with Qwen's two-layer head",
        "qwen_math_prm",
        lambda model: _two_layers(model, 2) or model.architecture == "Qwen2ForProcessRewardModel",
    ),
    Family(
        "a process model with a value head, as Skywork-o1-Open-PRM has",
        "skywork_prm",
        lambda model: "v_head.summary.weight" in model.names or model.architecture.endswith("ForPrmModel"),
    ),
    Family(
        "an InternLM2 reward model",
        "internlm2_reward, or reward=polar for POLAR",
        lambda model: "v_head.weight" in model.names or model.architecture == "InternLM2ForRewardModel",
    ),
    Family(
        "a process model with three labels, as ReasonEval has",
        "reasoneval",
        lambda model: "score_head.weight" in model.names,
    ),
    Family(
        "a token classifier, as TRL's PRMTrainer and PURE make them",
        "trl_prm",
        lambda model: model.architecture.endswith("ForTokenClassification") and model.labels == 2,
    ),
    Family(
        "a scalar model: a sequence classifier with one label",
        "scalar",
        lambda model: (
            model.architecture.endswith("ForSequenceClassification")
            and model.labels == 1
            and (not model.names or {name for name in model.names if name.startswith("score.")} == {"score.weight"})
        ),
    ),
    Family(
        "a causal language model, which scores by its labels' probabilities",
        "rlhflow_prm_mistral, reward=rlhflow_orm_mistral or reward=math_shepherd, or by a logit: reward=nemotron_llama",
        lambda model: model.architecture.endswith("ForCausalLM") and model.model_type != MODEL_TYPE,
    ),
)
"""In this order: the first that fits is named. Heads come first, because config.json often names a causal model."""


def fitting_option(config: PretrainedConfig, names: Collection[str] | None, shapes: Mapping[str, Shape]) -> str:
    """`; it looks like KIND: set reward=OPTION`, or an empty text for a model of no known family.

    `names` are the names of the checkpoint's tensors, None if unknown; `shapes` those that are known.
    """
    architecture = (config.architectures or [""])[0]
    labels = int(getattr(config, "num_labels", None) or 0)
    traits = Traits(architecture, config.model_type, labels, names or (), shapes)
    for family in FAMILIES:
        if family.fits(traits):
            return f"; it looks like {family.kind}: set reward={family.option}"
    return ""


def _two_layers(model: Traits, outputs: int) -> bool:
    return {"score.0.weight", "score.2.weight"} <= set(model.names) and model.outputs("score.2.weight") == outputs
