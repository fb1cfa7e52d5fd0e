"""Every protocol, both ways: what the client sends, the service reads; what the service replies, the client reads."""

from __future__ import annotations

import json

import pytest

from rewards.remote import RemoteReward
from rewards.serving.form import BadRequest
from rewards.serving.forms import FORMS, by_path, form_named
from rewards.serving.texts import Texts
from rewards.types import Group, Problem, Response, Score
from tests.rewards.serving.rewards import Longest, Marks, mark
from tests.tiny import make_tokenizer

NAMES = [form.name for form in FORMS]
PROBLEM = Problem("p", "1 + 1?", "2")
GOOD = Response("It is 2.")


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> Texts:
    folder = tmp_path_factory.mktemp("policy")
    make_tokenizer().save_pretrained(folder)
    return Texts(str(folder))


def asked(name: str, texts: Texts, *responses: Response) -> tuple:
    """The form, a client's request for these responses as it arrives, and its reading."""
    form = form_named(name)
    body = form.body([Group(PROBLEM, responses)], texts, "m", False)
    request = form.parse(json.loads(json.dumps(body)))
    return form, request, form.read(request, texts)


def answered(name: str, texts: Texts, *responses: Response) -> list[Score]:
    """What a client reads in the service's reply."""
    form, request, reading = asked(name, texts, *responses)
    scores = reading.arranged(Marks().score([piece.group for piece in reading.pieces]))
    assert len(scores) == len(responses)
    return form.scores(json.loads(json.dumps(form.reply(request, scores, "m", 7), allow_nan=False)), len(responses))


@pytest.mark.parametrize("name", NAMES)
def test_a_client_and_the_service_agree_on_problem_response_and_value(name, texts):
    [score] = answered(name, texts, GOOD)
    assert score.value == mark("1 + 1?", "It is 2."), "the reward read the very problem and response"
    _, _, reading = asked(name, texts, GOOD)
    assert reading.pieces[0].group.problem.messages == PROBLEM.messages


@pytest.mark.parametrize("name", [form.name for form in FORMS if form.most is None])
def test_several_responses_keep_their_order_and_a_failure_is_never_a_number(name, texts):
    responses = [Response("b"), Response(""), Response("a"), Response("b")]
    scores = answered(name, texts, *responses)
    assert [score.ok for score in scores] == [True, False, True, True]
    assert [score.value for score in scores if score.ok] == [mark("1 + 1?", text) for text in "bab"]
    assert "the response is empty" in str(scores[1].failure)


@pytest.mark.parametrize("name", ["openrlhf", "slime", "slime_dict", "rewardloop"])
def test_a_response_that_was_cut_off_arrives_as_cut_off(name, texts):
    _, _, reading = asked(name, texts, Response("It is", "length"))
    assert reading.pieces[0].group.responses == (Response("It is", "length"),)


@pytest.mark.parametrize("name", ["openrlhf", "batched", "slime", "rewardloop", "nemo_gym_verify"])
def test_the_reference_answer_arrives(name, texts):
    _, _, reading = asked(name, texts, GOOD)
    assert reading.pieces[0].group.problem.answer == "2"


def test_the_own_form_carries_steps_spans_parts_and_matches(texts):
    [score] = answered("rewardloop", texts, GOOD)
    assert (score.steps, score.spans, score.parts) == ((score.value,), ((0, 8),), {"length": 8.0})
    form, request, reading = asked("rewardloop", texts, Response("a"), Response("bb"))
    scores = Longest().score([piece.group for piece in reading.pieces])[0]
    assert form.scores(json.loads(json.dumps(form.reply(request, scores, "m", 1))), 2) == scores


def test_nemo_gyms_compare_lists_the_matches_and_verify_sends_the_request_back(texts):
    form, request, reading = asked("nemo_gym_compare", texts, Response("a"), Response("bb"))
    reply = form.reply(request, Longest().score([reading.pieces[0].group])[0], "m", 1)
    assert reply["rewards"] == [0.0, 1.0]
    assert reply["comparison_results"] == [
        {"response_i": 0, "response_j": 1, "judge_idx": 0, "score_1": 0.0, "score_2": 1.0, "ranking": 6.0}
    ]
    form = form_named("nemo_gym_verify")
    body = form.body([Group(PROBLEM, (GOOD,))], texts, "m", False) | {"verifier_metadata": {"x": [1]}}
    request = form.parse(body)
    reading = form.read(request, texts)
    reply = form.reply(request, Marks().score([reading.pieces[0].group])[0], "m", 1)
    assert reply == body | {"reward": mark("1 + 1?", "It is 2."), "reward_components": {"length": 8.0}}


def test_vllm_takes_texts_token_ids_and_messages(texts):
    form = form_named("vllm_classify")
    whole = texts.written(texts.written_prompt(PROBLEM, "test"), GOOD)
    ids = texts.tokenizer(whole, add_special_tokens=False)["input_ids"]
    messages = [*PROBLEM.messages, {"role": "assistant", "content": GOOD.text}]
    for given in ({"input": whole}, {"input": [whole]}, {"input": ids}, {"input": [ids]}, {"messages": messages}):
        reading = form.read(form.parse(given), texts)
        [piece] = reading.pieces
        assert piece.group.problem.messages == PROBLEM.messages and piece.group.responses[0].text == GOOD.text
    assert form.read(form.parse({"input": []}), texts).places == ()


