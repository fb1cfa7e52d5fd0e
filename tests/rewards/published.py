"""The published procedure, deliberately naive: one prefix of one solution at a time, straight from the model's card.

Independent of the package: apply_chat_template, a full forward with all logits, the position before the last `+`.
"""

from __future__ import annotations

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


class PublishedModel:
    def __init__(self, folder, system: str | None = None) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
        self.labels = [self.tokenizer.convert_tokens_to_ids(label) for label in "+-"]
        self.system = system

    def plus(self, conversation: list[dict]) -> float:
        """P(+) of the conversation's last turn, which is `+`."""
        head = [] if self.system is None else [{"role": "system", "content": self.system}]
        ids = self.tokenizer.apply_chat_template([*head, *conversation], return_dict=False)
        last_plus = max(place for place, token in enumerate(ids) if token == self.labels[0])
        with torch.no_grad():
            logits = self.model(torch.tensor([ids])).logits[0, last_plus - 1, self.labels]
        return logits.softmax(dim=-1)[0].item()

    def outcome(self, problem: str, solution: str) -> float:
        return self.plus([_user(f"{problem} {solution}"), _plus()])

    def process(self, problem: str, steps: list[str]) -> list[float]:
        scores, conversation = [], []
        for number, step in enumerate(steps):
            conversation += [_user(f"{problem} {step}" if number == 0 else step), _plus()]
            scores.append(self.plus(conversation))
        return scores


def _user(content: str) -> dict:
    return {"role": "user", "content": content}


def _plus() -> dict:
    return {"role": "assistant", "content": "+"}
