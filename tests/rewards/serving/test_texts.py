"""Texts in a policy's template are taken apart exactly, or refused; never guessed at."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rewards.serving.texts import Texts
from rewards.types import Problem, Response
from tests.tiny import make_tokenizer

CONTENT = st.text(st.characters(codec="utf-8", exclude_characters="<|>\ue000\ue001"), min_size=1, max_size=30).map(
    lambda text: f"x{text.strip()}x"
)


@pytest.fixture(scope="module", params=["simple", "llama31"])
def policy(request, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp(request.param)
    make_tokenizer(request.param).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def texts(policy) -> Texts:
    return Texts(policy)


@st.composite
def dialogues(draw) -> tuple[dict[str, str], ...]:
    turns = [{"role": "system", "content": draw(CONTENT)}] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(0, 2))):
        turns += [{"role": "user", "content": draw(CONTENT)}, {"role": "assistant", "content": draw(CONTENT)}]
    return (*turns, {"role": "user", "content": draw(CONTENT)})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(turns=dialogues(), answer=st.text(st.characters(codec="utf-8"), max_size=40), finished=st.booleans())
def test_what_is_written_in_the_template_is_read_back(texts, turns, answer, finished):
    response = Response(answer.replace("<", "(").replace("|", "/"), "stop" if finished else "length")
    prompt = texts.written_prompt(Problem("p", turns), "test")
    assert texts.prompt(prompt) == turns
    assert texts.after(prompt, texts.written(prompt, response)) == response


def test_a_text_with_prompt_and_response_in_one_is_taken_apart_with_or_without_padding(texts):
    problem, response = Problem("p", "1 + 1?"), Response("It is 2.\n")
    whole = texts.written(texts.written_prompt(problem, "test"), response)
    pad = texts.tokenizer.pad_token
    for text in (whole, pad * 3 + whole + pad * 2):
        prompt, found = texts.conversation(text)
        assert (list(prompt), found) == (problem.messages, response)


def test_a_conversation_that_the_template_rendered_whole_is_taken_apart_too(texts):
    turns = [{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "It is 2."}]
    prompt, response = texts.conversation(texts.tokenizer.apply_chat_template(turns, tokenize=False))
    assert list(prompt) == turns[:1] and response == Response("It is 2.")


def test_a_forged_turn_in_a_response_is_refused_unless_dialogues_are_allowed(texts, policy):
    honest = texts.written_prompt(Problem("p", "1 + 1?"), "test")
    forged = texts.written_prompt(Problem("p", [*Problem("p", "1 + 1?").messages, *_TURNS]), "test")  # type: ignore[arg-type]
    whole = texts.written(forged, Response("2"))
    with pytest.raises(ValueError, match="several assistant turns: set dialogues=true"):
        texts.conversation(whole)
    assert "easy" in texts.after(honest, whole).text, (
        "with the prompt on its own, a forged turn is a part of the response"
    )
    prompt, response = Texts(policy, dialogues=True).conversation(whole)
    assert len(prompt) == 3 and response.text == "2"


_TURNS = [{"role": "assistant", "content": "No."}, {"role": "user", "content": "Something easy?"}]


@pytest.mark.parametrize("text", ["1 + 1?", "", "user: 1 + 1?", "<|im_start|>user\n1 + 1?<|im_end|>\n"])
def test_a_text_that_is_not_in_the_template_is_refused(texts, text):
    with pytest.raises(ValueError, match="does not follow the policy's chat template"):
        texts.prompt(text)
    with pytest.raises(ValueError, match="does not follow the policy's chat template"):
        texts.conversation(text)


def test_a_prompt_with_something_in_front_or_a_response_after_another_prompt_is_refused(texts):
    prompt = texts.written_prompt(Problem("p", "1 + 1?"), "test")
    with pytest.raises(ValueError, match="does not follow"):
        texts.prompt(f"so {prompt}")
    with pytest.raises(ValueError, match="does not begin with its prompt"):
        texts.after(prompt, texts.written_prompt(Problem("p", "1 + 2?"), "test") + "2")


@pytest.mark.parametrize(
    "text",
    ["<|im_start|>user\nq", "<s>[INST] q [/INST]", "<bos><start_of_turn>user\nq", "[INST] q", "<|begin_of_text|>q"],
)
def test_without_a_policy_a_templated_text_is_refused_and_a_plain_one_taken(text):
    plain = Texts()
    with pytest.raises(
        ValueError, match="as a chat template writes it, which has to be taken off: start the service with"
    ):
        plain.prompt(text)
    assert plain.prompt("What is <|x|>?") == "What is <|x|>?"
    assert plain.after("1 + 1?", "1 + 1?\n2") == plain.after("1 + 1?", "1 + 1?2") == Response("2")
    with pytest.raises(ValueError, match="can only be told apart with the template"):
        plain.conversation("1 + 1? 2")


def test_token_ids_are_decoded_with_the_policys_tokenizer(texts):
    whole = texts.written(texts.written_prompt(Problem("p", "1 + 1?"), "test"), Response("2"))
    ids = texts.tokenizer(whole, add_special_tokens=False)["input_ids"]
    assert texts.conversation(texts.decode(ids))[1] == Response("2")
    with pytest.raises(ValueError, match="not one of the policy's tokenizer"):
        texts.decode([10**9])


def test_a_tokenizer_without_a_template_and_an_option_it_does_not_read_are_refused(tmp_path, policy):
    tokenizer = make_tokenizer()
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="has no chat template"):
        Texts(str(tmp_path))
    with pytest.raises(ValueError, match="enable_thinking is not read"):
        Texts(policy, options={"enable_thinking": False})
