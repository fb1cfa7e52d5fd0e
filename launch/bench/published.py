"""The published methods of scoring, one sequence at a time, as baselines for `launch.bench.rewards`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from transformers import AutoModelForCausalLM

from rewards.armorm import ArmoRMReward, last_occurrence
from rewards.engines.armorm_model import load_armorm
from rewards.engines.onednn import use_onednn
from rewards.engines.transformers import TransformersRunner
from rewards.labels import LabelReward
from rewards.model_reward import ModelReward
from rewards.outcome import OutcomeReward
from rewards.process import ProcessReward
from rewards.types import Group


def pass_per_prefix(reward: ProcessReward, groups: Sequence[Group]) -> list[list[float]]:
    """The published method for process models: for every step, a forward pass over everything up to it."""
    score = published(reward)
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
    """The published method for outcome models: one forward pass per solution.

    With `same_kernels`, it uses the engine's linear layers.
    """
    score = published(reward, same_kernels)
    texts = [f"{group.problem.text} {group.responses[0].text}" for group in groups]
    return [score([{"role": "user", "content": text}, {"role": "assistant", "content": "+"}]) for text in texts]


def published(labels: LabelReward, same_kernels: bool = False) -> Callable[[list[dict[str, str]]], float]:
    """The authors' scoring of one conversation: apply_chat_template, all logits, the third-to-last position."""
    runner = runner_of(labels)
    model = AutoModelForCausalLM.from_pretrained(runner.checkpoint.path, dtype=runner.options.torch_dtype)
    model.to(runner.options.torch_device)
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
    """The published method for ArmoRM, one conversation at a time: template, gating token, forward pass."""
    runner = runner_of(reward)
    model = load_armorm(runner.checkpoint.path, runner.options.torch_dtype).to(runner.options.torch_device)
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


def runner_of(reward: ModelReward) -> TransformersRunner:
    """The reward's runner, which must be the one for transformers."""
    assert isinstance(reward.runner, TransformersRunner)
    return reward.runner
