"""The published way of scoring, one sequence at a time, as `launch.bench.rewards` measures it against."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from transformers import AutoModelForCausalLM

from rewards.armorm import ArmoRMReward, TransformersArmoEngine, last_occurrence
from rewards.armorm_model import load_armorm
from rewards.engines.onednn import use_onednn
from rewards.engines.transformers import TransformersEngine
from rewards.labels import LabelModel
from rewards.outcome import OutcomeReward
from rewards.process import ProcessReward
from rewards.types import Group


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


def one_at_a_time(reward: OutcomeReward, groups: Sequence[Group], same_kernels: bool = False) -> list[float]:
    """The published procedure: a forward for every solution. With `same_kernels` on the engine's linear layers."""
    score = published(reward.model, same_kernels)
    texts = [f"{group.problem.text} {group.responses[0].text}" for group in groups]
    return [score([{"role": "user", "content": text}, {"role": "assistant", "content": "+"}]) for text in texts]


def published(labels: LabelModel, same_kernels: bool = False) -> Callable[[list[dict[str, str]]], float]:
    """The authors' scoring of one conversation: apply_chat_template, all logits, the third last position."""
    engine = labels.engine
    assert isinstance(engine, TransformersEngine)
    model = AutoModelForCausalLM.from_pretrained(engine.path, dtype=engine.dtype).to(engine.device)
    if same_kernels:
        use_onednn(model)
    tokenizer, ids = labels.template.tokenizer, list(labels.label_ids)

    def score(conversation: list[dict[str, str]]) -> float:
        tokens = tokenizer.apply_chat_template(conversation, return_dict=False)
        with torch.no_grad():
            logits = model(torch.tensor([tokens], device=model.device)).logits[0, -3, ids]
        return float(logits.float().softmax(dim=-1)[0])

    return score


def armorm_one_at_a_time(reward: ArmoRMReward, groups: Sequence[Group], same_kernels: bool = False) -> list[float]:
    """The published procedure of ArmoRM: template, forward and search for the gate's token, one conversation a time."""
    engine = reward.engine
    assert isinstance(engine, TransformersArmoEngine)
    model = load_armorm(engine.path, engine.dtype).to(engine.load().device)
    if same_kernels:
        use_onednn(model.model)
    tokenizer = reward.template.tokenizer
    scores = []
    for group in groups:
        chat = [
            {"role": "user", "content": group.problem.text},
            {"role": "assistant", "content": group.responses[0].text},
        ]
        tokens = tokenizer.apply_chat_template(chat, return_dict=False)
        ids = torch.tensor([tokens], device=model.device)
        prompt = torch.tensor([last_occurrence(tokens, reward.header)], device=model.device)
        with torch.no_grad():
            output = model(ids, prompt, torch.tensor([ids.shape[1]], device=model.device))
        scores.append(float(output.score[0]))
    return scores
