"""NeMo Gym's `/verify` (one response) and `/compare` (a group for a judge).

    /verify   {"responses_create_params": {"input": text or [messages]}, "response": {"output": [items]}, ...}
              the same object, with "reward": 0.9 and, if there are parts, "reward_components": {"part": 0.9}
    /compare  {"conversation_history": [messages], "response_objs": [{"output": [items]}, ...], "principle": null}
              {"rewards": [1.0, 0.0], "comparison_results": [...], "metrics": {...}}

A response is the `output_text` of its message items; reasoning items are not part of it, and a tool call fails the
score. The reference answer of `/verify` is `expected_answer` or `answer`. NeMo Gym has no place for a failure: a failed
score has status 422 in `/verify`; in `/compare` it is null, which NeMo Gym refuses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from rewards.files.fields import answer_of, prompt_of
from rewards.protocol import Pair
from rewards.serving.form import (
    BadRequest,
    Body,
    Form,
    Reading,
    failures_of,
    gathered,
    list_scores,
    number_score,
    pairs_of,
    value_or_none,
)
from rewards.serving.texts import Texts
from rewards.types import Group, Problem, Response, Score


class _Open(BaseModel):
    """An object of NeMo Gym's with more keys than are read here."""

    model_config = ConfigDict(extra="allow", strict=True)


class CreateParams(_Open):
    """The prompt."""

    input: str | list[dict[str, Any]]


class ResponseObject(_Open):
    """A response of OpenAI's Responses API."""

    output: list[dict[str, Any]]


class VerifyBody(_Open):
    """One response. Further keys are sent back unchanged."""

    responses_create_params: CreateParams
    response: ResponseObject
    expected_answer: str | int | float | None = None
    answer: str | int | float | None = None


class CompareBody(Body):
    """A group. `principle` is not supported: a judge here has its own prompt."""

    conversation_history: list[dict[str, Any]]
    response_objs: list[ResponseObject]
    principle: None = None


class VerifyForm(Form):
    """See the module."""

    name, path, request = "nemo_gym_verify", "/verify", VerifyBody
    says = "NeMo Gym's verify: one response; the request comes back with its reward."
    names_model = True
    most = 1

    def read(self, request: VerifyBody, texts: Texts) -> Reading:
        """The prompt and the text of the response."""
        answer = request.expected_answer if request.expected_answer is not None else request.answer
        try:
            problem = Problem("", prompt_of(_input(request.responses_create_params.input)), answer_of(answer))
            return gathered([(problem, _response(request.response.output))])
        except ValueError as error:
            return gathered([str(error)])

    def reply(self, request: VerifyBody, scores: Sequence[Score], model: str, tokens: int) -> Any:
        """The request with `reward`, and the parts as `reward_components`."""
        [score] = scores
        more = {"reward_components": dict(score.parts)} if score.parts else {}
        return request.model_dump(exclude_unset=True) | {"reward": score.value} | more

    def body(self, groups: Sequence[Group], texts: Texts, model: str, metadata: bool) -> dict[str, Any]:
        """One response; the problem's other columns are keys of the request."""
        pairs = pairs_of(groups)
        [(problem, response)] = pairs
        more = {name: value for name, value in problem.metadata.items() if name not in VerifyBody.model_fields}
        return (more if metadata else {}) | {
            "responses_create_params": {"input": problem.messages},
            "response": _object(response, model),
            "expected_answer": problem.answer,
        }

    def scores(self, answer: Any, count: int) -> list[Score]:
        """`reward`, with `reward_components` as parts."""
        found = answer if isinstance(answer, Mapping) else {}
        parts = found.get("reward_components")
        return [number_score(found.get("reward"), parts if isinstance(parts, Mapping) else None)] * count


