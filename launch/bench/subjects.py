"""The inputs of `launch.bench.rewards`: its options, random models of a chosen shape, and solutions to score."""

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
from rl.tasks.arithmetic.story import draw_story
from rl.tasks.arithmetic.workshop.attributes import OBJECTIVES
from rl.tasks.arithmetic.workshop.mistakes import solve_with_slips
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
    """The options that the command line accepts as key=value."""

    size: str = "tiny"  # shipped (0.7M parameters), tiny (3M), m100 (100M) or 8b (Llama-3.1-8B's shape)
    model: str = ""  # folder of a model to use instead; its turns must end in `+` and one more token
    what: str = "labels,armorm,groups,judge"  # what to measure: any of labels, armorm, groups, judge
    judge: str = ""  # folder of a judge, with its weights and compare.md
    groups: int = 64  # number of groups of 8 responses, for `judge` and `groups`
    solutions: int = 256  # number of solutions to score
    days: int = 7  # days per problem: one step per day, and a line for the answer; 0: 2 to 4 days, as in the task
    baseline: int = 0  # number of solutions for the slow method, whose time is scaled up; 0: all of them
    repeat: int = 2  # number of measurements, of which the median is shown
    dtype: Precision = "fp32"
    batch_tokens: int = 0  # tokens per forward pass; 0: the device's default
    vllm: bool = True  # measure the vLLM engine too
    memory: bool = True  # measure memory with a vocabulary of 128k
    peak_tflops: float = 0.0  # the device's peak in TFLOP/s, to show what share of it is used; 0: do not show it


def options_of(words: Sequence[str]) -> Options:
    """Parse `key=value` words. Raises ConfigurationError for an unknown key or a bad value."""
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
        raise ConfigurationError(f"what must name only {', '.join(FAMILIES)}, not {unknown[0]!r}")
    if options.what == "judge" and not options.judge:
        raise ConfigurationError("what=judge needs judge=FOLDER, the folder of a judge with its compare.md")
    return options


def make_config(options: Options, vocabulary: int | None = None) -> LlamaConfig:
    """The configuration of the chosen shape, optionally with another vocabulary size."""
    shape = dict(SHAPES[options.size])
    if vocabulary is not None:
        shape["vocab_size"] = vocabulary
    return LlamaConfig(**shape, max_position_embeddings=4096, tie_word_embeddings=False)


def make_model(folder: Path, options: Options, vocabulary: int | None = None) -> str:
    """Save a random Llama of the chosen shape with the arithmetic world's tokenizer. Returns its folder."""
    torch.manual_seed(0)
    with torch.device(pick_device("auto")):
        model = LlamaForCausalLM(make_config(options, vocabulary))
    model.to(DTYPES[options.dtype]).save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return str(folder)


def make_armorm(folder: Path, options: Options) -> str:
    """Save a random ArmoRM of the chosen shape in the published layout. Returns its folder."""
    torch.manual_seed(0)
    with torch.device(pick_device("auto")):
        model = ArmoRewardModel(armorm_config(make_config(options), OBJECTIVES))
    model.model.to(DTYPES[options.dtype])
    return str(save_armorm(model, build_tokenizer(), folder))


def make_groups(count: int, days: int = 7) -> list[Group]:
    """`count` problems of the arithmetic world, each with a correct solution of `days` + 1 steps (0 days: 3 to 5)."""
    generator = random.Random(0)
    stories = [draw_story(generator, days or generator.randint(2, 4), 50) for _ in range(count)]
    return [
        Group(Problem(str(number), story.problem), (Response("\n".join(story.lines)),))
        for number, story in enumerate(stories)
    ]


def make_rollout(count: int, responses: int = 8, days: int = 0, told_before: int = 0) -> list[Group]:
    """`count` problems with `responses` solutions each, some of them with mistakes, like the groups in training.

    Solutions have `days` + 1 steps (0 days: 3 to 5). `told_before` other problems are put in front to make the text
    longer.
    """
    generator = random.Random(0)
    stories = [draw_story(generator, days or generator.randint(2, 4), 20) for _ in range(count)]
    before = [draw_story(generator, days or 3, 20).problem for _ in range(told_before)]
    return [
        Group(
            Problem(str(number), "\n".join([*before[number % 2 :], *before[: number % 2], story.problem])),
            tuple(Response("\n".join(solve_with_slips(generator, story, 0.22))) for _ in range(responses)),
        )
        for number, story in enumerate(stories)
    ]
