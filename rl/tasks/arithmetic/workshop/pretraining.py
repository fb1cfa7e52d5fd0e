"""Train the world's policy and the base models of its reward models, from scratch or from one another.

Here the tiny models learn the reading and arithmetic that larger language models already know. The published recipes
(`launch.train_reward`) then turn the bases into reward models (`launch.world_rewards`).
"""

from __future__ import annotations

from collections.abc import Callable

from rl.tasks.arithmetic.workshop.batches import Curriculum, outcome_batches, policy_batches, process_batches
from rl.tasks.arithmetic.workshop.building import Workshop, grow, load, new_model
from rl.tasks.arithmetic.workshop.judging import pretrain_judge
from rl.tasks.arithmetic.workshop.multiobjective import pretrain_objectives
from rl.tasks.arithmetic.workshop.writing import Writer

SLIPS = 0.3
"""The probability that a step in the policy's training data is wrong. The policy is then right about 2 times in 5."""


def train_policy(workshop: Workshop) -> float:
    """Supervised fine-tuning on solutions with slips: a policy that knows the method but often makes mistakes."""
    schedule = workshop.schedule(updates=800, batch=64, muon_rate=5e-3, adam_rate=2e-3)
    writer = Writer(workshop.tokenizer)
    batches = policy_batches(writer, workshop.world, workshop.seed, schedule.batch, SLIPS)
    return workshop.train("policy", new_model(workshop.tokenizer), batches, schedule)


def pretrain_process_model(workshop: Workshop) -> float:
    """Train a process reward model from scratch on the curriculum of exercises."""
    schedule = workshop.schedule(updates=4000, batch=32, muon_rate=5e-3, adam_rate=2e-3)
    curriculum = Curriculum(Writer(workshop.tokenizer), workshop.world, workshop.seed, schedule.batch)
    return workshop.train("school", new_model(workshop.tokenizer), curriculum, schedule, curriculum.record_loss)


def base_of_process_model(workshop: Workshop) -> float:
    """Continue the pretrained process model on whole solutions only, until the learning rate has decayed."""
    schedule = workshop.schedule(updates=2000, batch=32, muon_rate=3e-3, adam_rate=1e-3)
    batches = process_batches(Writer(workshop.tokenizer), workshop.world, workshop.seed + 100, schedule.batch)
    return workshop.train("process_base", load(workshop.folder / "school"), batches, schedule)


def pretrain_outcome_model(workshop: Workshop) -> float:
    """Train the pretrained process model, which already detects mistakes, to judge a solution in one turn."""
    schedule = workshop.schedule(updates=1500, batch=32, muon_rate=3e-3, adam_rate=1e-3)
    batches = outcome_batches(Writer(workshop.tokenizer), workshop.world, workshop.seed + 200, schedule.batch)
    return workshop.train("outcome_school", load(workshop.folder / "school"), batches, schedule)


def base_of_outcome_model(workshop: Workshop) -> float:
    """Train twice more from a high learning rate, then a third time with two extra layers.

    The extra layers raise the AUC after the third round from 0.923 to 0.927 (docs/results/models.md).
    """
    writer, loss, start = Writer(workshop.tokenizer), 0.0, "outcome_school"
    for fall, marked in ((300, None), (400, None), (500, 0.5)):
        schedule = workshop.schedule(updates=2000, batch=32, muon_rate=3e-3, adam_rate=1e-3)
        batches = outcome_batches(writer, workshop.world, workshop.seed + fall, schedule.batch, marked)
        model = load(workshop.folder / start)
        loss = workshop.train("outcome_base", grow(model, 2) if marked else model, batches, schedule)
        start = "outcome_base"
    return loss


TRAINERS: dict[str, Callable[[Workshop], float]] = {
    "school": pretrain_process_model,
    "outcome_school": pretrain_outcome_model,
    "outcome_base": base_of_outcome_model,
    "objectives_base": pretrain_objectives,
    "policy": train_policy,
    "judge_base": pretrain_judge,
    "process_base": base_of_process_model,
}
"""The trained models, longest dependency chain first. Only the policy is shipped."""

STARTS_FROM = {
    "outcome_school": "school",
    "outcome_base": "outcome_school",
    "objectives_base": "outcome_base",
    "process_base": "school",
}
"""The model that each of these continues from; the others start from scratch."""
