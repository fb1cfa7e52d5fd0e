"""What `launch.bench.rewards` measures with: its options, random models of a chosen shape, solutions to be scored."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from rewards.builder import ConfigurationError, checked, unknown_key
from rewards.engines.armorm_model import ArmoRewardModel, armorm_config, save_armorm
from rewards.engines.options import DTYPES, Precision, pick_device
from rewards.types import Group, Problem, Response
from rl.tasks.arithmetic.story import tell
from rl.tasks.arithmetic.workshop.attributes import OBJECTIVES
from rl.tasks.arithmetic.workshop.mistakes import stumble
from rl.tasks.arithmetic.workshop.vocabulary import build_tokenizer

SHAPES: dict[str, dict[str, int]] = {
    "shipped": dict(hidden_size=128, num_hidden_layers=4, num_attention_heads=4, intermediate_size=256, vocab_size=538),
    "tiny": dict(hidden_size=192, num_hidden_layers=6, num_attention_heads=6, intermediate_size=512, vocab_size=2048),
    "m100": dict(
        hidden_size=768, num_hidden_layers=14, num_attention_heads=12, intermediate_size=2048, vocab_size=8192
    ),
    "8b": dict(
        hidden_size=4096,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        intermediate_size=14336,
        vocab_size=128256,
    ),
}
LARGE_VOCABULARY = 128_256

FAMILIES = ("labels", "armorm", "groups", "judge")


@dataclass(frozen=True)
class Options:
    """What may be written as key=value on the command line."""

    size: str = "tiny"  # shipped (0.7M parameters), tiny (3M), m100 (100M) or 8b (Llama-3.1-8B's shape)
    model: str = ""  # a model's folder instead, whose turns end in `+` and one more token
    what: str = "labels,armorm,groups,judge"  # what to measure: any of labels, armorm, groups, judge
    judge: str = ""  # folder of a judge, its compare.md beside the weights
    groups: int = 64  # groups of 8 responses, for the judge and for `groups`
    solutions: int = 256  # solutions to score
    days: int = 7  # days of their problems, a step each, and a line for the answer; 0: 2 to 4, as in the world
    baseline: int = 0  # solutions for the slow way, scaled up to all; 0: all of them
    repeat: int = 2  # the median is shown
    dtype: Precision = "fp32"
    batch_tokens: int = 0  # tokens of a forward pass; 0: the default of the device
    vllm: bool = True  # measure the vLLM engine too
    memory: bool = True  # measure memory with a vocabulary of 128k
    peak_tflops: float = 0.0  # the device's peak in TFLOP/s, to show the share of it; 0: not shown


def options_of(words: Sequence[str]) -> Options:
    """Options from `key=value` words. Raises ConfigurationError for a word that is none."""
    types = get_type_hints(Options)
    given: dict[str, Any] = {}
    for word in words:
        key, _, value = word.partition("=")
        if key not in types:
            raise ConfigurationError(unknown_key(key, "", list(types)))
        parse: dict[type, Callable[[str], Any]] = {
            int: int,
            float: float,
            bool: {"true": True, "false": False}.__getitem__,
        }
        try:
            given[key] = checked(parse.get(types[key], str)(value), types[key], key, "")
        except (ValueError, KeyError) as error:
            raise ConfigurationError(f"{word}: not a value of {key}") from error
    options = Options(**given)
    if options.size not in SHAPES:
        raise ConfigurationError(f"size must be one of {', '.join(SHAPES)}, not {options.size}")
    unknown = [name for name in options.what.split(",") if name not in FAMILIES]
    if unknown:
        raise ConfigurationError(f"what: {unknown[0]!r} is none of {', '.join(FAMILIES)}")
    if options.what == "judge" and not options.judge:
        raise ConfigurationError("what=judge needs judge=FOLDER, a judge with its compare.md")
    return options


def make_config(options: Options, vocabulary: int | None = None) -> LlamaConfig:
    """The config of the chosen shape, with another vocabulary if wanted."""
    shape = dict(SHAPES[options.size])
    if vocabulary is not None:
        shape["vocab_size"] = vocabulary
    return LlamaConfig(**shape, max_position_embeddings=4096, tie_word_embeddings=False)


def make_model(folder: Path, options: Options, vocabulary: int | None = None) -> str:
    """Save a random Llama of the chosen shape with the arithmetic world's tokenizer; returns its folder."""
    torch.manual_seed(0)
    with torch.device(pick_device("auto")):
        model = LlamaForCausalLM(make_config(options, vocabulary))
    model.to(DTYPES[options.dtype]).save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return str(folder)


def make_armorm(folder: Path, options: Options) -> str:
    """Save a random ArmoRM of the chosen shape in the published layout; returns its folder."""
    torch.manual_seed(0)
    with torch.device(pick_device("auto")):
        model = ArmoRewardModel(armorm_config(make_config(options), OBJECTIVES))
    model.model.to(DTYPES[options.dtype])
    return str(save_armorm(model, build_tokenizer(), folder))


def make_groups(count: int, days: int = 7) -> list[Group]:
    """`count` different problems of the arithmetic world, each with its solution of `days` + 1 steps (0: 3 to 5)."""
    generator = random.Random(0)
    stories = [tell(generator, days or generator.randint(2, 4), 50) for _ in range(count)]
    return [
        Group(Problem(str(number), story.problem), (Response("\n".join(story.lines)),))
        for number, story in enumerate(stories)
    ]


def make_rollout(count: int, responses: int = 8, days: int = 0, told_before: int = 0) -> list[Group]:
    """`count` problems with `responses` hasty solutions each, as the loop would have them judged.

    `days` + 1 steps (0: 3 to 5). `told_before` other problems are told first, which lengthens the text to read.
    """
    generator = random.Random(0)
    stories = [tell(generator, days or generator.randint(2, 4), 20) for _ in range(count)]
    before = [tell(generator, days or 3, 20).problem for _ in range(told_before)]
    return [
        Group(
            Problem(str(number), "\n".join([*before[number % 2 :], *before[: number % 2], story.problem])),
            tuple(Response("\n".join(stumble(generator, story, 0.22))) for _ in range(responses)),
        )
        for number, story in enumerate(stories)
    ]
