"""The world's policy, and the base models of its reward models: architecture, school and folder of each.

What a language model of any size brings along, reading and arithmetic, these tiny ones learn here, from nothing; the
published recipes (`launch.train_reward`) then make reward models of the bases (`launch.world_rewards`).

A model is an ordinary Llama folder: config, float16 safetensors (half the size; scores move by less than 1e-2),
tokenizer with its chat template. Training runs in bfloat16 over float32 weights.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from rewards.training.causal import Example, Schedule, train
from rl.tasks.arithmetic.judging import school_judge
from rl.tasks.arithmetic.multiobjective import school_objectives
from rl.tasks.arithmetic.recipes import Curriculum, outcome_batches, policy_batches, process_batches
from rl.tasks.arithmetic.vocabulary import build_tokenizer, save_tokenizer
from rl.tasks.arithmetic.writing import World, Writer

SLIPS = 0.3
"""How often a step of the policy's training data slips: leaves it right in about two solutions of five."""


@dataclass(frozen=True)
class Workshop:
    """What a recipe needs: where to put models, the world, the seed, and how much of the full training to do."""

    folder: Path
    tokenizer: PreTrainedTokenizerFast
    world: World = field(default_factory=World)
    seed: int = 1
    scale: float = 1.0  # 1: the full recipe; a test takes a hundredth
    report: Callable[[str], None] = print

    def train(
        self,
        name: str,
        model: LlamaForCausalLM,
        batches: Iterator[list[Example]],
        schedule: Schedule,
        heard: Callable[[float], None] = lambda loss: None,
    ) -> float:
        """Train, tell of it now and then, save the model; returns the loss of the last tenth of the updates."""

        def report(update: int, loss: float, seconds: float) -> None:
            heard(loss)
            if update % 100 == 0 or update + 1 == schedule.updates:
                self.report(f"{name}: update {update + 1}/{schedule.updates}, loss {loss:.3f}, {seconds:.0f} s")

        loss = train(model, batches, schedule, Writer(self.tokenizer).signs, report)
        save(model, self.folder / name)
        return loss

    def schedule(self, updates: int, batch: int, muon_rate: float, adam_rate: float) -> Schedule:
        """The recipe's schedule, shrunk by `scale`."""
        return Schedule(
            updates=max(int(updates * self.scale), 2),
            batch=batch if self.scale >= 1 else max(int(batch * self.scale), 4),
            muon_rate=muon_rate,
            adam_rate=adam_rate,
        )


def new_model(tokenizer: PreTrainedTokenizerFast, seed: int = 0) -> LlamaForCausalLM:
    """A Llama of 0.7 million parameters with random weights, the same ones for the same seed.

    Its heads are 32 wide, the least that vLLM's attention on CPU takes.
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
    # Plain attention: twice as fast as the fused one in bfloat16 on CPU at this size.
    return LlamaForCausalLM._from_config(config, attn_implementation="eager")


def load(folder: Path) -> LlamaForCausalLM:
    """A saved model, ready to be trained on."""
    return LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")


def save(model: LlamaForCausalLM, folder: Path) -> None:
    """Write model and tokenizer the ordinary way, weights in float16."""
    folder.mkdir(parents=True, exist_ok=True)
    copy.deepcopy(model).half().save_pretrained(folder)
    save_tokenizer(folder)


def train_policy(workshop: Workshop) -> float:
    """Supervised fine-tuning on hasty solutions: a policy that knows the way and often stumbles."""
    schedule = workshop.schedule(updates=800, batch=64, muon_rate=5e-3, adam_rate=2e-3)
    writer = Writer(workshop.tokenizer)
    batches = policy_batches(writer, workshop.world, workshop.seed, schedule.batch, SLIPS)
    return workshop.train("policy", new_model(workshop.tokenizer), batches, schedule)


def school_process_model(workshop: Workshop) -> float:
    """A process reward model from nothing, by the curriculum of exercises."""
    schedule = workshop.schedule(updates=4000, batch=32, muon_rate=5e-3, adam_rate=2e-3)
    curriculum = Curriculum(Writer(workshop.tokenizer), workshop.world, workshop.seed, schedule.batch)
    return workshop.train("school", new_model(workshop.tokenizer), curriculum, schedule, curriculum.heard)


def base_of_process_model(workshop: Workshop) -> float:
    """The schooled one continues with whole solutions only, until the learning rate is spent."""
    schedule = workshop.schedule(updates=2000, batch=32, muon_rate=3e-3, adam_rate=1e-3)
    batches = process_batches(Writer(workshop.tokenizer), workshop.world, workshop.seed + 100, schedule.batch)
    return workshop.train("process_base", load(workshop.folder / "school"), batches, schedule)


def school_outcome_model(workshop: Workshop) -> float:
    """The schooled process model, which already knows what can go wrong, learns to judge a solution in one turn."""
    schedule = workshop.schedule(updates=1500, batch=32, muon_rate=3e-3, adam_rate=1e-3)
    batches = outcome_batches(Writer(workshop.tokenizer), workshop.world, workshop.seed + 200, schedule.batch)
    return workshop.train("outcome_school", load(workshop.folder / "school"), batches, schedule)


def base_of_outcome_model(workshop: Workshop) -> float:
    """Twice more from a high learning rate, then a third time with two more layers.

    With the two layers the third gains more than without (AUC 0.927 against 0.923, docs/results/models.md).
    """
    writer, loss, start = Writer(workshop.tokenizer), 0.0, "outcome_school"
    for fall, marked in ((300, None), (400, None), (500, 0.5)):
        schedule = workshop.schedule(updates=2000, batch=32, muon_rate=3e-3, adam_rate=1e-3)
        batches = outcome_batches(writer, workshop.world, workshop.seed + fall, schedule.batch, marked)
        model = load(workshop.folder / start)
        loss = workshop.train("outcome_base", grow(model, 2) if marked else model, batches, schedule)
        start = "outcome_base"
    return loss


def grow(model: LlamaForCausalLM, layers: int) -> LlamaForCausalLM:
    """The same model with this many more layers on top, which add nothing to the states until they are trained.

    The new layers are copies of the last one with the matrices that write to the states set to zero.
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


SCHOOLS: dict[str, Callable[[Workshop], float]] = {
    "school": school_process_model,
    "outcome_school": school_outcome_model,
    "outcome_base": base_of_outcome_model,
    "objectives_base": school_objectives,
    "policy": train_policy,
    "judge_base": school_judge,
    "process_base": base_of_process_model,
}
"""What is learned here, the longest chain first. Only the policy is shipped."""

STARTS_FROM = {
    "outcome_school": "school",
    "outcome_base": "outcome_school",
    "objectives_base": "outcome_base",
    "process_base": "school",
}
"""Which model a school continues from; the others start from nothing."""
