"""How fast the reward models are, as ratios within one run: `python -m launch.bench.rewards size=tiny solutions=256`.

Random Llamas read solutions from the arithmetic world, with 8 steps unless `days` says otherwise. It measures:

- the process reward with one forward pass, against the published method, one pass per prefix;
- the outcome reward and ArmoRM in batches, against one response at a time;
- the two engines;
- groups of 8 responses with the problem computed once, against once per response;
- the memory of a forward pass with a vocabulary of 128k;
- with `judge=FOLDER`, a knockout of 8 for many groups in batches, against one match at a time.

On a CPU, seconds are processor seconds, because a busy machine affects them less. The ratios matter most; both sides of
a ratio are measured in the same run. "Same kernels" is the published method with the linear layers that the engine uses
on a CPU (oneDNN), so that the ratio shows the effect of batching alone.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from launch.bench.judge import measure_judge
from launch.bench.memory import flops, memory_line
from launch.bench.published import armorm_one_at_a_time, one_at_a_time, pass_per_prefix, runner_of
from launch.bench.subjects import Options, make_armorm, make_groups, make_model, make_rollout, options_of
from launch.bench.timing import median, once, row
from launch.output import quiet
from rewards.armorm import ArmoRMReward
from rewards.builder import ConfigurationError
from rewards.engines.options import default_batch_tokens, pick_device
from rewards.outcome import OutcomeReward
from rewards.process import ProcessReward


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


def measure(options: Options, folder: Path, console: Console) -> None:
    """Measure what `options.what` asks for, and print each table as soon as it is complete."""
    console.print(
        f"{options.model or options.size} {options.dtype}, {options.solutions} solutions "
        f"of {options.days + 1 if options.days else '3 to 5'} steps, "
        f"{torch.get_num_threads()} threads, {pick_device('auto')}; median of {options.repeat}"
    )
    wanted = options.what.split(",")
    if "labels" in wanted:
        measure_labels(options, folder, console)
    if "armorm" in wanted:
        table = Table("what", "seconds", "solutions/s", "times faster")
        measure_armorm(options, folder, table)
        console.print(table)
    if "groups" in wanted:
        table = Table("what", "seconds", "responses/s", "times faster")
        measure_groups(options, folder, table)
        console.print(table)
    if "judge" in wanted and options.judge:
        table = Table("what", "seconds", "groups/s", "times faster")
        line = measure_judge(options, table)
        console.print(table, line)
    if options.memory:
        console.print(memory_line(folder, options))


def measure_labels(options: Options, folder: Path, console: Console) -> None:
    """Process and outcome reward models."""
    model = options.model or make_model(folder / "model", options)
    groups = make_groups(options.solutions, options.days)
    common: dict[str, Any] = {"dtype": options.dtype, "batch_tokens": options.batch_tokens or None}
    process = ProcessReward(model, **common)
    table = Table("what", "seconds", "solutions/s", "times faster")
    fast = median(options.repeat, lambda: process.score(groups))
    share = options.baseline or options.solutions
    slow = once(lambda: pass_per_prefix(process, groups[:share])) * options.solutions / share
    row(table, "PRM, published method: one pass per prefix", slow, options.solutions, slow)
    row(table, "PRM, one forward pass, in batches", fast, options.solutions, slow)
    outcome = OutcomeReward(model, **common)
    slow = once(lambda: one_at_a_time(outcome, groups))
    row(table, "ORM, published method: one at a time", slow, options.solutions, slow)
    same = once(lambda: one_at_a_time(outcome, groups, same_kernels=True))
    row(table, "ORM, published method, same kernels", same, options.solutions, slow)
    row(table, "ORM in batches", median(options.repeat, lambda: outcome.score(groups)), options.solutions, slow)
    if options.vllm:
        pooled = ProcessReward(model, engine="vllm", dtype=options.dtype, max_tokens=2048)
        on_vllm = median(options.repeat, lambda: pooled.score(groups))
        # Measured again: the machine may be busier now than at the start.
        fast = median(options.repeat, lambda: process.score(groups))
        row(table, "PRM on vLLM", on_vllm, options.solutions, on_vllm)
        row(table, "PRM on transformers", fast, options.solutions, on_vllm)
    console.print(table)
    if options.peak_tflops:
        share_of_peak = flops(process, groups) / fast / 1e12 / options.peak_tflops
        console.print(f"share of {options.peak_tflops:g} TFLOP/s: {share_of_peak:.1%}")


def measure_armorm(options: Options, folder: Path, table: Table) -> None:
    """ArmoRM in batches, against one response at a time."""
    batch_tokens = options.batch_tokens or default_batch_tokens(pick_device("auto"))
    reward = ArmoRMReward(make_armorm(folder / "armorm", options), dtype=options.dtype, batch_tokens=batch_tokens)
    groups = make_groups(options.solutions, options.days)
    fast = median(options.repeat, lambda: reward.score(groups))
    slow = once(lambda: armorm_one_at_a_time(reward, groups))
    same = once(lambda: armorm_one_at_a_time(reward, groups, same_kernels=True))
    row(table, "ArmoRM, published method: one at a time", slow, options.solutions, slow)
    row(table, "ArmoRM, published method, same kernels", same, options.solutions, slow)
    row(table, "ArmoRM in batches", fast, options.solutions, slow)


def measure_groups(options: Options, folder: Path, table: Table) -> None:
    """Groups of 8 responses with 8 steps after a long problem, computed once per group or once per response."""
    groups = make_rollout(options.groups, days=7, told_before=3)
    model = options.model or make_model(folder / "groups", options)
    common: dict[str, Any] = {"dtype": options.dtype, "batch_tokens": options.batch_tokens or None}
    for name, reward in (("PRM", ProcessReward(model, **common)), ("ORM", OutcomeReward(model, **common))):
        shared = median(options.repeat, partial(reward.score, groups))
        runner_of(reward).shares = False
        alone = median(options.repeat, partial(reward.score, groups))
        lengths = [len(reward.template.tokenizer.encode(group.problem.text)) for group in groups]
        problem = f"problem of {statistics.mean(lengths):.0f} tokens"
        row(table, f"{name}, {problem}, once per response", alone, 8 * len(groups), alone)
        row(table, f"{name}, {problem}, once per group", shared, 8 * len(groups), alone)


if __name__ == "__main__":
    sys.exit(main())
