"""How fast the reward models are, as ratios within one run: `python -m launch.bench_rewards size=tiny solutions=256`.

Random Llamas read the arithmetic world's solutions of 8 steps. Measured are: the process reward's one forward against
the published pass for each prefix; the outcome reward in batches against one at a time; the two engines; and the memory
of a forward with a vocabulary of 128k. On a CPU seconds are processor seconds, which a busy machine disturbs less; the
ratios, taken side by side, are what counts.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from launch.nodes import ConfigurationError, checked, unknown_key
from launch.output import quiet
from rewards.engines.transformers import DTYPES, Precision, TransformersEngine, pick_device
from rewards.labels import LabelModel
from rewards.outcome import OutcomeReward
from rewards.process import ProcessReward
from rewards.types import Group, Problem, Response
from rl.tasks.arithmetic.story import tell
from rl.tasks.arithmetic.vocabulary import build_tokenizer

SHAPES: dict[str, dict[str, int]] = {
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


@dataclass(frozen=True)
class Options:
    """What may be written as key=value on the command line."""

    size: str = "tiny"  # tiny (3M parameters), m100 (100M) or 8b (Llama-3.1-8B's shape)
    model: str = ""  # a model's folder instead, whose turns end in `+` and one more token
    solutions: int = 256  # solutions of 8 steps
    baseline: int = 0  # solutions for the slow way, scaled up to all; 0: all of them
    repeat: int = 2  # the median is shown
    dtype: Precision = "fp32"
    batch_tokens: int = 0  # tokens of a forward pass; 0: the default of the device
    vllm: bool = True  # measure the vLLM engine too
    memory: bool = True  # measure memory with a vocabulary of 128k
    peak_tflops: float = 0.0  # the device's peak in TFLOP/s, to show the share of it; 0: not shown


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print a table. Returns the exit code."""
    words = list(sys.argv[1:] if words is None else words)
    if any(word in ("-h", "--help") for word in words):
        print(__doc__)
        return 0
    try:
        options = options_of(words)
    except ConfigurationError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as name, quiet(Path(name) / "log") as screen:
        console = Console(file=screen, highlight=False)
        try:
            measure(options, Path(name), console)
        except Exception:
            console.print((Path(name) / "log").read_text(errors="replace")[-2000:], markup=False)
            raise
    return 0


def options_of(words: Sequence[str]) -> Options:
    """Options from `key=value` words. Raises ConfigurationError for a word that is none."""
    types = get_type_hints(Options)
    given: dict[str, Any] = {}
    for word in words:
        key, _, value = word.partition("=")
        if key not in types:
            raise ConfigurationError(unknown_key(key, "", list(types)))
        parse: dict[type, Callable[[str], Any]] = {int: int, float: float, bool: lambda text: text.lower() == "true"}
        try:
            given[key] = checked(parse.get(types[key], str)(value), types[key], key, "")
        except ValueError as error:
            raise ConfigurationError(f"{word}: not a value of {key}") from error
    options = Options(**given)
    if options.size not in SHAPES:
        raise ConfigurationError(f"size must be one of {', '.join(SHAPES)}, not {options.size}")
    return options


def measure(options: Options, folder: Path, console: Console) -> None:
    """Every measurement, each shown as soon as it is there."""
    model = options.model or make_model(folder / "model", options)
    groups = make_groups(options.solutions)
    console.print(
        f"{options.model or options.size} {options.dtype}, {options.solutions} solutions of 8 steps, "
        f"{torch.get_num_threads()} threads, {pick_device('auto')}; median of {options.repeat}"
    )
    common: dict[str, Any] = {"dtype": options.dtype, "batch_tokens": options.batch_tokens or None}
    process = ProcessReward(model, **common)
    table = Table("what", "seconds", "solutions/s", "times faster")
    fast = median(options.repeat, lambda: process.score(groups))
    share = options.baseline or options.solutions
    slow = once(lambda: pass_per_prefix(process, groups[:share])) * options.solutions / share
    row(table, "PRM, the published way: a pass for each prefix", slow, options.solutions, slow)
    row(table, "PRM, one forward in batches", fast, options.solutions, slow)
    outcome = OutcomeReward(model, **common)
    slow = once(lambda: one_at_a_time(outcome, groups))
    row(table, "ORM, the published way: one at a time", slow, options.solutions, slow)
    row(table, "ORM in batches", median(options.repeat, lambda: outcome.score(groups)), options.solutions, slow)
    if options.vllm:
        pooled = ProcessReward(model, engine="vllm", dtype=options.dtype, max_tokens=2048)
        on_vllm = median(options.repeat, lambda: pooled.score(groups))
        # Again beside it: the machine may be busier now than at the start.
        fast = median(options.repeat, lambda: process.score(groups))
        row(table, "PRM on vLLM", on_vllm, options.solutions, on_vllm)
        row(table, "PRM on transformers", fast, options.solutions, on_vllm)
    console.print(table)
    if options.peak_tflops:
        share_of_peak = flops(process, groups) / fast / 1e12 / options.peak_tflops
        console.print(f"share of {options.peak_tflops:g} TFLOP/s: {share_of_peak:.1%}")
    if options.memory:
        console.print(memory_line(folder, options))


