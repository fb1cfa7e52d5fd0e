"""What outcome, process and scalar models make of dialogues, thoughts and prompts that their template refuses."""

from __future__ import annotations

import pytest

from rewards.outcome import OutcomeReward
from rewards.process import ProcessReward
from rewards.protocol import ResponseReward
from rewards.types import Group, Problem, Response
from tests.rewards.check_templates import tokenizer_for
from tests.rewards.families import FAMILIES
from tests.rewards.published import PublishedModel
from tests.tiny import make_llama

RESPONSE = Response("Step 1: 2 + 2 = 4\nThe answer is: 4")


def dialogue(first: str, *, system: str | None = None) -> Problem:
    turns = [{"role": "system", "content": system}] if system else []
    turns += [{"role": "user", "content": first}, {"role": "assistant", "content": "Let me think."}]
    return Problem("p", (*turns, {"role": "user", "content": "Please continue."}))  # type: ignore[arg-type]


def score(reward: ResponseReward, *problems: Problem) -> list[float]:
    return [one.value for [one] in reward.score([Group(problem, (RESPONSE,)) for problem in problems])]


@pytest.mark.parametrize("kind", [OutcomeReward, ProcessReward])
def test_different_dialogues_with_the_same_last_turn_have_different_scores(checkpoint, kind):
    one, other = score(kind(checkpoint), dialogue("2 + 2?"), dialogue("What is 3 * 4?"))
    assert one != pytest.approx(other, abs=1e-6)


def test_the_turns_of_a_dialogue_are_read_as_transformers_writes_them(checkpoint):
    problem = dialogue("2 + 2?", system="Think step by step.")
    published = PublishedModel(checkpoint)
    question = {"role": "user", "content": f"Please continue. {RESPONSE.text}"}
    expected = published.plus([*problem.messages[1:-1], question, {"role": "assistant", "content": "+"}])
    assert score(OutcomeReward(checkpoint), problem) == [pytest.approx(expected, abs=1e-5)]


@pytest.mark.parametrize("name", ["qwen3", "qwen3.5", "glm4-moe", "deepseek-r1", "smollm3"])
@pytest.mark.parametrize("special", [False, True])
def test_an_outcome_model_with_a_thinking_template_scores_as_transformers_renders(tmp_path, name, special):
    family = FAMILIES[name]
    tokenizer = tokenizer_for(family.template, bos=family.bos, special_thoughts=special)
    folder = str(make_llama(tmp_path, tokenizer))
    problem, response = Problem("p", "2+2?"), Response("<think>\nTwo.\n</think>\n\n4")
    [[found]] = OutcomeReward(folder).score([Group(problem, (response,))])
    messages = [{"role": "user", "content": f"2+2? {response.text}"}, {"role": "assistant", "content": "+"}]
    assert found.value == pytest.approx(PublishedModel(folder).plus(messages), abs=1e-5)


def test_options_of_the_template_reach_the_model_and_unknown_ones_are_refused(tmp_path):
    folder = str(make_llama(tmp_path, tokenizer_for(FAMILIES["smollm3"].template)))
    plain, changed = (
        OutcomeReward(folder, chat_template_kwargs=options) for options in (None, {"enable_thinking": False})
    )
    assert score(plain, Problem("p", "2+2?")) != score(changed, Problem("p", "2+2?"))
    with pytest.raises(
        ValueError, match=r"^chat_template_kwargs\.thinking is not read .* did you mean enable_thinking"
    ):
        OutcomeReward(folder, chat_template_kwargs={"thinking": False})


def test_a_template_that_refuses_a_role_fails_that_response_alone_or_at_the_start(tmp_path):
    folder = str(make_llama(tmp_path, tokenizer_for(FAMILIES["mistral"].template, bos="<s>")))
    odd = Problem("p", ({"role": "user", "content": "x"}, {"role": "user", "content": "y"}))
    groups = [Group(Problem("q", "2+2?"), (RESPONSE,)), Group(odd, (RESPONSE,))]
    [[good], [refused]] = OutcomeReward(folder).score(groups)
    assert good.ok and "Roles must alternate" in refused.failure
    with pytest.raises(ValueError, match="Roles must alternate"):
        OutcomeReward(folder, system="Be fair.")
