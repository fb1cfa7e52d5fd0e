"""Tiny random models with the architectures and tensor names of published reward models, and naive readings of them.

A reading is what the model's card or its authors' code describes: one response, one forward pass, tokens found by id.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerFast
from transformers.models.llama import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification
from transformers.models.mistral import MistralConfig, MistralForCausalLM
from transformers.models.qwen2 import (
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2ForSequenceClassification,
    Qwen2ForTokenClassification,
)
from transformers.models.qwen3 import Qwen3Config, Qwen3ForSequenceClassification

from tests.rewards.internlm2_tiny import internlm2_states, make_internlm2
from tests.tiny import LLAMA3_SPLIT, make_tokenizer

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
QWEN_TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}"
    "{% endif %}" + CHATML
)
BOXED = "Please reason step by step, and put your final answer within \\boxed{}."
_TEXT = """Tom buys 3 bags of 4 apples and then finds 5 apples. How many apples are there? Step 1: 3 * 4 = 12 ки
Step 2: 12 + 5 = 17 - 4. ки\n\nQuestion: Answer: Let's think step by step. + - ки\nuser assistant system ки\n"""


@cache
def _byte_level() -> str:
    """Byte-level BPE, as Qwen's and Llama-3's."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA3_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([_TEXT] * 4, trainer)
    return tokenizer.to_str()


def qwen_tokenizer(bos: bool = False) -> PreTrainedTokenizerFast:
    """Byte-level BPE with ChatML and `<extra_0>`; Qwen's own has no BOS, Skywork's PRM names one."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_byte_level()),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>", "<extra_0>"],
        clean_up_tokenization_spaces=False,
        **({"bos_token": "<|endoftext|>"} if bos else {}),
    )
    tokenizer.chat_template = QWEN_TEMPLATE
    return tokenizer


@cache
def _pieces() -> str:
    """BPE on words with a mark before them and bytes for rare characters, as SentencePiece makes it for Mistral."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("▁"), behavior="merged_with_next")  # no piece holds a space
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=["<unk>", "<s>", "</s>", *bytes_], show_progress=False)
    tokenizer.train_from_iterator([_TEXT.replace("\n", " ")] * 4, trainer)
    settings = json.loads(tokenizer.to_str())
    settings["added_tokens"] = [one for one in settings["added_tokens"] if one["id"] < 3]
    settings["pre_tokenizer"] = None
    return json.dumps(settings)


def mistral_tokenizer(pad: str = "</s>", bos: bool = True) -> PreTrainedTokenizerFast:
    """The tokenizer of Mistral's and Llama-2's kind: `ки`, `+` and `-` are tokens with a space before them."""
    backend = Tokenizer.from_str(_pieces())
    if bos:
        backend.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token=pad,
        clean_up_tokenization_spaces=False,
    )


def _shape(tokenizer: PreTrainedTokenizerFast, **more: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,  # 32 numbers wide, which vLLM's attention on a CPU wants
        "num_key_value_heads": 1,
        "max_position_embeddings": 2048,
        "initializer_range": 0.2,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": None,
        "tie_word_embeddings": False,
        **more,
    }


def save(
    folder: Path,
    model: torch.nn.Module,
    tokenizer: PreTrainedTokenizerFast,
    *,
    add: dict[str, Tensor] | None = None,
    drop: Sequence[str] = (),
    **config: Any,
) -> Path:
    """Save a model with tensors added and dropped, and with changed keys in config.json."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    tensors = {name: one for name, one in load_file(folder / "model.safetensors").items() if name not in drop}
    save_file({**tensors, **(add or {})}, folder / "model.safetensors", metadata={"format": "pt"})
    change_config(folder, **config)
    return folder


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def layer(name: str, rows: int, width: int, bias: bool = True) -> dict[str, Tensor]:
    """A random linear layer's tensors."""
    found = {f"{name}.weight": torch.randn(rows, width) / width**0.5}
    return found | ({f"{name}.bias": torch.randn(rows) / 4} if bias else {})


