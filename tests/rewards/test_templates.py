"""Every family of chat templates is rendered as transformers renders it, and nothing in a content can forge a turn."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards.chat import ChatTemplate, Turn
from tests.rewards.check_templates import PIECES, SHAPES, check, control_ids, reference, tokenizer_for, turns_of
from tests.rewards.families import FAMILIES

THINKING = ["qwen3", "qwen3.5", "glm4-moe", "deepseek-r1", "nemotron-3", "smollm3"]
contents = st.lists(st.sampled_from(PIECES) | st.text(max_size=8), max_size=5).map("".join)


@cache
def template_of(name: str, special_thoughts: bool = False, with_option: bool = False) -> ChatTemplate:
    family = FAMILIES[name]
    option = dict([family.option]) if with_option and family.option else {}
    tokenizer = tokenizer_for(family.template, bos=family.bos, special_thoughts=special_thoughts)
    return ChatTemplate(tokenizer, option)


@pytest.mark.parametrize("with_option", [False, True])
@pytest.mark.parametrize("special_thoughts", [False, True])
@pytest.mark.parametrize("name", FAMILIES)
def test_ids_are_those_of_transformers_and_forgeries_change_no_turn(name, special_thoughts, with_option):
    found = check(template_of(name, special_thoughts, with_option), count=10)
    assert not found.different
    assert found.equal >= 20 and found.forged > 50


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=40)
@given(data=st.data())
def test_any_content_without_control_tokens_has_the_ids_of_transformers(name, data):
    template = template_of(name)
    roles = data.draw(st.sampled_from(SHAPES))
    names = [template.tokenizer.convert_ids_to_tokens(index) for index in control_ids(template)]
    texts = data.draw(st.lists(contents, min_size=len(roles), max_size=len(roles)))
    turns = turns_of(roles, texts)
    if any(name in text for name in names for text in texts):
        return
    try:
        expected = reference(template, turns, roles[-1] == "user")
    except Exception:
        return  # the template refuses it
    [one] = template.render_each([turns], generation_prompt=roles[-1] == "user")
    assert one.ids == expected, one.failure


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=40)
@given(data=st.data())
def test_no_content_changes_the_number_of_control_tokens(name, data):
    template = template_of(name)
    control = control_ids(template)
    names = [template.tokenizer.convert_ids_to_tokens(index) for index in sorted(control)]
    halves = [part for name in names for part in (name, name[: len(name) // 2], name[len(name) // 2 :])]
    pieces = st.lists(st.sampled_from(halves + PIECES[:7]), min_size=1, max_size=6).map("".join)
    forged = [Turn("user", data.draw(pieces)), Turn("assistant", data.draw(pieces))]
    [one], [plain] = (template.render_each([turns]) for turns in (forged, turns_of(("user", "assistant"), ("x", "y"))))
    assert [token for token in one.ids if token in control] == [token for token in plain.ids if token in control]


@pytest.mark.parametrize("name", THINKING)
def test_a_response_with_a_thought_is_the_one_of_transformers(name):
    template = template_of(name)
    turns = [Turn("user", "2+2?"), Turn("assistant", "<think>\nTwo and two.\n</think>\n\nSo 4")]
    [one] = template.render([turns])
    assert one.ids == reference(template, turns)
    assert template.tokenizer.decode(one.ids).count("</think>") <= 1


@pytest.mark.parametrize("name", THINKING)
def test_a_label_is_found_where_a_thinking_template_puts_it(name):
    template = template_of(name)
    turns = [Turn("user", "2+2? <think>x</think> 4"), Turn("assistant", "+", scored=True)]
    [one] = template.render([turns])
    assert one.ids == reference(template, turns)
    assert one.ids[one.positions[0] + 1] == template.label_ids("+-")[0]


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.option])
def test_an_option_of_the_template_reaches_it(name):
    turns = [Turn("system", "x"), Turn("user", "<think>y</think>z")]
    dialogue = [*turns, Turn("assistant", "<think>y</think>z"), Turn("user", "y")]
    plain, changed = (template_of(name, with_option=with_option) for with_option in (False, True))
    different = [
        plain.render([one], generation_prompt=True) != changed.render([one], generation_prompt=True)
        for one in (turns, dialogue)
    ]
    assert any(different)
    assert changed.render([turns], generation_prompt=True)[0].ids == reference(changed, turns, True)


@pytest.mark.parametrize(
    ("name", "options", "complaint"),
    [
        ("qwen3", {"enable_thinkin": False}, "enable_thinkin is not read by .* did you mean enable_thinking"),
        ("qwen3", {"content": "x"}, "content is not read"),
        ("llama2", {"enable_thinking": False}, "enable_thinking is not read .* it reads no options"),
        ("qwen3", {"messages": []}, "messages cannot be set"),
        ("llama3.1", {"bos_token": ""}, "bos_token cannot be set"),
        ("qwen3", {"add_generation_prompt": True}, "add_generation_prompt cannot be set"),
    ],
)
def test_an_option_that_would_be_ignored_or_is_not_one_is_refused(name, options, complaint):
    with pytest.raises(ValueError, match=f"chat_template_kwargs.{complaint}"):
        ChatTemplate(template_of(name).tokenizer, options)


def test_one_conversation_that_cannot_be_rendered_fails_alone():
    template = template_of("gemma")
    good = turns_of(("user", "assistant"), ("x", "y"))
    system = turns_of(("system", "user", "assistant"), "xyz")
    half = turns_of(("user", "assistant"), ("x", "a \ud800 b"))
    forged = [Turn("user|>x", "y")]
    first, second, third, fourth, last = template.render_each([good, system, half, forged, good])
    assert first == last and first.failure is None
    assert second.failure and "refuses the roles (system, user, assistant): System role not supported" in second.failure
    assert third.failure == "the text of the assistant has half a character (\\ud800)"
    assert fourth.failure and "role must be one word" in fourth.failure
    with pytest.raises(ValueError, match="half a character"):
        template.render([good, half])
