"""The world's tokenizer: byte-level BPE over the world's words, a Hugging Face fast tokenizer with a chat template.

Any text can be encoded (bytes it has never seen stay bytes); a word of the world and every number 0-99 is one token,
and so are `+` and `-`, with which the reward models answer.
"""

from __future__ import annotations

import random
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from rl.tasks.arithmetic.story import tell

BOS, EOS, PAD = "<|bos|>", "<|end|>", "<|pad|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
# GPT-2's split, with every run of digits whole: a number is one piece, with the space before it.
PIECES = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
EXTRA_WORDS = (
    "Question: Solution A: Solution B: Judge A says B says Correct Incorrect correct incorrect "
    "<resp_a_judge>Correct</resp_a_judge> <resp_b_judge>Incorrect</resp_b_judge> "
    "<resp_a_judge>Incorrect</resp_a_judge> <resp_b_judge>Correct</resp_b_judge>"
)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Train the tokenizer on the world's own text. Deterministic: no seed to choose."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2000,
        min_frequency=2,
        special_tokens=[PAD, BOS, EOS, *ROLES],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        additional_special_tokens=list(ROLES),
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        padding_side="right",
    )


def save_tokenizer(folder: Path) -> None:
    """Write the tokenizer as any Hugging Face model folder holds it."""
    build_tokenizer().save_pretrained(str(folder))


def _corpus() -> list[str]:
    generator = random.Random(0)
    stories = [tell(generator, generator.randint(1, 6), 30) for _ in range(4000)]
    told = [f"{story.problem}\n" + "\n".join(story.lines) for story in stories]
    numbers = [f" {number} {number}" for number in range(100)]
    return [*told, *numbers * 2, *[EXTRA_WORDS] * 50]