def linear(tensors: dict[str, Tensor], name: str, states: Tensor) -> Tensor:
    """The layer applied to states, from its tensors."""
    out = states @ tensors[f"{name}.weight"].T
    return out + tensors[f"{name}.bias"] if f"{name}.bias" in tensors else out


class Naive:
    """The decoder, the tokenizer and the tensors of a folder, for readings of one response at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.config = folder, json.loads((folder / "config.json").read_text())
        self.tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        self.tensors = load_file(folder / "model.safetensors")
        if self.config["model_type"] != "internlm2":
            self.decoder = AutoModel.from_pretrained(folder, dtype=torch.float32, trust_remote_code=False).eval()

    @torch.no_grad()
    def states(self, ids: Sequence[int]) -> Tensor:
        """The final hidden states (L, H)."""
        if self.config["model_type"] == "internlm2":
            return internlm2_states(self.tensors, self.config, ids)
        return self.decoder(torch.tensor([list(ids)])).last_hidden_state[0]

    @cached_property
    def causal(self) -> LlamaForCausalLM:
        """The whole model, for readings of its logits."""
        return LlamaForCausalLM.from_pretrained(self.folder, dtype=torch.float32).eval()

    def chat(self, turns: Sequence[tuple[str, str]]) -> list[int]:
        """The template's own ids."""
        messages = [{"role": role, "content": content} for role, content in turns]
        return list(self.tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False))

    def two_layers(self, states: Tensor) -> Tensor:
        return linear(self.tensors, "score.2", linear(self.tensors, "score.0", states).relu())


class ProcessFamily(NamedTuple):
    """A process model: its option, the model, the reading of its steps, and what it cannot read naively."""

    option: str
    make: Callable[[Path], Path]
    read: Callable[[Naive, str, list[str]], list[float]]
    split: str = "\n"
    keeps_empty: bool = False
    strips: bool = True


def _qwen_prm(folder: Path) -> Path:
    tokenizer = qwen_tokenizer()
    add = layer("score.0", 64, 64) | layer("score.2", 2, 64)
    remote = {"AutoConfig": "configuration_qwen2_rm.Qwen2RMConfig", "AutoModel": "modeling_qwen2_rm.Qwen2ForProcess"}
    return save(
        folder, Qwen2ForCausalLM(Qwen2Config(**_shape(tokenizer))), tokenizer, add=add,
        architectures=["Qwen2ForProcessRewardModel"], auto_map=remote,
    )  # fmt: skip


def _read_qwen(naive: Naive, problem: str, steps: list[str]) -> list[float]:
    answer = "".join(f"{step}<extra_0>" for step in steps)
    ids = naive.chat([("system", BOXED), ("user", problem), ("assistant", answer)])
    [separator] = naive.tokenizer.encode("<extra_0>", add_special_tokens=False)
    return naive.two_layers(naive.states(ids)[torch.tensor(ids) == separator]).softmax(dim=-1)[:, 1].tolist()


def _skywork_prm(folder: Path) -> Path:
    tokenizer = qwen_tokenizer(bos=True)
    return save(
        folder, Qwen2ForCausalLM(Qwen2Config(**_shape(tokenizer))), tokenizer, add=layer("v_head.summary", 1, 64),
        architectures=["Qwen2ForPrmModel"],
    )  # fmt: skip


def _read_skywork(naive: Naive, problem: str, steps: list[str]) -> list[float]:
    ids = naive.tokenizer.encode(naive.tokenizer.bos_token + problem + "\n", add_special_tokens=False)
    newline, places = naive.tokenizer.encode("\n", add_special_tokens=False)[-1], []
    for step in steps:
        ids = ids + (naive.tokenizer.encode(step, add_special_tokens=False) if step else []) + [newline]
        places.append(len(ids) - 1)
    return linear(naive.tensors, "v_head.summary", naive.states(ids)[places])[:, 0].sigmoid().tolist()


def _math_shepherd(folder: Path) -> Path:
    tokenizer = mistral_tokenizer()
    return save(folder, MistralForCausalLM(MistralConfig(**_shape(tokenizer, sliding_window=None))), tokenizer)


