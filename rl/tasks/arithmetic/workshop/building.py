"""Create, train, load, save and extend the world's models.

A model is an ordinary Llama folder: configuration, float16 safetensors (half the size; scores change by less than
1e-2), and tokenizer with its chat template. Training is in bfloat16 with float32 weights.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from rewards.training.causal import Example, Schedule, train
from rl.tasks.arithmetic.workshop.vocabulary import build_tokenizer, save_tokenizer
from rl.tasks.arithmetic.workshop.writing import Writer
from rl.tasks.arithmetic.world import World


@dataclass(frozen=True)
class Workshop:
    """The common settings of all trainings: folder, tokenizer, world, seed, and how much of the full training to do."""

    folder: Path
    tokenizer: PreTrainedTokenizerFast
    world: World = field(default_factory=World)
    seed: int = 1
    scale: float = 1.0  # 1: the full training; tests use a hundredth
    report: Callable[[str], None] = print

    def train(
        self,
        name: str,
        model: LlamaForCausalLM,
        batches: Iterator[list[Example]],
        schedule: Schedule,
        on_loss: Callable[[float], None] = lambda loss: None,
    ) -> float:
        """Train with occasional progress reports and save the model; returns the loss of the last tenth of the updates.

        `on_loss` is called with each update's loss.
        """

        def report(update: int, loss: float, seconds: float) -> None:
            on_loss(loss)
            if update % 100 == 0 or update + 1 == schedule.updates:
                self.report(f"{name}: update {update + 1}/{schedule.updates}, loss {loss:.3f}, {seconds:.0f} s")

        loss = train(model, batches, schedule, Writer(self.tokenizer).signs, report)
        save(model, self.folder / name)
        return loss

    def schedule(self, updates: int, batch: int, muon_rate: float, adam_rate: float) -> Schedule:
        """The schedule with its updates and batch size multiplied by `scale`."""
        return Schedule(
            updates=max(int(updates * self.scale), 2),
            batch=batch if self.scale >= 1 else max(int(batch * self.scale), 4),
            muon_rate=muon_rate,
            adam_rate=adam_rate,
        )


def new_model(tokenizer: PreTrainedTokenizerFast, seed: int = 0) -> LlamaForCausalLM:
    """A Llama of 0.7 million parameters with random weights; the same seed gives the same weights.

    Its attention heads have 32 dimensions, the minimum for vLLM's attention on a CPU.
    """
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    # Eager attention: at this size, twice as fast as the fused kernels in bfloat16 on a CPU.
    return LlamaForCausalLM._from_config(config, attn_implementation="eager")


def load(folder: Path) -> LlamaForCausalLM:
    """Load a saved model for further training."""
    return LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")


def save(model: LlamaForCausalLM, folder: Path) -> None:
    """Write model and tokenizer in Hugging Face format, weights in float16."""
    folder.mkdir(parents=True, exist_ok=True)
    copy.deepcopy(model).half().save_pretrained(folder)
    save_tokenizer(folder)


def grow(model: LlamaForCausalLM, layers: int) -> LlamaForCausalLM:
    """The model with `layers` more layers on top, which do not change the hidden states until they are trained.

    The new layers are copies of the last one, with the matrices that write to the hidden states set to zero.
    """
    config = copy.deepcopy(model.config)
    config.num_hidden_layers += layers
    if getattr(config, "layer_types", None):
        config.layer_types = [config.layer_types[0]] * config.num_hidden_layers
    grown = LlamaForCausalLM._from_config(config, attn_implementation="eager")
    weights = model.state_dict()
    last = f"model.layers.{model.config.num_hidden_layers - 1}."
    for index in range(model.config.num_hidden_layers, config.num_hidden_layers):
        for name in [name for name in weights if name.startswith(last)]:
            writes = name.endswith(("o_proj.weight", "down_proj.weight"))
            new = torch.zeros_like(weights[name]) if writes else weights[name].clone()
            weights[name.replace(last, f"model.layers.{index}.")] = new
    grown.load_state_dict(weights)
    grown.tie_weights()
    return grown


def open_workshop(folder: Path, **options: object) -> Workshop:
    """A workshop with the world's tokenizer."""
    return Workshop(folder, build_tokenizer(), **options)  # type: ignore[arg-type]
