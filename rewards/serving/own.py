"""The service's own protocol, `/score`: groups in; values, steps, spans, parts, matches and failures out.

    {"groups": [{"problem": "1 + 1?" or [messages], "responses": ["2", {"text": "3", "finish_reason": "length"}],
                 "answer": "2", "metadata": {...}, "id": "p1"}]}
    {"model": "prm", "groups": [{"id": "p1", "scores": [{"value": 0.9, "steps": [0.9], "spans": [[0, 1]]},
                                                       {"failure": "why there is no value"}]}]}

A group may come in pieces, in as many requests: `group_size` says how many responses it has in all, and `group_id`
tells it from other groups with the same problem. A piece is answered once its group is complete and scored; its matches
count the responses of the whole group. Texts are plain: no template is taken off.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from rewards.files.fields import answer_of, kind_of, prompt_of
from rewards.records import score_from_json, score_to_json
from rewards.serving.form import BadRequest, Body, Form, Piece, Reading
from rewards.serving.texts import Texts
from rewards.types import FinishReason, Group, Problem, Response, Score


class ResponseBody(Body):
    """A response, and why it ended."""

    text: str
    finish_reason: FinishReason = "stop"


class GroupBody(Body):
    """A problem with its responses."""

    problem: str | list[dict[str, Any]] = Field(description="the question, or chat messages that end with the user's")
    responses: list[str | ResponseBody]
    answer: str | int | float | None = Field(default=None, description="the reference answer")
    metadata: dict[str, Any] = Field(default_factory=dict)
    id: str = ""
    group_size: int | None = Field(default=None, ge=1, description="hold until the group has this many responses")
    group_id: str = Field(default="", description="tells groups with the same problem apart (with group_size)")


class ScoreBody(Body):
    """Groups to score."""

    groups: list[GroupBody]


class OwnForm(Form):
    """See the module."""

    name, path, request = "rewardloop", "/score", ScoreBody
    says = "Groups in; one score or failure per response out. This service's own form."
    tells_failures = True
    whole_groups = True

    def read(self, request: ScoreBody, texts: Texts) -> Reading:
        """A group whose problem cannot be read fails; the others are unaffected."""
        pieces: list[Piece] = []
        places: list[tuple[int, int] | str] = []
        for number, group in enumerate(request.groups):
            responses = tuple(map(_response, group.responses))
            if group.group_size is not None and not 0 < len(responses) <= group.group_size:
                raise BadRequest(f"groups.{number}: {len(responses)} responses in a piece of {group.group_size}")
            if group.group_id and group.group_size is None:
                raise BadRequest(f"groups.{number}: group_id needs group_size")
            try:
                problem = Problem(group.id, prompt_of(group.problem), answer_of(group.answer), group.metadata)
            except ValueError as error:
                places += [str(error)] * len(responses)
                continue
            places += [(len(pieces), place) for place in range(len(responses))]
            pieces.append(Piece(Group(problem, responses), group.group_size, group.group_id))
        return Reading(tuple(pieces), tuple(places))

    def reply(self, request: ScoreBody, scores: Sequence[Score], model: str, tokens: int) -> Any:
        """The scores of each group, as `launch.score` writes them."""
        left = iter(scores)
        groups = [
            {"id": group.id, "scores": [score_to_json(next(left)) for _ in group.responses]} for group in request.groups
        ]
        return {"model": model, "groups": groups}

    def error(self, status: int, message: str) -> Any:
        """`{"error": {"code": ..., "message": ...}}`."""
        return {"error": {"code": status, "message": message}}

    def body(self, groups: Sequence[Group], texts: Texts, model: str, metadata: bool) -> dict[str, Any]:
        """The groups as they are."""
        return {"groups": [_body_of(group, metadata) for group in groups]}

    def scores(self, answer: Any, count: int) -> list[Score]:
        """The scores of all groups, in order."""
        try:
            records = [record for group in answer["groups"] for record in group["scores"]]
        except (KeyError, TypeError):
            return [Score.failed("the endpoint's answer has no list `groups` with `scores`")] * count
        if len(records) != count:
            return [Score.failed(f"the endpoint returned {len(records)} scores for {count} responses")] * count
        return [_score(record) for record in records]


def _body_of(group: Group, metadata: bool) -> dict[str, Any]:
    problem = group.problem
    return {
        "problem": problem.prompt if isinstance(problem.prompt, str) else problem.messages,
        "responses": [{"text": one.text, "finish_reason": one.finish_reason} for one in group.responses],
        "answer": problem.answer,
        "id": problem.id,
    } | ({"metadata": dict(problem.metadata)} if metadata else {})


def _response(response: str | ResponseBody) -> Response:
    return Response(response) if isinstance(response, str) else Response(response.text, response.finish_reason)


def _score(record: Any) -> Score:
    if not isinstance(record, dict):
        return Score.failed(f"the endpoint returned {kind_of(record)} as a score")
    try:
        return score_from_json(record)
    except ValueError as error:
        return Score.failed(f"the endpoint returned something that is {error}")
