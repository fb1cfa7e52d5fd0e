"""The world's tokenizer: byte-level BPE trained on the world's texts, as a Hugging Face tokenizer with a chat template.

It can encode any text; unknown characters become bytes. Every word of the world and every number 0-99 is one token. So
are `+` and `-`, which the reward models predict.
"""

from __future__ import annotations

import random
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from rl.tasks.arithmetic.story import draw_story

BOS, EOS, PAD = "<|bos|>", "<|end|>", "<|pad|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
# GPT-2's pattern, except that digits are not split: a number is one piece, together with the space before it.
PIECES = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
EXTRA_WORDS = (
    "Question: Solution A: Solution B: Judge A says B says Correct Incorrect correct incorrect "
    "<resp_a_judge>Correct</resp_a_judge> <resp_b_judge>Incorrect</resp_b_judge> "
    "<resp_a_judge>Incorrect</resp_a_judge> <resp_b_judge>Correct</resp_b_judge>"
)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Train the tokenizer on the world's texts. The result is always the same."""
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
    """Write the tokenizer's files into a Hugging Face model folder."""
    build_tokenizer().save_pretrained(str(folder))


def _corpus() -> list[str]:
    generator = random.Random(0)
    stories = [draw_story(generator, generator.randint(1, 6), 30) for _ in range(4000)]
    texts = [f"{story.problem}\n" + "\n".join(story.lines) for story in stories]
    numbers = [f" {number} {number}" for number in range(100)]
    return [*texts, *numbers * 2, *[EXTRA_WORDS] * 50]