def _read_math_shepherd(naive: Naive, problem: str, steps: list[str]) -> list[float]:
    ids = naive.tokenizer.encode(problem + " " + "".join(f"{step} ки\n" for step in steps))
    labels, mark = naive.tokenizer.encode("+ -")[1:], naive.tokenizer.encode("ки")[-1]
    logits = naive.states(ids) @ naive.tensors["lm_head.weight"].T
    return logits[:, labels].softmax(dim=-1)[torch.tensor(ids) == mark, 0].tolist()


def _token_classifier(folder: Path) -> Path:
    tokenizer = qwen_tokenizer()
    return save(folder, Qwen2ForTokenClassification(Qwen2Config(**_shape(tokenizer), num_labels=2)), tokenizer)


def _token_classifier_with_bos(folder: Path) -> Path:
    tokenizer = qwen_tokenizer(bos=True)
    return save(folder, Qwen2ForTokenClassification(Qwen2Config(**_shape(tokenizer), num_labels=2)), tokenizer)


def _read_token_classifier(naive: Naive, problem: str, steps: list[str]) -> list[float]:
    plain = naive.tokenizer
    ids = [] if plain.bos_token_id is None else [plain.bos_token_id]
    ids, places = ids + plain(problem, add_special_tokens=False)["input_ids"], []
    for step in steps:
        ids = ids + plain(step, add_special_tokens=False)["input_ids"] + plain.encode("\n", add_special_tokens=False)
        places.append(len(ids) - 1)
    chances = linear(naive.tensors, "score", naive.states(ids)[places]).softmax(dim=-1)
    return (chances[:, 1] - chances[:, 0]).tolist()


def _reasoneval(folder: Path) -> Path:
    """34B: a Llama whose tokenizer writes no BOS and pads with a token of its own."""
    tokenizer = mistral_tokenizer(bos=False)
    tokenizer.add_special_tokens({"pad_token": AddedToken("<pad>", special=True, normalized=False)})
    model = LlamaForCausalLM(LlamaConfig(**_shape(tokenizer)))
    add = layer("score_head", 3, 64, bias=False)
    return save(
        folder, model, tokenizer, add=add, drop=["lm_head.weight"], architectures=["ReasonEval_34B"], score_dim=3
    )


def _reasoneval_7b(folder: Path) -> Path:
    """7B: a Mistral whose tokenizer pads with BOS."""
    tokenizer = mistral_tokenizer(pad="<s>")
    model = MistralForCausalLM(MistralConfig(**_shape(tokenizer, sliding_window=None)))
    return save(
        folder, model, tokenizer, add=layer("score_head", 3, 64), drop=["lm_head.weight"],
        architectures=["ReasonEval_7B"], score_dimension=3, use_bias=True,
    )  # fmt: skip


def _read_reasoneval(naive: Naive, problem: str, steps: list[str]) -> list[float]:
    """As the authors' example: the pad token marks the ends of problem and steps, and is taken out again."""
    mark = naive.tokenizer.pad_token
    prompt = f"Question:\n{problem}\nAnswer:\nLet's think step by step.\n"
    marked = naive.tokenizer(prompt + mark + "".join(step + mark for step in steps))["input_ids"]
    mark_id, begins = naive.tokenizer.convert_tokens_to_ids(mark), marked[0] == naive.tokenizer.bos_token_id
    ids = [token for token in marked if token != mark_id]
    places = [
        place - 1 - number for number, place in enumerate(i for i, token in enumerate(marked) if token == mark_id)
    ]
    if begins:  # the BOS is taken for a mark; the authors put it back, but do not move the places
        ids, places = [naive.tokenizer.bos_token_id, *ids], places[1:]
    return linear(naive.tensors, "score_head", naive.states(ids)[places[1:]]).softmax(dim=-1)[:, 1:].sum(-1).tolist()


class ScalarFamily(NamedTuple):
    """A scalar model: its option, the model, and the reading of a response to a prompt of messages."""

    option: str
    make: Callable[[Path], Path]
    read: Callable[[Naive, list[tuple[str, str]], str], float]


def _classifier(folder: Path, model: type, config: type, tokenizer: PreTrainedTokenizerFast) -> Path:
    shape = {**_shape(tokenizer), "pad_token_id": tokenizer.pad_token_id, "num_labels": 1}
    return save(folder, model(config(**shape)), tokenizer)


