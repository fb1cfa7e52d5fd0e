"""All protocols of the reward service, by name and by path."""

from __future__ import annotations

from rewards.serving.form import Form
from rewards.serving.llamafactory import LlamaFactoryForm
from rewards.serving.nemo_gym import CompareForm, VerifyForm
from rewards.serving.openrlhf import BatchedForm, OpenRLHFForm
from rewards.serving.own import OwnForm
from rewards.serving.slime import SlimeDictForm, SlimeForm
from rewards.serving.vllm import ClassifyForm, PoolingForm, SGLangForm

FORMS: tuple[Form, ...] = (
    OwnForm(),
    OpenRLHFForm(),
    BatchedForm(),
    SlimeForm(),
    SlimeDictForm(),
    LlamaFactoryForm(),
    ClassifyForm(),
    SGLangForm(),
    PoolingForm(),
    VerifyForm(),
    CompareForm(),
)


def form_named(name: str) -> Form:
    """The form of this name. Raises ValueError if there is none."""
    for form in FORMS:
        if form.name == name:
            return form
    raise ValueError(f"form must be one of {', '.join(form.name for form in FORMS)}, not {name!r}")


def by_path() -> dict[str, list[Form]]:
    """The forms that each path answers."""
    found: dict[str, list[Form]] = {}
    for form in FORMS:
        found.setdefault(form.path, []).append(form)
    return found
