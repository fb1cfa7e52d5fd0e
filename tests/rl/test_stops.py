"""What ends a response: read off chat templates, and refused where it cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from rl.settings import RolloutSettings
from rl.stops import end_of_turn, ends_in_words, stop_ids

POLICY = Path(__file__).parents[2] / "rl/tasks/arithmetic/models/policy"
TURN = "{% for m in messages %}<|user|>{{ m['content'] }}END{% endfor %}"


def tokenizer(template: str | None = None, **changed: str):
    made = AutoTokenizer.from_pretrained(POLICY, **changed)
    if template is not None:
        made.chat_template = template
    return made


def test_a_turn_ends_at_the_templates_token_whatever_the_eos_token() -> None:
    declared, other = tokenizer(), tokenizer(eos_token="<|pad|>")
    end = declared.convert_tokens_to_ids("<|end|>")
    assert end_of_turn(declared) == end_of_turn(other) == end
    assert stop_ids(declared, RolloutSettings()) == (), "eos_token ends a response anyway"
    assert stop_ids(other, RolloutSettings()) == (end,)
    assert ends_in_words(other, RolloutSettings(stop=("\n",))) == "<|pad|> or <|end|> or '\\n'"


@pytest.mark.parametrize(
    ("after", "token"),
    [
        ("<|end|>", "<|end|>"),
        (" <|end|>\n", "<|end|>"),
        ("\n<|pad|><|end|>", "<|pad|>"),
        ("{{ eos_token }}", "<|end|>"),
        ("", None),
        ("\n", None),
        ("\nuser: ", None),
        ("{{ raise_exception('no assistant') }}", None),
    ],
)
def test_only_a_special_token_after_the_turn_counts(after: str, token: str | None) -> None:
    made = tokenizer(TURN.replace("END", after))
    assert end_of_turn(made) == (None if token is None else made.convert_tokens_to_ids(token))


def test_an_added_token_that_is_not_special_also_ends_a_turn() -> None:
    made = tokenizer(TURN.replace("END", "[/turn]"))
    made.add_tokens(["[/turn]"])
    assert end_of_turn(made) == made.convert_tokens_to_ids("[/turn]")


def test_stop_token_ids_are_added_to_the_end_of_turn_and_must_be_in_the_vocabulary() -> None:
    made = tokenizer(eos_token="<|pad|>")
    end = made.convert_tokens_to_ids("<|end|>")
    assert stop_ids(made, RolloutSettings(stop_token_ids=(7, end))) == tuple(sorted((7, end)))
    with pytest.raises(ValueError, match=rf"rollout.stop_token_ids: .* no token {len(made)}; its largest id is"):
        stop_ids(made, RolloutSettings(stop_token_ids=(len(made),)))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"stop": ("",)}, "empty text"),
        ({"stop_token_ids": (-1,)}, "must not be negative"),
        ({"top_k": -1}, "top_k must be 0"),
        ({"min_p": 1.5}, "min_p must be in"),
        ({"top_p": 0.0}, "top_p must be in"),
        ({"temperature": 0.005}, "temperature must be at least 0.01"),
    ],
)
def test_options_that_the_engine_would_ignore_are_refused(keys: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RolloutSettings(**keys)
