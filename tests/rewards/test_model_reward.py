"""A new family of reward models is a head, a prompt and a configuration: here one in a few lines, on a toy model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer

from rewards.chat import ChatTemplate, conversation, load_tokenizer
from rewards.engines.checkpoint import Checkpoint
from rewards.engines.options import ModelOptions
from rewards.model_reward import ModelReward, Prompt
from rewards.types import Score
from tests.rewards.solutions import PROBLEMS, group
from tests.tiny import make_llama, make_tokenizer

SEPARATOR = "ки"


# A process model with a value head at separator tokens, as Skywork-o1-Open-PRM has it. The head:
class ValueHead:
    tensors = ("v_head.",)

    def load(self, checkpoint, options):
        weight = checkpoint.tensor("v_head.weight", (1, checkpoint.hidden_size)).to(options.torch_device)
        return lambda hidden: torch.sigmoid(hidden.float() @ weight[0].float())


# The prompt: every step in one assistant turn, each followed by the separator.
class ValueReward(ModelReward):
    has_steps = True

    def __init__(self, model: str, **options) -> None:
        self.template = ChatTemplate(load_tokenizer(model))
        [self.separator] = self.template.tokenizer.encode(SEPARATOR, add_special_tokens=False)[-1:]
        super().__init__(Checkpoint(model, "ForValue"), ModelOptions(**options), ValueHead())

    def prompts(self, pairs):
        rendered = self.template.render(conversation(p.messages, r.text.rstrip() + SEPARATOR) for p, r in pairs)
        places = [[place for place, token in enumerate(one.ids) if token == self.separator] for one in rendered]
        spans = [tuple((0, len(r.text)) for _ in found) for (_, r), found in zip(pairs, places, strict=True)]
        return [
            Prompt(one.ids, found, where) if pair[1].text.strip() else "the response is empty"
            for pair, one, found, where in zip(pairs, rendered, places, spans, strict=True)
        ]

    def scores(self, prompts, read):
        return [
            Score.of(values.min().item(), steps=values.tolist(), spans=prompt.spans)
            for prompt, values in zip(prompts, read, strict=True)
        ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = make_llama(tmp_path_factory.mktemp("value"), make_tokenizer("llama31"))
    config = json.loads((folder / "config.json").read_text()) | {"architectures": ["LlamaForValue"]}
    (folder / "config.json").write_text(json.dumps(config))
    tensors = load_file(folder / "model.safetensors")
    del tensors["lm_head.weight"]
    tensors["v_head.weight"] = torch.randn(1, 64, generator=torch.Generator().manual_seed(0))
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


TEXTS = [f"1 + 2 = 3 {SEPARATOR}\nSo 3", "It is 3", f"{SEPARATOR}{SEPARATOR} no"]


def test_its_scores_are_those_of_one_naive_forward_per_response(folder):
    found = ValueReward(str(folder), batch_tokens=300).score([group(*([text] for text in TEXTS))])[0]
    decoder, weight = AutoModel.from_pretrained(folder).eval(), load_file(folder / "model.safetensors")["v_head.weight"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    separator = tokenizer.encode(SEPARATOR, add_special_tokens=False)[-1]
    for text, score in zip(TEXTS, found, strict=True):
        turns = [{"role": "user", "content": PROBLEMS[0]}, {"role": "assistant", "content": text.rstrip() + SEPARATOR}]
        ids = torch.tensor(tokenizer.apply_chat_template(turns, return_dict=False))
        with torch.no_grad():
            values = torch.sigmoid(decoder(ids[None]).last_hidden_state[0] @ weight[0])[ids == separator]
        assert score.steps == pytest.approx(values.tolist(), abs=1e-5)
        assert score.value == min(score.steps)


def test_it_has_what_every_reward_model_has(folder, caplog):
    long = "12 + 5 = 17 apples. " * 40
    empty, failed, good = ValueReward(str(folder), max_tokens=150).score([group([" "], [long], ["3"])])[0]
    assert empty.failure == "the response is empty" and failed.failure.startswith("longer than 150 tokens")
    assert good.ok
    [cut] = ValueReward(str(folder), max_tokens=150, overlong="cut").score([group([long])])[0]
    assert cut.parts == {"cut": 1.0} and "1 of 1 responses were cut to 150 tokens" in caplog.text
    with pytest.raises(ValueError, match="dtype must be one of"):
        ValueReward(str(folder), dtype="fp8")
    with pytest.raises(ValueError, match="its architecture is LlamaForValue"):
        Checkpoint(str(folder))
