"""OpenRLHF's remote reward, `/get_reward`, and the plain batched form of `reward=remote`.

    {"query": [prompt and response], "prompts": [prompt], "labels": [reference answer or null]}
    {"rewards": [0.9], "scores": [0.9], "extra_logs": {"part": [0.9]}}

OpenRLHF 0.11 sends one response per request and reads a status other than 200 as "no reward" after five tries; the
response then has none. A failed score of several is null in `rewards` and `scores`, with its reason in `failures`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rewards.files.fields import answer_of
from rewards.protocol import Pair
from rewards.serving.form import (
    Body,
    Form,
    Reading,
    failures_of,
    gathered,
    list_scores,
    number_score,
    pairs_of,
    row_of,
    same_length,
    value_or_none,
)
from rewards.serving.texts import Texts
from rewards.types import Group, Problem, Response, Score

READER = "the endpoint of reward=remote"

Label = str | int | float | None


class QueryBody(Body):
    """OpenRLHF's request; `metadata` is this project's addition."""

    query: list[str]
    prompts: list[str]
    labels: list[Label] | None = None
    metadata: list[dict[str, Any]] | None = None


class BatchedBody(Body):
    """Prompts and responses apart."""

    prompts: list[str]
    responses: list[str]
    labels: list[Label] | None = None
    metadata: list[dict[str, Any]] | None = None


class _Rewards(Form):
    """The reply that both forms share."""

    def read(self, request: Any, texts: Texts) -> Reading:
        """Responses to equal prompts of one request are a group."""
        column = request.query if isinstance(request, QueryBody) else request.responses
        same_length(responses=column, prompts=request.prompts, labels=request.labels, metadata=request.metadata)
        return gathered([self._item(request, place, text, texts) for place, text in enumerate(column)])

    def _item(self, request: Any, place: int, text: str, texts: Texts) -> Pair | str:
        prompt = request.prompts[place]
        try:
            response = texts.after(prompt, text) if isinstance(request, QueryBody) else texts.response(text)
            answer = answer_of(row_of(request.labels, place), "labels")
            return Problem("", texts.prompt(prompt), answer, row_of(request.metadata, place) or {}), response
        except ValueError as error:
            return str(error)

    def reply(self, request: Any, scores: Sequence[Score], model: str, tokens: int) -> Any:
        """Parts that every response has become `extra_logs`."""
        values = [value_or_none(score) for score in scores]
        good = [score for score in scores if score.ok]
        names = [name for name in (good[0].parts if good else ()) if all(name in score.parts for score in good)]
        logs = {name: [score.parts[name] if score.ok else None for score in scores] for name in names}
        failures = failures_of(scores)
        return {"rewards": values, "scores": values, "extra_logs": logs} | ({"failures": failures} if failures else {})

    def scores(self, answer: Any, count: int) -> list[Score]:
        """Rewards, with `extra_logs` and `scores` as parts."""
        if not isinstance(answer, Mapping):
            return [Score.failed("the endpoint's answer is not a JSON object")] * count
        found = list_scores(answer.get("rewards"), "rewards", count, answer.get("failures"))
        logs = answer.get("extra_logs")
        columns = dict(logs) if isinstance(logs, Mapping) else {}
        if answer.get("scores") is not None:
            columns["score"] = answer["scores"]
        parts = {name: column for name, column in columns.items() if isinstance(column, list) and len(column) == count}
        return [
            number_score(answer["rewards"][place], {name: column[place] for name, column in parts.items()})
            if score.ok
            else score
            for place, score in enumerate(found)
        ]


class OpenRLHFForm(_Rewards):
    """See the module."""

    name, path, request = "openrlhf", "/get_reward", QueryBody
    says = "OpenRLHF's remote reward: each text is a prompt and its response, in the policy's template."
    most = 1

    def body(self, groups: Sequence[Group], texts: Texts, model: str, metadata: bool) -> dict[str, Any]:
        """As OpenRLHF decodes them: prompt, response, and the end-of-turn token if the response is finished."""
        pairs = pairs_of(groups)
        prompts = [texts.written_prompt(problem, READER) for problem, _ in pairs]
        queries = [texts.written(prompt, response) for prompt, (_, response) in zip(prompts, pairs, strict=True)]
        return {"query": queries, "prompts": prompts, **_labels(pairs, metadata)}


class BatchedForm(_Rewards):
    """`{"prompts": [...], "responses": [...], "labels": [...]}`: OpenRLHF's reply to prompts and responses apart."""

    name, path, request = "batched", "/batched", BatchedBody
    says = "Prompts and responses apart; the reply is OpenRLHF's."

    def body(self, groups: Sequence[Group], texts: Texts, model: str, metadata: bool) -> dict[str, Any]:
        """Responses are sent as they are."""
        pairs = pairs_of(groups)
        prompts = [texts.written_prompt(problem, READER) for problem, _ in pairs]
        return {"prompts": prompts, "responses": [response.text for _, response in pairs], **_labels(pairs, metadata)}

    def _item(self, request: BatchedBody, place: int, text: str, texts: Texts) -> Pair | str:
        item = super()._item(request, place, text, texts)
        # This form's responses never carry the end of a turn, so nothing says that one was cut off.
        return item if isinstance(item, str) else (item[0], Response(item[1].text))


def _labels(pairs: Sequence[Pair], metadata: bool) -> dict[str, Any]:
    labels = {"labels": [problem.answer for problem, _ in pairs]}
    return labels | ({"metadata": [dict(problem.metadata) for problem, _ in pairs]} if metadata else {})
