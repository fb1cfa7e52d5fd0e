"""vLLM's `/classify` and `/pooling`, and SGLang's `/classify`.

    vLLM    {"model": "any", "input": text, [text], [ids] or [[ids]]}  or  {"model": "any", "messages": [...]}
            /classify  {"data": [{"index": 0, "label": null, "probs": [0.9], "num_classes": 1}], ...}
            /pooling   {"data": [{"index": 0, "data": [[0.9], [0.8]]}], ...}: a row per step, or [value]
    SGLang  {"model": "any", "text": text or [text]}  ->  [{"embedding": [0.9]}]

`input` and `text` are prompt and response in the policy's template; `messages` end with the assistant's turn. The value
is sent as the reward gives it: `use_activation: true` is refused. A failed score has an empty list and the key
`failure`, so that reading `probs[-1]` raises; if all fail, the status is 422. `usage` counts estimated tokens.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from rewards.conversation import messages_of
from rewards.files.fields import prompt_of
from rewards.protocol import Pair
from rewards.serving.form import BadRequest, Body, Form, Reading, gathered, number_score, pairs_of
from rewards.serving.llamafactory import split, whole
from rewards.serving.texts import Texts
from rewards.types import Group, Problem, Response, Score


class ClassifyBody(Body):
    """vLLM's request. Keys without a meaning here (such as priority) are accepted if they cannot change a score."""

    model: str | None = None
    input: str | list[str] | list[int] | list[list[int]] | None = None
    messages: list[dict[str, Any]] | None = Field(default=None, description="a conversation that ends with a response")
    use_activation: Literal[False] | None = None
    add_special_tokens: bool | None = Field(default=None, description="accepted and not needed: texts are taken apart")
    user: str | None = None
    request_id: str | None = None
    priority: int = 0
    encoding_format: Literal["float"] = "float"


class PoolingBody(ClassifyBody):
    """vLLM's request for `/pooling`."""

    task: Literal["token_classify", "classify"] | None = Field(
        default=None, description="token_classify: a row per step; classify: the value; null: steps if there are any"
    )


class SGLangBody(Body):
    """SGLang's request."""

    model: str | None = None
    text: str | list[str]


class ClassifyForm(Form):
    """vLLM's `/classify`."""

    name, path, request = "vllm_classify", "/classify", ClassifyBody
    says = "vLLM's classify: `input` in the policy's template, or `messages`."
    sends_metadata = False
    names_model = True

    @property
    def _id(self) -> str:
        return f"classify-{uuid.uuid4().hex}"

    def takes(self, body: Any) -> bool:
        """Anything but SGLang's request."""
        return not (isinstance(body, dict) and "text" in body)

    def read(self, request: ClassifyBody, texts: Texts) -> Reading:
        """Either `input` or `messages`."""
        if (request.input is None) == (request.messages is None):
            raise BadRequest("give either input or messages")
        if request.messages is not None:
            return gathered([_dialogue(request.messages)])
        return gathered([_item(one, texts) for one in _inputs(request.input)])

    def reply(self, request: Any, scores: Sequence[Score], model: str, tokens: int) -> Any:
        """One entry per input."""
        data = [{"index": place, **self._entry(request, score)} for place, score in enumerate(scores)]
        return {
            "id": self._id,
            "object": "list",
            "created": int(time.time()),
            "model": model,
            "data": data,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0},
        }

    def _entry(self, request: Any, score: Score) -> dict[str, Any]:
        probs = [score.value] if score.ok else []
        return {"label": None, "probs": probs, "num_classes": len(probs)} | _failure(score)

    def error(self, status: int, message: str) -> Any:
        """vLLM's: `{"error": {"message", "type", "param", "code"}}`."""
        kind = "BadRequestError" if status < 500 else "InternalServerError"
        return {"error": {"message": message, "type": kind, "param": None, "code": status}}

    def body(self, groups: Sequence[Group], texts: Texts, model: str, metadata: bool) -> dict[str, Any]:
        """Texts in the policy's template if there is a tokenizer; else one conversation."""
        pairs = pairs_of(groups)
        common: dict[str, Any] = {"model": model, "use_activation": False}
        if texts.tokenizer is not None:
            # The template writes the BOS itself.
            return common | {"input": [whole(pair, texts) for pair in pairs], "add_special_tokens": False}
        [(problem, response)] = pairs
        return common | {"messages": [*problem.messages, {"role": "assistant", "content": response.text}]}

    def scores(self, answer: Any, count: int) -> list[Score]:
        """The last of each entry's `probs`."""
        return [self._score(entry) for entry in _entries(answer, count)]

    def _score(self, entry: Any) -> Score:
        return _last(entry, "probs")


