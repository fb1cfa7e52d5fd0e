"""Compare layouts of a process reward model's rows in a forward pass: `python -m launch.bench.layout`.

Measures the tokens per second (not counting padding) of forward and backward passes on one thread, on conversations
from the arithmetic world. `padded` keeps the rows in their order, `balanced` puts rows of similar length together, and
`packed` concatenates rows into one, with attention only within each. The last two are the values of
recipe.training.layout. The layouts are timed in turn for several rounds (processor seconds on a CPU), and the best
round counts, so that other work on the machine has little effect.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from launch.bench.timing import once
from rewards.chat import ChatTemplate
from rewards.training.examples import Marked, mark_signs
from rewards.training.row_formats import parse_signs
from rl.learner.batching import Micro
from rl.reward_training.planning import lay_out, plan_micros
from rl.reward_training.settings import Layout
from rl.tasks.arithmetic.workshop.training_rows import draw_rows
from rl.tasks.arithmetic.workshop.vocabulary import build_tokenizer

LABELS = ("+", "-")


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print a table. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m launch.bench.layout", description=__doc__, allow_abbrev=False)
    parser.add_argument("--rows", type=int, default=64, help="conversations per optimizer step (64)")
    parser.add_argument("--budget", type=int, nargs="+", default=[1024, 4096], help="tokens per pass (1024 4096)")
    parser.add_argument("--hidden", type=int, default=128, help="width of the model, which has 4 layers (128)")
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds, of which the best counts (5)")
    options = parser.parse_args(words)
    torch.set_num_threads(1)
    template = ChatTemplate(build_tokenizer())
    rows = [parse_signs(row, LABELS) for row in draw_rows("prm", options.rows)]
    items = mark_signs(template, rows, LABELS, None, "positive")
    tokens = sum(len(item) for item in items)
    model = new_model(len(template.tokenizer), options.hidden)
    print(f"{len(items)} conversations, {tokens} tokens, longest {max(map(len, items))}; model {options.hidden} wide")
    for budget in options.budget:
        plans = layouts(items, budget)
        best = dict.fromkeys(plans, float("inf"))
        for _ in range(options.rounds):
            for name, (layout, micros) in plans.items():
                seconds = once(partial(step, model, items, layout, micros))
                best[name] = min(best[name], seconds)
        for name, seconds in best.items():
            ratio = best["padded"] / seconds
            print(f"budget {budget:5}  {name:8}  {tokens / seconds:8.0f} tokens/s  {ratio:.2f} x padded")
        print(f"budget {budget:5}  balanced : packed = {best['packed'] / best['balanced']:.2f} : 1")
    return 0


def new_model(vocabulary: int, hidden: int) -> LlamaForCausalLM:
    """A Llama with random weights and the attention implementation that training uses."""
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=8192,
    )
    return LlamaForCausalLM._from_config(config, attn_implementation="sdpa")


def layouts(items: Sequence[Marked], budget: int) -> dict[str, tuple[Layout, list[Micro]]]:
    """Each layout's micro-batches. Those of `padded` have as many rows as those of `balanced` on average."""
    lengths = [len(item) for item in items]
    everything = list(range(len(items)))
    [balanced] = plan_micros(lengths, everything, 1, budget, "balanced")
    [packed] = plan_micros(lengths, everything, 1, budget, "packed")
    size = max(1, len(items) // len(balanced))
    padded = [everything[start : start + size] for start in range(0, len(items), size)]
    return {"padded": ("balanced", padded), "balanced": ("balanced", balanced), "packed": ("packed", packed)}


def step(model: Any, items: Sequence[Marked], layout: Layout, micros: Sequence[Micro]) -> None:
    """Run the forward and backward passes of all micro-batches."""
    for micro in micros:
        chosen = [items[row] for row in micro]
        ids, positions, starts = lay_out([item.ids for item in chosen], layout)
        hidden = model.get_decoder()(input_ids=ids, position_ids=positions, use_cache=False).last_hidden_state
        read = torch.cat(
            [
                hidden[row, torch.as_tensor(item.positions).long() + start]
                for item, (row, start) in zip(chosen, starts, strict=True)
            ]
        )
        targets = torch.cat([torch.as_tensor(item.targets).long() for item in chosen])
        nn.functional.cross_entropy(model.get_output_embeddings()(read).float(), targets, reduction="sum").backward()
    model.zero_grad()


if __name__ == "__main__":
    sys.exit(main())
