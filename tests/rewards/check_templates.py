"""Check chat templates: ids equal to `apply_chat_template`, and control tokens that no content can add or take away.

    python -m tests.rewards.check_templates FOLDER_OR_FILE ...

takes template files (`*.jinja`; TRL has published ones in trl/chat_templates), puts a tiny tokenizer round each of
them, and prints one line for each: conversations that came out equal, those that the template itself refuses, and
forged contents that changed no control token. Ends with 1 where anything differs.
"""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from transformers import PreTrainedTokenizerFast

from rewards.chat import ChatTemplate, Turn
from rewards.control_tokens import THOUGHT_TAG
from tests.tiny import make_tokenizer

# What published templates write round turns: <|im_start|>, <|turn>, <turn|>, <start_of_turn>, <s>, [INST] ...
MARKERS = re.compile(
    r"<\|[\w▁ ]+\|?>|<[\w▁]+\|>|<\uff5c[\w▁]+\uff5c>|<(?:start|end)_of_\w+>|</?s>|<sop>|\[/?INST\]|\[gMASK\]"
    r"|\[/?(?:SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\]"
)
ADDED = ["<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "/nothink"]

PIECES = [
    *["<think>", "</think>", "<think>\n", "\n</think>\n\n", "<think></think>", "<tool_response>", "</tool_response>"],
    *[
        "\n",
        "\n\n",
        " ",
        "\t",
        "\u2003",
        "Step 1: 3 + 4 = 7.",
        "so 7",
        "+",
        "-",
        " ки",
        "é",
        "🙂",
        "\U000f0000",
        "\ue0001",
    ],
    *['"', "\\", "&amp;", "<b>", "1 < 2 > 0", "/no_think", "/nothink", "{{ x }}", "a", ""],
]
SHAPES = [
    ("user", "assistant"),
    ("user", "assistant", "user", "assistant"),
    ("system", "user", "assistant"),
    ("system", "user", "assistant", "user", "assistant"),
    ("user",),
    ("system", "user"),
]


class Checked(NamedTuple):
    """What came of one template: equal conversations, those that it refuses itself, and forgeries without effect."""

    equal: int
    refused: int
    forged: int
    different: list[str]


def tokenizer_for(
    template: str, *, bos: str = "<|bos|>", special_thoughts: bool = False, more: Sequence[str] = ()
) -> PreTrainedTokenizerFast:
    """A tiny tokenizer whose special tokens are the markers that the template writes, with tags for thoughts added."""
    tokenizer = make_tokenizer("plain")
    markers = sorted({*MARKERS.findall(template), bos, *more, *(ADDED[:2] if special_thoughts else ())})
    tokenizer.add_special_tokens({"additional_special_tokens": markers, "bos_token": bos})
    tokenizer.add_tokens([token for token in ADDED if token not in markers])
    tokenizer.chat_template = template
    return tokenizer


def turns_of(roles: Sequence[str], contents: Sequence[str]) -> list[Turn]:
    """Turns of these roles with these contents."""
    return [Turn(role, content) for role, content in zip(roles, contents, strict=True)]


def reference(template: ChatTemplate, turns: Sequence[Turn], generation_prompt: bool = False) -> list[int]:
    """What transformers makes of a conversation. Raises what the template raises."""
    messages = [{"role": turn.role, "content": turn.content} for turn in turns]
    return template.tokenizer.apply_chat_template(
        messages, add_generation_prompt=generation_prompt, return_dict=False, **template.options
    )


def control_ids(template: ChatTemplate) -> set[int]:
    """Special tokens, but for the tags of thoughts."""
    added = template.tokenizer.added_tokens_decoder.items()
    return {index for index, token in added if token.special and not THOUGHT_TAG.fullmatch(token.content)}


def forgeries(template: ChatTemplate) -> Iterator[str]:
    """Contents that would open or end a turn if they were not read as text, whole, cut and round a thought."""
    names = [template.tokenizer.convert_ids_to_tokens(index) for index in sorted(control_ids(template))]
    for name in names:
        half = len(name) // 2
        yield from (name, f"a {name}\nb", name[:half], name[half:], f"{name[:half]}<think>x</think>{name[half:]}")
        yield from (f"{name[:half]}{name}{name[half:]}", f"<think>{name[:half]}</think>{name[half:]}")
    yield "".join(names)


def check(template: ChatTemplate, count: int = 60, seed: int = 0) -> Checked:
    """Compare `count` random conversations of every shape, and put every forgery in every place."""
    rng = random.Random(seed)
    equal = refused = forged = 0
    different = []
    for roles in SHAPES:
        ask = roles[-1] == "user"
        for _ in range(count):
            turns = turns_of(roles, ["".join(rng.choices(PIECES, k=rng.randrange(1, 6))) for _ in roles])
            try:
                expected = reference(template, turns, ask)
            except Exception:
                refused += 1
                continue
            [one] = template.render_each([turns], generation_prompt=ask)
            equal += one.ids == expected
            if one.ids != expected:
                different.append(f"{turns}: {one.failure or 'other ids'}")
        control = control_ids(template)
        plain = template.render_each([turns_of(roles, ["x"] * len(roles))], generation_prompt=ask)[0]
        if plain.failure is not None:
            continue
        expected = [token for token in plain.ids if token in control]
        for text in forgeries(template):
            for place in range(len(roles)):
                contents = [text if index == place else "x" for index in range(len(roles))]
                [one] = template.render_each([turns_of(roles, contents)], generation_prompt=ask)
                same = [token for token in one.ids if token in control] == expected
                forged += same
                if not same:
                    different.append(f"forged {text!r} in {place} of {roles}: {one.failure or 'other turns'}")
    return Checked(equal, refused, forged, different)


def main(paths: Sequence[str]) -> int:
    """Check every file; print one line for each."""
    found = [[path] if path.is_file() else sorted(path.glob("*.jinja")) for path in map(Path, paths)]
    faults = 0
    for file in chain.from_iterable(found):
        try:
            one = check(ChatTemplate(tokenizer_for(file.read_text(encoding="utf-8"))))
        except ValueError as error:
            print(f"{file.stem}: refused at the start: {error}")
            continue
        faults += len(one.different)
        print(
            f"{file.stem}: {one.equal} equal, {one.refused} refused by the template, {one.forged} forgeries without "
            f"effect, {len(one.different)} different {one.different[:1] or ''}"
        )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
