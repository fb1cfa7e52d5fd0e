"""Tiny tokenizers and random Llamas made in code, so that tests need no download and run in milliseconds.

The shapes are those of the real things: byte-level BPE with Llama-3's splitting rule, special tokens of its names,
Llama-3.1's chat template with its system header.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

Kind = Literal["simple", "llama31", "plain"]

LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# Llama-3.1's default template without its tool branches: fixed dates, trimmed contents, one BOS.
LLAMA31_TEMPLATE = """{{- bos_token }}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Cutting Knowledge Date: December 2023\\n" }}
{{- "Today Date: 26 Jul 2024\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}"""

# One special token a role and one at the end of a turn; contents are kept as they are.
SIMPLE_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)

# Turns told apart by text alone: tokens may merge across their borders.
PLAIN_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\\n\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)

_SPECIAL = {
    "llama31": (
        "<|begin_of_text|>",
        "<|end_of_text|>",
        "<|start_header_id|>",
        "<|end_header_id|>",
        "<|eot_id|>",
        "<|finetune_right_pad_id|>",
    ),
    "simple": ("<|bos|>", "<|end|>", "<|pad|>", "<|system|>", "<|user|>", "<|assistant|>"),
    "plain": ("<|bos|>", "<|end|>", "<|pad|>"),
}
_NAMED = {  # kind -> (bos, eos, pad, template)
    "llama31": ("<|begin_of_text|>", "<|eot_id|>", "<|finetune_right_pad_id|>", LLAMA31_TEMPLATE),
    "simple": ("<|bos|>", "<|end|>", "<|pad|>", SIMPLE_TEMPLATE),
    "plain": ("<|bos|>", "<|end|>", "<|pad|>", PLAIN_TEMPLATE),
}

_TEXT = """Tom buys 3 bags of 4 apples and then finds 5 apples. How many apples are there?
Step 1: 3 * 4 = 12 apples\nStep 2: 12 + 5 = 17 apples\nThe answer is: 17\n\nWe add 1 + 2 = 3 and take 9 - 4 = 5. ки
Step 1: half of 16 is 8. ки\nStep 2: 8 + 8 - 2 = 14. The answer is: 14 ки\n\nuser: assistant: system:
Which response is right? The number of the words in it is 12, 100 or 250.\n\n"""


@cache
def _trained_bpe(kind: Kind) -> str:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA3_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=list(_SPECIAL[kind]),
        show_progress=False,
    )
    tokenizer.train_from_iterator([_TEXT] * 4, trainer)
    return tokenizer.to_str()


def make_tokenizer(kind: Kind = "simple") -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of about 400 tokens with a chat template.

    `simple` has one special token a role; `llama31` has Llama-3.1's template and special tokens; `plain` marks turns by
    text alone. `+` and `-` are one token each, and ` +` is another one.
    """
    bos, eos, pad, template = _NAMED[kind]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_trained_bpe(kind)),
        bos_token=bos,
        eos_token=eos,
        pad_token=pad,
        additional_special_tokens=[token for token in _SPECIAL[kind] if token not in (bos, eos, pad)],
        clean_up_tokenization_spaces=False,
        model_max_length=4096,
    )
    tokenizer.chat_template = template
    return tokenizer


def make_llama(
    folder: str | Path,
    tokenizer: PreTrainedTokenizerFast,
    seed: int = 0,
    hidden: int = 64,
    layers: int = 2,
    vocab: int | None = None,
    max_positions: int = 2048,
    spread: float = 0.2,
    tied: bool = False,
) -> Path:
    """Save a random fp32 Llama and its tokenizer in `folder` as any checkpoint is saved; returns the folder.

    `vocab` widens the embedding beyond the tokenizer's own (a 128k vocabulary, say). The weights are drawn wide enough
    (standard deviation `spread`) that scores differ visibly between inputs. `tied` shares embedding and output head.
    """
    folder = Path(folder)
    config = LlamaConfig(
        vocab_size=vocab or len(tokenizer),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=max_positions,
        initializer_range=spread,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=tied,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config).to(torch.float32)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
