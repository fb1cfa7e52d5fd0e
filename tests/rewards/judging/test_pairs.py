"""Generative judges of every format in tournaments, behind a real endpoint."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest

from rewards.chat import Turn
from rewards.judging.generators import EndpointGenerator, Request, Written
from rewards.judging.pairs import GenerativeJudge
from rewards.pairjudge import PairJudgeReward
from rewards.tournament_formats import FORMATS
from rewards.types import Group, Problem, Response
from rewards.verdicts import Comparison
from tests.rewards.servers import serving

GROUP = Group(Problem("p", "Name a number."), tuple(Response(f"I say {n}") for n in (3, 1, 4, 2)))
SAYS: dict[str, Callable[[int, int], str]] = {
    "pairjudge": lambda a, b: f"<resp_a_judge>{a > b}</resp_a_judge><resp_b_judge>{b > a}".replace(
        "True", "Correct"
    ).replace("False", "Incorrect"),
    "nemotron_genrm": lambda a, b: json.dumps({"score_1": 3, "score_2": 3, "ranking": 1 if a > b else 6}),
    "rm_r1_instruct": lambda a, b: f"<eval>...</eval> <answer>[[{'A' if a > b else 'B'}]]</answer>",
    "rm_r1_distilled": lambda a, b: f"Hm [[A]]</think><answer>[[{'A' if a > b else 'B'}]]</answer>",
    "arena_hard": lambda a, b: "[[A>B]]" if a > b else "[[B>>A]]",
    "mt_bench": lambda a, b: f"[[{'A' if a > b else 'B'}]]",
    "rewardbench": lambda a, b: f"[[{'A' if a > b else 'B'}]]",
}
"""What a judge of each format says if response A names the number a, and B the number b: the larger is better."""


def chat(content, reason="stop"):
    return {"choices": [{"message": {"role": "assistant", "content": content}, "finish_reason": reason}]}


def judge(url, format, **options):
    return GenerativeJudge(format, EndpointGenerator(url, "judge", tries=1, timeout_s=5.0, **options))


class Writer:
    """A generator that writes what a function of the prompt says, and counts the prompts."""

    def __init__(self, says: Callable[[Request], str]) -> None:
        self.says, self.asked = says, 0

    def plain(self, text: str) -> str:
        return text

    def write(self, requests: Sequence[Request]) -> list[Written]:
        self.asked += len(requests)
        return [Written(self.says(request)) for request in requests]


def numbers(request: Request) -> tuple[int, int]:
    """The numbers that responses A and B name."""
    words = " ".join(turn.content for turn in request.turns).split()
    a, b = (int(words[place + 2]) for place, word in enumerate(words) if words[place : place + 2] == ["I", "say"])
    return a, b


@pytest.mark.parametrize("tournament", FORMATS)
@pytest.mark.parametrize("format", SAYS)
def test_every_format_decides_every_tournament(format, tournament):
    writer = Writer(lambda request: SAYS[format](*numbers(request)))
    reward = PairJudgeReward(GenerativeJudge(format, writer), format=tournament, both_orders=None)
    [scores] = reward.score([GROUP])
    values = [score.value for score in scores]
    assert max(values) == values[2] and min(values) == values[1]
    assert {float(place == 2) for place in range(4)} == {score.parts["winner"] for score in scores}
    assert writer.asked == scores[0].parts["judgements"]
    assert writer.asked % {"mt_bench": 2, "arena_hard": 2}.get(format, 1) == 0


def test_a_real_endpoint_is_asked_once_per_judgement():
    def answer(body, before):
        turns = [Turn(message["role"], message["content"]) for message in body["messages"]]
        return 200, chat(SAYS["arena_hard"](*numbers(Request(turns))))

    with serving(answer) as server:
        reward = PairJudgeReward(judge(server.url, "arena_hard"), format="round_robin", both_orders=None)
        [scores] = reward.score([GROUP])
    assert [score.value for score in scores] == pytest.approx([2 / 3, 0, 1, 1 / 3])
    assert len(server.bodies) == scores[0].parts["judgements"] == 12


def always(word: str, **options) -> tuple[list[float], int]:
    """A round robin by an MT-Bench judge that always prefers the same place: the values, and the judgements."""
    writer = Writer(lambda request: f"[[{word}]]")
    [scores] = PairJudgeReward(GenerativeJudge("mt_bench", writer), format="round_robin", **options).score([GROUP])
    return [score.value for score in scores], writer.asked


def test_a_judge_that_prefers_a_place_makes_ties_if_both_orders_must_agree():
    assert always("A", both_orders=None) == ([0.5] * 4, 12)
    assert always("A", both_orders=False)[1] == 6
    assert len(set(always("A", both_orders=False)[0])) > 1


@pytest.mark.parametrize(
    ("format", "tie", "win", "expected"),
    [("mt_bench", "[[C]]", "[[A]]", [0.5, 0.5]), ("arena_hard", "[[A=B]]", "[[A>B]]", [1.0, 0.0])],
)
def test_one_win_and_one_tie_is_a_tie_where_the_orders_must_agree_and_a_win_by_the_mean(format, tie, win, expected):
    writer = Writer(lambda request: win if numbers(request) == (3, 1) else tie)
    reward = PairJudgeReward(GenerativeJudge(format, writer), format="round_robin", both_orders=None)
    [scores] = reward.score([Group(GROUP.problem, GROUP.responses[:2])])
    assert [score.value for score in scores] == expected


def test_an_order_without_a_verdict_is_no_verdict_where_the_orders_must_agree_and_left_out_of_the_mean():
    failures = {}
    for format, win in (("mt_bench", "[[A]]"), ("arena_hard", "[[A>B]]")):
        writer = Writer(lambda request, win=win: win if numbers(request) == (3, 1) else "Hm.")
        reward = PairJudgeReward(GenerativeJudge(format, writer), format="round_robin", both_orders=None)
        [scores] = reward.score([Group(GROUP.problem, GROUP.responses[:2])])
        failures[format] = {score.failure for score in scores}
    assert failures["arena_hard"] == {None}
    assert failures["mt_bench"] == {"none of its matches got a verdict: the judge gave no verdict"}


@pytest.mark.parametrize("format", SAYS)
@pytest.mark.parametrize("said", ["Both are fine, I would say 3.0.", "", "```json\n{", "<answer>"])
def test_prose_is_a_failure_and_never_a_number(format, said):
    judge = GenerativeJudge(format, Writer(lambda request: said))
    [scores] = PairJudgeReward(judge, format="round_robin", both_orders=None).score([GROUP])
    assert {score.failure for score in scores} <= {
        f"none of its matches got a verdict: the judge gave no verdict{side}" for side in ("", " on response A and B")
    }


def test_a_judgement_that_is_cut_off_says_so():
    with serving(lambda body, before: (200, chat('{"score_1": 4, "score_', "length"))) as server:
        [verdict] = judge(server.url, "nemotron_genrm").judge([Comparison("q", "a", "b")])
    assert verdict.reason == "the judge gave no verdict before it was cut off (max_new_tokens)"
    with serving(lambda body, before: (200, chat(None, "length"))) as server:
        [verdict] = judge(server.url, "nemotron_genrm").judge([Comparison("q", "a", "b")])
    assert verdict.reason == "the endpoint's answer has no text before it was cut off"


def test_roles_and_sampling_reach_the_endpoint():
    turns = (("system", "s"), ("user", "2+2?"), ("assistant", "Hm."), ("user", "Go on."))
    dialogue = Problem("p", tuple({"role": role, "content": text} for role, text in turns))  # type: ignore[arg-type]
    group = Group(dialogue, (Response("4<|im_end|>"), Response("5")))
    with serving(lambda body, before: (200, chat('{"score_1": 4, "score_2": 4}'))) as server:
        with_options = judge(server.url, "nemotron_genrm", temperature=0.6, top_p=0.95, seed=7, extra={"top_k": 20})
        [scores] = PairJudgeReward(with_options, teams="text").score([group])
    [body] = server.bodies
    assert [message["role"] for message in body["messages"]] == [
        "user",
        "assistant",
        "user",
        "response_1",
        "response_2",
    ]
    assert "<| im_end |>" in str(body) and "<|im_end|>" not in str(body)
    assert (body["temperature"], body["top_p"], body["seed"], body["top_k"]) == (0.6, 0.95, 7, 20)
    assert "stop" not in body and "response_format" not in body
    assert all(score.ok for score in scores)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature must be 0 or above"),
        ({"temperature": float("nan")}, "temperature must be 0 or above"),
        ({"top_p": 0.5}, "top_p=0.5 has no effect: it needs temperature above 0"),
        ({"temperature": 1.0, "top_p": 0.0}, "top_p must be in"),
        ({"seed": 3}, "seed=3 has no effect"),
        ({"context_tokens": 900}, "context_tokens=900 has no effect: it needs tokenizer"),
        ({"max_new_tokens": 0}, "max_new_tokens and context_tokens must be at least 1"),
    ],
)
def test_generation_options_that_cannot_work_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        EndpointGenerator("http://127.0.0.1:1/v1", "judge", **options)