def _read_classifier(naive: Naive, turns: list[tuple[str, str]], response: str) -> float:
    ids = naive.chat([*turns, ("assistant", response)])
    return float(linear(naive.tensors, "score", naive.states(ids)[-1])[0])


def _nemotron_llama(folder: Path) -> Path:
    tokenizer = make_tokenizer("llama31")
    return save(folder, LlamaForCausalLM(LlamaConfig(**_shape(tokenizer))), tokenizer)


def _read_nemotron_llama(naive: Naive, turns: list[tuple[str, str]], response: str) -> float:
    """The first step of generation after the conversation: the score of token 0."""
    ids = torch.tensor([naive.chat([*turns, ("assistant", response)])])
    with torch.no_grad():
        return float(naive.causal(ids).logits[0, -1, 0])


def _qwen_rm(folder: Path) -> Path:
    tokenizer = qwen_tokenizer()
    add = layer("score.0", 64, 64) | layer("score.2", 1, 64)
    changes = {"architectures": ["Qwen2ForRewardModel"], "auto_map": {"AutoModel": "modeling_qwen2_rm.Qwen2ForReward"}}
    return save(folder, Qwen2ForCausalLM(Qwen2Config(**_shape(tokenizer))), tokenizer, add=add, **changes)


def _read_qwen_rm(naive: Naive, turns: list[tuple[str, str]], response: str) -> float:
    system = [] if turns[0][0] == "system" else [("system", BOXED)]
    ids = naive.chat([*system, *turns, ("assistant", response)])
    return float(naive.two_layers(naive.states(ids)[-1])[0])


def _internlm2_reward(folder: Path) -> Path:
    return make_internlm2(folder)


def _read_internlm2(naive: Naive, turns: list[tuple[str, str]], response: str) -> float:
    ids = [*naive.chat([*turns, ("assistant", response)]), naive.config["reward_token_id"]]
    return float(naive.states(ids)[-1] @ naive.tensors["v_head.weight"][0])


SCALAR = {
    "skywork_v2_qwen3": ScalarFamily(
        "skywork_v2",
        lambda folder: _classifier(folder, Qwen3ForSequenceClassification, Qwen3Config, qwen_tokenizer()),
        _read_classifier,
    ),
    "skywork_v2_llama": ScalarFamily(
        "skywork_v2",
        lambda folder: _classifier(folder, LlamaForSequenceClassification, LlamaConfig, make_tokenizer("llama31")),
        _read_classifier,
    ),
    "nemotron_qwen": ScalarFamily(
        "nemotron_qwen",
        lambda folder: _classifier(folder, Qwen2ForSequenceClassification, Qwen2Config, qwen_tokenizer()),
        _read_classifier,
    ),
    "nemotron_llama": ScalarFamily("nemotron_llama", _nemotron_llama, _read_nemotron_llama),
    "qwen_math_rm": ScalarFamily("qwen_math_rm", _qwen_rm, _read_qwen_rm),
    "internlm2_reward": ScalarFamily("internlm2_reward", _internlm2_reward, _read_internlm2),
}

PROCESS = {
    "qwen_math_prm": ProcessFamily("qwen_math_prm", _qwen_prm, _read_qwen, "\n\n", strips=False),
    "skywork_prm": ProcessFamily("skywork_prm", _skywork_prm, _read_skywork, keeps_empty=True, strips=False),
    "math_shepherd": ProcessFamily("math_shepherd", _math_shepherd, _read_math_shepherd),
    "trl_prm": ProcessFamily("trl_prm", _token_classifier, _read_token_classifier),
    "trl_prm_bos": ProcessFamily("trl_prm", _token_classifier_with_bos, _read_token_classifier),
    "pure_prm": ProcessFamily("pure_prm", _token_classifier, _read_token_classifier, "\n\n"),
    "reasoneval": ProcessFamily("reasoneval", _reasoneval, _read_reasoneval),
    "reasoneval_7b": ProcessFamily("reasoneval_7b", _reasoneval_7b, _read_reasoneval),
}
