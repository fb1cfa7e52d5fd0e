"""What every protocol of the reward service provides: its request read into groups, its reply, and the client's side.

A form is pure: no network, no model. The service and `rewards.remote.RemoteReward` use the same forms, so that what one
writes the other reads.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError

from rewards.files.fields import kind_of
from rewards.protocol import Pair
from rewards.serving.texts import Texts
from rewards.types import Group, Problem, Score


class BadRequest(ValueError):
    """A request that cannot be answered. The message is one line for the client; `status` is the HTTP status."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class Body(BaseModel):
    """Base class of request bodies: no unknown keys, no conversions."""

    model_config = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True)
class Piece:
    """A group to score. With `size`, it is part of a group of that many responses and is held until they are all there;
    pieces belong together if they have the same problem and the same `key`.
    """

    group: Group
    size: int | None = None
    key: str = ""


@dataclass(frozen=True)
class Reading:
    """A request, read. `places` has one entry per response in the order of the reply: the index of its piece and of the
    response there, or the reason why it cannot be scored.
    """

    pieces: tuple[Piece, ...]
    places: tuple[tuple[int, int] | str, ...]

    def arranged(self, scored: Sequence[Sequence[Score]]) -> list[Score]:
        """The scores in the order of the reply; `scored` has a list for each piece."""
        return [Score.failed(place) if isinstance(place, str) else scored[place[0]][place[1]] for place in self.places]


class Form(ABC):
    """One protocol. `name` is the client's option `form`, `path` where the service answers it."""

    name: ClassVar[str]
    path: ClassVar[str]
    request: ClassVar[type[BaseModel]]
    says: ClassVar[str]
    """What a request and its reply are, for the OpenAPI description."""
    most: ClassVar[int | None] = None
    """The most responses that a client puts into one request; None: as many as it likes."""
    tells_failures: ClassVar[bool] = False
    """Whether the reply has a place for a reason. Otherwise a request whose scores all fail gets status 422."""
    sends_metadata: ClassVar[bool] = True
    """Whether a request can carry the problem's other columns."""
    names_model: ClassVar[bool] = False
    """Whether a request names the server's model."""
    whole_groups: ClassVar[bool] = False
    """Whether a request carries the whole group of a problem."""
    needs_template: ClassVar[bool] = False
    """Whether a response's text comes in one piece with its prompt, which only the policy's template can separate."""

    def takes(self, body: Any) -> bool:
        """Whether a body is meant for this form; asked where several forms share a path."""
        return True

    def parse(self, body: Any) -> BaseModel:
        """The checked request. Raises BadRequest, in one line that names the key."""
        if not isinstance(body, dict):
            raise BadRequest(f"the body must be a JSON object, not {kind_of(body)}")
        try:
            return self.request.model_validate(body)
        except ValidationError as error:
            raise BadRequest(first_fault(error)) from None

    @abstractmethod
    def read(self, request: Any, texts: Texts) -> Reading:
        """The groups of a request. Raises BadRequest where nothing of it can be scored."""

    @abstractmethod
    def reply(self, request: Any, scores: Sequence[Score], model: str, tokens: int) -> Any:
        """The JSON reply. `scores` are in the order of `Reading.places`; `tokens` is the request's estimated length."""

    def error(self, status: int, message: str) -> Any:
        """The JSON reply to a request that failed, in this protocol's shape."""
        return {"detail": message}

    @abstractmethod
    def body(self, groups: Sequence[Group], texts: Texts, model: str, metadata: bool) -> dict[str, Any]:
        """The request for some groups of at most `most` responses, as a client sends it.

        metadata: with the problems' other columns.

        Raises ValueError for a prompt that the policy's template refuses.
        """

    @abstractmethod
    def scores(self, answer: Any, count: int) -> list[Score]:
        """The scores in a server's reply to a request of `count` responses."""


def pairs_of(groups: Sequence[Group]) -> list[Pair]:
    """The responses of all groups, each with its problem."""
    return [(group.problem, response) for group in groups for response in group.responses]


def gathered(items: Sequence[Pair | str]) -> Reading:
    """A reading of single responses: those of equal problems become one group."""
    found: dict[Any, tuple[Problem, list[Any]]] = {}
    order: dict[Any, int] = {}
    places: list[tuple[int, int] | str] = []
    for item in items:
        if isinstance(item, str):
            places.append(item)
            continue
        problem, response = item
        key = problem_key(problem)
        _, responses = found.setdefault(key, (problem, []))
        places.append((order.setdefault(key, len(order)), len(responses)))
        responses.append(response)
    pieces = tuple(Piece(Group(problem, tuple(responses))) for problem, responses in found.values())
    return Reading(pieces, tuple(places))


def problem_key(problem: Problem) -> tuple[str, str | None, str]:
    """What makes two problems equal: all but the id."""
    return repr(problem.prompt), problem.answer, repr(problem.metadata)


def first_fault(error: ValidationError) -> str:
    """The first fault of a body, as `groups.0.responses: Field required`. It quotes no text of the body."""
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part)[:40] for part in fault["loc"]) or "the body"
    return f"{place}: {fault['msg']}"


def same_length(**columns: Sequence[Any] | None) -> None:
    """Raise BadRequest unless all lists that are given have the same length."""
    lengths = {name: len(column) for name, column in columns.items() if column is not None}
    if len(set(lengths.values())) > 1:
        raise BadRequest(
            "one entry per response is needed, but " + ", ".join(f"{name} has {n}" for name, n in lengths.items())
        )


def row_of(values: Sequence[Any] | None, place: int) -> Any:
    """The entry of an optional list."""
    return None if values is None else values[place]


def failures_of(scores: Sequence[Score]) -> dict[str, str]:
    """The reasons of the failed scores, by index."""
    return {str(place): score.failure for place, score in enumerate(scores) if score.failure is not None}


def value_or_none(score: Score) -> float | None:
    """The value; None for a failed score."""
    return score.value if score.ok else None


def number_score(value: Any, parts: Mapping[str, Any] | None = None, failure: Any = None) -> Score:
    """A score from a server's number. Parts that are not numbers are dropped; any other value fails the score."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        reason = f": {failure}" if isinstance(failure, str) else ""
        return Score.failed(f"the endpoint returned {value!r:.60} as a reward, which is not a number{reason}")
    numbers = {name: part for name, part in (parts or {}).items() if _is_number(part)}
    return Score.of(value, parts={name: float(part) for name, part in numbers.items()})


def list_scores(values: Any, name: str, count: int, failures: Any = None) -> list[Score]:
    """Scores from a list of numbers that a server calls `name`."""
    if not isinstance(values, list):
        return [Score.failed(f"the endpoint's answer has no list `{name}`")] * count
    if len(values) != count:
        return [Score.failed(f"the endpoint returned {len(values)} {name} for {count} responses")] * count
    reasons = failures if isinstance(failures, Mapping) else {}
    return [number_score(value, failure=reasons.get(str(place))) for place, value in enumerate(values)]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