class PoolingForm(ClassifyForm):
    """vLLM's `/pooling`."""

    name, path, request = "vllm_pooling", "/pooling", PoolingBody
    says = "vLLM's pooling: a row per step of a process reward model, or one value."

    @property
    def _id(self) -> str:
        return f"pool-{uuid.uuid4().hex}"

    def _entry(self, request: PoolingBody, score: Score) -> dict[str, Any]:
        if not score.ok:
            return {"object": "pooling", "data": []} | _failure(score)
        if request.task == "token_classify" and score.steps is None:
            return {"object": "pooling", "data": [], "failure": "the reward has no steps: use task=classify"}
        by_step = score.steps is not None and request.task != "classify"
        return {"object": "pooling", "data": [[step] for step in score.steps or ()] if by_step else [score.value]}

    def body(self, groups: Sequence[Group], texts: Texts, model: str, metadata: bool) -> dict[str, Any]:
        """As for `/classify`, for one value per response."""
        return super().body(groups, texts, model, metadata) | {"task": "classify"}

    def _score(self, entry: Any) -> Score:
        data = entry.get("data") if isinstance(entry, Mapping) else None
        if isinstance(data, list) and len(data) == 1 and isinstance(data[0], list):
            return _last({"data": data[0]}, "data")
        if isinstance(data, list) and len(data) > 1:
            return Score.failed(
                f"the endpoint returned {len(data)} values for a response: form=rewardloop carries steps"
            )
        return _last(entry, "data")


class SGLangForm(Form):
    """SGLang's `/classify`."""

    name, path, request = "sglang_classify", "/classify", SGLangBody
    says = "SGLang's classify: `text` in the policy's template."
    sends_metadata = False
    names_model = True
    needs_template = True

    def takes(self, body: Any) -> bool:
        """A body with `text`."""
        return isinstance(body, dict) and "text" in body

    def read(self, request: SGLangBody, texts: Texts) -> Reading:
        """Each text is taken apart with the policy's template."""
        several = [request.text] if isinstance(request.text, str) else request.text
        return gathered([split(text, texts) for text in several])

    def reply(self, request: SGLangBody, scores: Sequence[Score], model: str, tokens: int) -> Any:
        """A list with an entry per text; one entry for a single text."""
        entries = [{"embedding": [score.value] if score.ok else []} | _failure(score) for score in scores]
        return entries[0] if isinstance(request.text, str) else entries

    def error(self, status: int, message: str) -> Any:
        """SGLang's: `{"error": {"message": ...}}`."""
        return {"error": {"message": message}}

    def body(self, groups: Sequence[Group], texts: Texts, model: str, metadata: bool) -> dict[str, Any]:
        """Prompts and responses in one text each."""
        pairs = pairs_of(groups)
        return {"model": model, "text": [whole(pair, texts) for pair in pairs]}

    def scores(self, answer: Any, count: int) -> list[Score]:
        """The first of each entry's `embedding`."""
        if not isinstance(answer, list) or len(answer) != count:
            return [Score.failed(f"the endpoint's answer is not a list with {count} entries")] * count
        return [_last(entry, "embedding") for entry in answer]


def _failure(score: Score) -> dict[str, Any]:
    return {} if score.failure is None else {"failure": score.failure}


def _entries(answer: Any, count: int) -> list[Any]:
    data = answer.get("data") if isinstance(answer, Mapping) else None
    if not isinstance(data, list) or len(data) != count:
        return [None] * count
    return data


def _last(entry: Any, name: str) -> Score:
    """The last number in an entry's list."""
    values = entry.get(name) if isinstance(entry, Mapping) else None
    if isinstance(values, list) and not values and isinstance(entry.get("failure"), str):
        return Score.failed(entry["failure"])
    if not isinstance(values, list) or not values:
        return Score.failed(f"the endpoint's answer has no `{name}` for this response")
    return number_score(values[-1])


def _inputs(given: Any) -> list[str | list[int]]:
    """The inputs one by one. A list of numbers is one input."""
    if isinstance(given, str):
        return [given]
    if given and all(isinstance(one, int) for one in given):
        return [list(given)]
    return list(given)


def _item(given: str | list[int], texts: Texts) -> Pair | str:
    try:
        return split(given if isinstance(given, str) else texts.decode(given), texts)
    except ValueError as error:
        return str(error)


def _dialogue(messages: Sequence[Any]) -> Pair | str:
    """The conversation before its last turn, and that turn as the response."""
    try:
        turns = messages_of(messages)
        if not turns or turns[-1]["role"] != "assistant":
            return "the messages must end with the assistant's turn, which is the response"
        return Problem("", prompt_of(turns[:-1])), Response(turns[-1]["content"])
    except ValueError as error:
        return str(error)