def make_model(folder: Path, options: Options, vocabulary: int | None = None) -> str:
    """Save a random Llama of the chosen shape with the arithmetic world's tokenizer; returns its folder."""
    shape = dict(SHAPES[options.size])
    if vocabulary is not None:
        shape["vocab_size"] = vocabulary
    config = LlamaConfig(**shape, max_position_embeddings=4096, tie_word_embeddings=False)
    torch.manual_seed(0)
    with torch.device(pick_device("auto")):
        LlamaForCausalLM(config).to(DTYPES[options.dtype]).save_pretrained(folder)
    build_tokenizer().save_pretrained(folder)
    return str(folder)


def make_groups(count: int) -> list[Group]:
    """`count` different problems of the arithmetic world, each with its solution of 8 steps."""
    generator = random.Random(0)
    stories = [tell(generator, 7, 50) for _ in range(count)]
    return [
        Group(Problem(str(number), story.problem), (Response("\n".join(story.lines)),))
        for number, story in enumerate(stories)
    ]


def pass_per_prefix(reward: ProcessReward, groups: Sequence[Group]) -> list[list[float]]:
    """The published procedure: for every step a forward over everything up to it."""
    score = published(reward.model)
    scores = []
    for group in groups:
        conversation: list[dict[str, str]] = []
        values = []
        for number, step in enumerate(group.responses[0].text.split("\n")):
            content = f"{group.problem.text} {step}" if number == 0 else step
            conversation += [{"role": "user", "content": content}, {"role": "assistant", "content": "+"}]
            values.append(score(conversation))
        scores.append(values)
    return scores


def one_at_a_time(reward: OutcomeReward, groups: Sequence[Group]) -> list[float]:
    """The published procedure: a forward for every solution."""
    score = published(reward.model)
    texts = [f"{group.problem.text} {group.responses[0].text}" for group in groups]
    return [score([{"role": "user", "content": text}, {"role": "assistant", "content": "+"}]) for text in texts]


def published(labels: LabelModel) -> Callable[[list[dict[str, str]]], float]:
    """The authors' scoring of one conversation: apply_chat_template, all logits, the third last position."""
    engine = labels.engine
    assert isinstance(engine, TransformersEngine)
    model = AutoModelForCausalLM.from_pretrained(engine.path, dtype=engine.dtype).to(engine.device)
    tokenizer, ids = labels.template.tokenizer, list(labels.label_ids)

    def score(conversation: list[dict[str, str]]) -> float:
        tokens = tokenizer.apply_chat_template(conversation, return_dict=False)
        with torch.no_grad():
            logits = model(torch.tensor([tokens], device=model.device)).logits[0, -3, ids]
        return float(logits.float().softmax(dim=-1)[0])

    return score


def memory_line(folder: Path, options: Options) -> str:
    """Peak memory of scoring with a vocabulary of 128k, against the weights and a small vocabulary's activations."""
    small = peak_bytes(make_model(folder / "small", options, 2048), options)
    large = peak_bytes(make_model(folder / "large", options, LARGE_VOCABULARY), options)
    ratio = (large[0] + large[1]) / (large[0] + small[1])
    return (
        f"memory, vocabulary of 128k: weights {large[0] / 2**20:.0f} MiB, scoring adds {large[1] / 2**20:.0f} MiB "
        f"(vocabulary of 2k: {small[1] / 2**20:.0f}); {ratio:.2f} of the model's own and its activations"
    )


def peak_bytes(model: str, options: Options) -> tuple[int, int]:
    """Bytes of the weights, and what scoring 64 solutions adds at its peak."""
    reward = ProcessReward(model, dtype=options.dtype, batch_tokens=options.batch_tokens or None)
    engine = reward.model.engine
    assert isinstance(engine, TransformersEngine)
    weights = sum(tensor.numel() * tensor.element_size() for tensor in engine.load().parameters())
    groups = make_groups(64)
    with torch.profiler.profile(profile_memory=True) as profile:
        reward.score(groups)
    return weights, peak_of(profile)


def peak_of(profile: Any) -> int:
    """The highest sum of allocations that torch's profiler recorded."""
    held = peak = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


def flops(reward: ProcessReward, groups: Sequence[Group]) -> float:
    """Floating point operations of one forward over all solutions: 2 for each weight of a layer and token."""
    engine = reward.model.engine
    assert isinstance(engine, TransformersEngine)
    decoder = engine.load().base_model
    weights = sum(tensor.numel() for tensor in decoder.layers.parameters())
    users = [[f"{group.problem.text} {group.responses[0].text}"] for group in groups]
    return 2.0 * weights * sum(len(one.ids) for one in reward.model.render(users))


def once(work: Callable[[], Any]) -> float:
    """Seconds of one go: processor seconds of all threads on a CPU, since others may use it; wall seconds on a GPU."""
    clock = time.process_time if pick_device("auto") == "cpu" else time.perf_counter
    started = clock()
    work()
    return clock() - started


def median(repeat: int, work: Callable[[], Any]) -> float:
    """Median seconds of `repeat` goes, after one that is not counted."""
    work()
    return statistics.median(once(work) for _ in range(repeat))


def row(table: Table, what: str, seconds: float, solutions: int, against: float) -> None:
    """A line of the table: how many times faster than `against`."""
    table.add_row(what, f"{seconds:.2f}", f"{solutions / seconds:.1f}", f"{against / seconds:.2f}")


if __name__ == "__main__":
    sys.exit(main())
