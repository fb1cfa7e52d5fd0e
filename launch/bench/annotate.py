"""How fast launch.annotate is, as ratios within one run: `python -m launch.bench.annotate problems=32 continuations=8`.

It takes the keys of launch.annotate and labels the same kind of problems in four ways: with one call per continuation,
with one call per beginning, with one call per batch, all three without the prefix cache, and with one call per batch
and the prefix cache, as launch.annotate does. The first two label only a sixteenth of the problems. On a CPU, seconds
are processor seconds, because a busy machine affects them less. All four continue identical beginnings only once.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from launch.annotate.annotate_settings import settings_of
from launch.bench.timing import once
from launch.composition import compose, register_resolvers
from launch.configuration import plain
from launch.output import quiet
from rewards.builder import build, one_line
from rewards.engines.options import pick_device
from rewards.engines.vllm_start import start_llm
from rewards.types import Problem
from rl.annotation.labelling import Labeller
from rl.annotation.sources import Source, sources_of
from rl.policy import decode, load_tokenizer, prompt_ids
from rl.settings import PolicySettings, RolloutSettings
from rl.types import AnswerGroup, Sample

WAYS: dict[str, tuple[str, bool]] = {
    "one call per continuation, no prefix cache": ("continuation", False),
    "one call per beginning, no prefix cache": ("beginning", False),
    "one call per batch of problems, no prefix cache": ("batch", False),
    "one call per batch of problems, prefix cache": ("batch", True),
}
"""What one call to the engine contains, and whether it may read the prefix cache."""


class InProcess:
    """An engine in this process with the methods that the labeller needs, called in the way that `way` says."""

    def __init__(self, policy: PolicySettings, rollout: RolloutSettings) -> None:
        own = {"block_size": 32} if pick_device("auto") == "cpu" else {}
        self.llm: Any = start_llm(
            policy.path,
            dtype=policy.dtype,
            max_model_len=rollout.max_model_len,
            gpu_memory=rollout.gpu_memory_utilization,
            max_num_seqs=rollout.max_num_seqs,
            **own,
        )
        self.tokenizer, self.rollout = load_tokenizer(policy.path, policy.chat_template_kwargs), rollout
        self.way, self.cached = "batch", True

    def sample(self, problems: Sequence[Problem], n: int, **options: Any) -> list[AnswerGroup]:
        """Draw `n` solutions of each problem."""
        prompts = [prompt_ids(self.tokenizer, problem) for problem in problems]
        drawn = self.continue_from(prompts, n, **options)
        return [AnswerGroup.drawn(problem, samples) for problem, samples in zip(problems, drawn, strict=True)]

    def continue_from(
        self, beginnings: Sequence[tuple[int, ...]], n: int, *, seed: int, **sampling: Any
    ) -> list[list[Sample]]:
        """Draw `n` continuations of each beginning, in one or many calls as `way` says."""
        torch.manual_seed(seed)
        if self.way == "batch":
            return self._call(beginnings, n, sampling)
        if self.way == "beginning":
            return [self._call([one], n, sampling)[0] for one in beginnings]
        return [[self._call([one], 1, sampling)[0][0] for _ in range(n)] for one in beginnings]

    def forget_prefixes(self) -> None:
        """Drop the prefix cache."""
        self.llm.reset_prefix_cache()

    def _call(self, prompts: Sequence[tuple[int, ...]], n: int, sampling: dict[str, Any]) -> list[list[Sample]]:
        from vllm import SamplingParams

        parameters = SamplingParams(
            n=n,
            max_tokens=self.rollout.max_new_tokens,
            detokenize=False,
            skip_reading_prefix_cache=not self.cached,
            **sampling,
        )
        outputs = self.llm.generate([{"prompt_token_ids": list(ids)} for ids in prompts], parameters, use_tqdm=False)
        return [
            [Sample(ids, (), (), decode(self.tokenizer, one.token_ids), one.finish_reason, 0) for one in output.outputs]
            for ids, output in zip(prompts, outputs, strict=True)
        ]


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print a table. Returns the exit code."""
    words = list(sys.argv[1:] if words is None else words)
    if any(word in ("-h", "--help") for word in words):
        print(__doc__)
        return 0
    register_resolvers()
    try:
        config = plain(compose(["problems=32", *words, "folder=unused"], "annotate")[0].config)
        settings = settings_of(config)
        policy, task, rollout = (build(config[name], name, f"configs/{name}") for name in ("policy", "task", "rollout"))
        tokenizer = load_tokenizer(policy.path, policy.chat_template_kwargs)
        path, seed = None if settings.input is None else Path(settings.input), settings.seed
        sources = sources_of(
            path, task, rollout, tokenizer, fields=settings.fields, problems=settings.problems, seed=seed
        ).rows
    except (ValueError, OSError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as name, quiet(Path(name) / "log") as screen:
        sampler = InProcess(policy, rollout)
        labeller = Labeller(sampler, rollout, task.grade, **settings.labelling)  # type: ignore[arg-type]
        table = measure(sampler, labeller.label, sources)
        console = Console(file=screen, highlight=False)
        console.print(
            f"{len(sources)} problems x {rollout.responses} solutions x {settings.continuations} continuations per step"
        )
        console.print(table)
    return 0


def measure(
    sampler: InProcess, label: Callable[[Sequence[Source], int], list[dict[str, Any]]], sources: Sequence[Source]
) -> Table:
    """A table with each way's speed in problems per minute, and relative to the first way."""
    table = Table("way", "problems/min", "times", box=None)
    label(sources[:1], 0)
    slowest = 0.0
    for name, (sampler.way, sampler.cached) in WAYS.items():
        some = sources if sampler.way == "batch" else sources[: max(1, len(sources) // 16)]
        pace = 60 * len(some) / once(lambda some=some: label(some, 0))  # type: ignore[misc]
        slowest = slowest or pace
        table.add_row(name, f"{pace:.1f}", f"{pace / slowest:.1f}")
    return table


if __name__ == "__main__":
    sys.exit(main())