def test_vllm_pooling_has_a_row_per_step_unless_one_value_is_asked_for(texts):
    form = form_named("vllm_pooling")
    score = Score.of(0.5, steps=[0.9, 0.5], spans=[(0, 1), (1, 2)])
    for task, data in ((None, [[0.9], [0.5]]), ("token_classify", [[0.9], [0.5]]), ("classify", [0.5])):
        reply = form.reply(form.parse({"input": "x", "task": task}), [score], "m", 1)
        assert reply["data"][0]["data"] == data
    reply = form.reply(form.parse({"input": "x", "task": "token_classify"}), [Score.of(1.0)], "m", 1)
    assert reply["data"][0]["data"] == [] and "has no steps" in reply["data"][0]["failure"]


def test_vllm_and_sglang_share_a_path_and_are_told_apart_by_their_keys():
    vllm, sglang = by_path()["/classify"]
    assert vllm.takes({"input": "x"}) and not vllm.takes({"text": "x"}) and vllm.takes([])
    assert sglang.takes({"text": "x"}) and not sglang.takes({"input": "x"}) and not sglang.takes([])


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("openrlhf", [], "the body must be a JSON object, not a list"),
        ("openrlhf", {"query": "x", "prompts": ["x"]}, "query: Input should be a valid list"),
        (
            "openrlhf",
            {"query": ["x"], "prompts": []},
            "one entry per response is needed, but responses has 1, prompts has 0",
        ),
        ("openrlhf", {"query": [], "prompts": [], "temperature": 1}, "temperature: Extra inputs are not permitted"),
        ("slime", {"prompt": "x"}, "response: Field required"),
        ("rewardloop", {"groups": [{"problem": 1, "responses": []}]}, "groups.0.problem"),
        (
            "rewardloop",
            {"groups": [{"problem": "q", "responses": ["a"], "group_id": "g"}]},
            "group_id needs group_size",
        ),
        (
            "rewardloop",
            {"groups": [{"problem": "q", "responses": ["a", "b"], "group_size": 1}]},
            "2 responses in a piece",
        ),
        ("vllm_classify", {"model": "m"}, "give either input or messages"),
        ("vllm_classify", {"input": "x", "use_activation": True}, "use_activation: Input should be False"),
        ("vllm_classify", {"input": "x", "truncate_prompt_tokens": 5}, "truncate_prompt_tokens: Extra inputs"),
        ("llamafactory", {"model": "m", "messages": ["x"], "max_length": 9}, "max_length: Input should be None"),
        ("nemo_gym_compare", {"conversation_history": [], "response_objs": [], "principle": "p"}, "principle"),
        (
            "nemo_gym_compare",
            {"conversation_history": PROBLEM.messages, "response_objs": [{"output": [{"type": "function_call"}]}]},
            "response_objs.0: the response has an item of type 'function_call': only text is scored",
        ),
    ],
)
def test_a_request_that_cannot_be_answered_is_refused_in_one_line_that_names_the_key(name, body, message, texts):
    form = form_named(name)
    with pytest.raises(BadRequest) as refused:
        form.read(form.parse(body), texts)
    assert message in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "body", "reason"),
    [
        ("openrlhf", {"query": ["ab"], "prompts": ["a"]}, "does not follow the policy's chat template"),
        ("llamafactory", {"model": "m", "messages": ["ab"]}, "does not follow the policy's chat template"),
        ("vllm_classify", {"input": [10**9]}, "not one of the policy's tokenizer"),
        ("vllm_classify", {"messages": PROBLEM.messages}, "must end with the assistant's turn"),
        ("slime", {"prompt": [], "response": "a"}, "the prompt is empty"),
        ("rewardloop", {"groups": [{"problem": [{"role": "x"}], "responses": ["a"]}]}, "message 0 must be an object"),
        (
            "nemo_gym_verify",
            {"responses_create_params": {"input": "q"}, "response": {"output": [{"type": "function_call"}]}},
            "only text is scored",
        ),
    ],
)
def test_a_response_that_cannot_be_read_fails_alone_with_the_reason(name, body, reason, texts):
    form = form_named(name)
    [place] = form.read(form.parse(body), texts).places
    assert isinstance(place, str) and reason in place


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "answer", [None, 1, "x", [], {}, {"rewards": [True]}, {"data": [3]}, {"groups": [{"scores": [1]}]}]
)
def test_a_client_survives_any_answer_and_fails_the_score(name, answer):
    if name.startswith("slime") and answer == 1:
        return  # a number is slime's answer
    scores = form_named(name).scores(answer, 1)
    assert len(scores) == 1 and not scores[0].ok


def test_options_that_a_form_does_not_read_are_refused():
    url = "http://127.0.0.1:1/x"
    for options, message in (
        ({"form": "slime", "batch_size": 2}, "batch_size=2 has no effect"),
        ({"form": "rewardloop", "tokenizer": "x"}, "tokenizer=x has no effect"),
        ({"form": "rewardloop", "model": "x"}, "model=x has no effect"),
        ({"form": "vllm_classify", "metadata": True}, "metadata=true has no effect"),
        ({"form": "openrlhf", "compares": True}, "compares=true has no effect"),
        ({"form": "llamafactory"}, "tokenizer is missing"),
    ):
        with pytest.raises(ValueError, match=message):
            RemoteReward(url, **options)
    assert RemoteReward(url, form="nemo_gym_compare").compares_responses
    assert RemoteReward(url, form="rewardloop", compares=True).compares_responses
