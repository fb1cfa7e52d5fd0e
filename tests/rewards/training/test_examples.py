from __future__ import annotations

from dataclasses import replace

import pytest

from rewards.chat import ChatTemplate, Turn
from rewards.training.examples import mark_judgements, mark_signs, pair_ids, prompt_mismatch
from rewards.training.row_formats import Judgement, Signs, parse_preference
from rewards.verdicts import DEFAULT_TEMPLATE, Comparison, fill, parse
from tests.tiny import make_tokenizer

LABELS = ("+", "-")
ROW = Signs(("Tom buys 3. Step 1: 3", "half of 16 is 8"), ("-", "+"))


@pytest.fixture(scope="module", params=["simple", "llama31"])
def template(request) -> ChatTemplate:
    return ChatTemplate(make_tokenizer(request.param))


def test_only_the_signs_are_targets_at_the_positions_that_the_rewards_read(template):
    [example] = mark_signs(template, [ROW], LABELS, None, "positive")
    plus, minus = template.label_ids(LABELS)
    turns = [Turn("user", ROW.users[0]), Turn("assistant", "+", True)]
    [scored] = template.render([[*turns, Turn("user", ROW.users[1]), Turn("assistant", "+", True)]])
    assert example.positions.tolist() == scored.positions
    assert example.targets.tolist() == [minus, plus]
    assert example.ids.tolist() == scored.ids[: scored.positions[-1] + 1]


def test_the_history_has_the_labels_or_always_the_positive_one(template):
    plus, minus = template.label_ids(LABELS)
    [labels] = mark_signs(template, [ROW], LABELS, None, "labels")
    [positive] = mark_signs(template, [ROW], LABELS, None, "positive")
    after = labels.positions[0] + 1
    assert (labels.ids[after], positive.ids[after]) == (minus, plus)
    assert (labels.ids != positive.ids).sum() == 1


def test_soft_targets_are_both_signs_by_their_shares(template):
    plus, minus = template.label_ids(LABELS)
    [soft] = mark_signs(template, [replace(ROW, shares=(0.25, 0.5))], LABELS, None, "labels")
    [hard] = mark_signs(template, [ROW], LABELS, None, "labels")
    assert (soft.targets.tolist(), soft.others.tolist()) == ([minus, plus], [plus, minus])
    assert soft.shares.tolist() == [0.75, 0.5] and hard.shares is None
    assert soft.ids.tolist() == hard.ids.tolist() and soft.positions.tolist() == hard.positions.tolist()


def test_a_rows_own_system_turn_takes_precedence_over_the_recipes(template):
    own = Signs(ROW.users, ROW.labels, "Be fair.")
    [recipes] = mark_signs(template, [ROW], LABELS, "Be fair.", "labels")
    [rows] = mark_signs(template, [own], LABELS, "Be quick.", "labels")
    assert recipes.ids.tolist() == rows.ids.tolist()


def test_a_judge_learns_all_that_it_writes_and_nothing_that_it_reads(template):
    written = "<resp_a_judge>Correct</resp_a_judge><resp_b_judge>Correct</resp_b_judge>"
    row = Judgement(Comparison("q", "a", "b"), written, parse(written))
    prompt = "{question} A {response_a} B {response_b}"
    [example] = mark_judgements(template, [row], prompt, None)
    [asked] = template.render([[Turn("user", fill(prompt, row.asked))]], generation_prompt=True)
    assert example.ids[: len(asked.ids)].tolist() == asked.ids
    assert example.positions.tolist() == list(range(len(asked.ids) - 1, len(example.ids)))
    ends = template.tokenizer.eos_token
    assert template.tokenizer.decode(example.targets).removesuffix(ends) in (written, written + ends)


PROMPT = "Q: {question}\nA: {response_a}\nB: {response_b}\nWhich?"


def asked(user: str, *head: Turn, prompt: str = PROMPT, system: str | None = None) -> str | None:
    written = "<resp_a_judge>Correct</resp_a_judge><resp_b_judge>Correct</resp_b_judge>"
    return prompt_mismatch(Judgement((*head, Turn("user", user)), written, parse(written)), prompt, system)


def test_a_conversation_made_with_the_prompt_is_distinguished_from_others():
    one = Comparison("2 + 2?", "4\nB: no", "{question} Which?")
    assert asked(fill(PROMPT, one)) is None
    assert asked(fill(DEFAULT_TEMPLATE, one), prompt=DEFAULT_TEMPLATE) is None
    for other in (fill(DEFAULT_TEMPLATE, one), fill(PROMPT, one) + " Now", "Q: 2 + 2?\nA: 4\nB:\nWhich?", "Q: "):
        assert asked(other) == "prompt"
    assert asked("Q: Q", prompt="Q{question}Q{response_a}Q{response_b}Q") == "prompt"


def test_a_conversation_with_another_system_turn_is_recognised():
    user, system = fill(PROMPT, Comparison("q", "a", "b")), Turn("system", "Be fair.")
    assert asked(user, system, system="Be fair.") is None
    assert asked(user, system) == asked(user, system="Be fair.") == "system turn"
    assert asked(user, system, system="Be quick.") == "system turn"


def test_both_sides_of_a_pair_are_whole_conversations(template):
    [pair] = pair_ids(template, [parse_preference({"prompt": "2 + 2?", "chosen": "4", "rejected": "it is 5"})])
    [whole] = template.render([[Turn("user", "2 + 2?"), Turn("assistant", "4")]])
    assert pair.chosen.tolist() == whole.ids and len(pair) == len(pair.rejected)