class CompareForm(Form):
    """See the module."""

    name, path, request = "nemo_gym_compare", "/compare", CompareBody
    says = "NeMo Gym's compare: a group of responses; one reward per response."
    sends_metadata = False
    names_model = True
    whole_groups = True

    def read(self, request: CompareBody, texts: Texts) -> Reading:
        """The responses are one group. Raises BadRequest for a response that is not text."""
        try:
            problem = Problem("", prompt_of(request.conversation_history))
        except ValueError as error:
            return Reading((), (str(error),) * len(request.response_objs))
        pairs: list[Pair | str] = []
        for place, one in enumerate(request.response_objs):
            try:
                pairs.append((problem, _response(one.output)))
            except ValueError as error:
                # The matches of a judge count the responses of the group, so none may be left out.
                raise BadRequest(f"response_objs.{place}: {error}") from None
        return gathered(pairs)

    def reply(self, request: CompareBody, scores: Sequence[Score], model: str, tokens: int) -> Any:
        """Rewards, and a comparison for every match of a judge."""
        good = [score.value for score in scores if score.ok]
        failures = failures_of(scores)
        metrics = {"failed": float(len(failures))} | ({"mean_reward": sum(good) / len(good)} if good else {})
        return {
            "rewards": [value_or_none(score) for score in scores],
            "comparison_results": _comparisons(scores),
            "metrics": metrics,
        } | ({"failures": failures} if failures else {})

    def body(self, groups: Sequence[Group], texts: Texts, model: str, metadata: bool) -> dict[str, Any]:
        """The whole group."""
        pairs = pairs_of(groups)
        return {
            "conversation_history": pairs[0][0].messages,
            "response_objs": [_object(response, model) for _, response in pairs],
        }

    def scores(self, answer: Any, count: int) -> list[Score]:
        """`rewards`, in order."""
        found = answer if isinstance(answer, Mapping) else {}
        return list_scores(found.get("rewards"), "rewards", count, found.get("failures"))


def _input(given: str | list[dict[str, Any]]) -> Any:
    """The prompt, with the content parts of the Responses API as text parts."""
    if isinstance(given, str):
        return given
    return [_message(item) for item in given]


def _message(item: dict[str, Any]) -> dict[str, Any]:
    content = item.get("content")
    if item.get("type", "message") != "message":
        raise ValueError(
            f"an input item of type {str(item.get('type'))[:40]!r} is not supported: only messages are read"
        )
    if isinstance(content, list):
        content = [
            {"type": "text", "text": part.get("text")}
            if isinstance(part, dict) and part.get("type") in ("input_text", "output_text")
            else part
            for part in content
        ]
    return {"role": item.get("role"), "content": content}


def _response(output: Sequence[dict[str, Any]]) -> Response:
    """The text of a response's message items."""
    text, finished = "", True
    for item in output:
        if item.get("type") == "reasoning":
            continue
        if item.get("type", "message") != "message":
            raise ValueError(f"the response has an item of type {str(item.get('type'))[:40]!r}: only text is scored")
        content = item.get("content")
        if isinstance(content, str):
            text += content
        else:
            text += "".join(_part(part) for part in content if content) if isinstance(content, list) else ""
        finished = finished and item.get("status") != "incomplete"
    return Response(text, "stop" if finished else "length")


def _part(part: Any) -> str:
    if not isinstance(part, dict) or part.get("type") != "output_text" or not isinstance(part.get("text"), str):
        raise ValueError("the response has a content part that is not output_text: only text is scored")
    return str(part["text"])


def _object(response: Response, model: str) -> dict[str, Any]:
    """A response as the Responses API writes it."""
    message = {
        "id": "msg_0",
        "type": "message",
        "role": "assistant",
        "status": "completed" if response.finish_reason == "stop" else "incomplete",
        "content": [{"type": "output_text", "text": response.text, "annotations": []}],
    }
    return {
        "id": "resp_0",
        "created_at": 0.0,
        "model": model,
        "object": "response",
        "output": [message],
        "parallel_tool_calls": False,
        "tool_choice": "none",
        "tools": [],
    }


def _comparisons(scores: Sequence[Score]) -> list[dict[str, Any]]:
    """The matches of a judge. `ranking` is NeMo Gym's, from 1 (the first is better) to 6 (the second is)."""
    found = []
    for first, score in enumerate(scores):
        for second, points in sorted((score.matches or {}).items()):
            if first < second:
                found.append(
                    {
                        "response_i": first,
                        "response_j": second,
                        "judge_idx": 0,
                        "score_1": points,
                        "score_2": 1.0 - points,
                        "ranking": 6.0 - 5.0 * points,
                    }
                )
    return found
