"""slime's remote reward, `/slime`: one sample in, one JSON value out.

    {"prompt": text or [messages], "response": text, "label": text or null}
    0.9

slime takes the whole reply as the reward, so `/slime` answers with the number, and `/slime/dict` with an object for
slime's `--reward-key value`: the value, and the steps and parts if there are any. A failed score has status 422.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from rewards.files.fields import answer_of, prompt_of
from rewards.records import score_to_json
from rewards.serving.form import Body, Form, Reading, gathered, number_score, pairs_of
from rewards.serving.texts import Texts
from rewards.types import Group, Problem, Score


class SampleBody(Body):
    """slime's request; `metadata` is this project's addition."""

    prompt: str | list[dict[str, Any]]
    response: str
    label: str | int | float | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)


class SlimeForm(Form):
    """See the module."""

    name, path, request = "slime", "/slime", SampleBody
    says = "slime's remote reward: one sample in, its reward as a bare number out."
    most = 1

    def read(self, request: SampleBody, texts: Texts) -> Reading:
        """A prompt of messages is plain; a text is in the policy's template."""
        try:
            prompt = texts.prompt(request.prompt) if isinstance(request.prompt, str) else prompt_of(request.prompt)
            problem = Problem("", prompt, answer_of(request.label, "label"), request.metadata)
            return gathered([(problem, texts.response(request.response))])
        except ValueError as error:
            return gathered([str(error)])

    def reply(self, request: SampleBody, scores: Sequence[Score], model: str, tokens: int) -> Any:
        """The value."""
        return scores[0].value

    def body(self, groups: Sequence[Group], texts: Texts, model: str, metadata: bool) -> dict[str, Any]:
        """One response; the prompt in the template if there is a tokenizer, else as messages."""
        pairs = pairs_of(groups)
        [(problem, response)] = pairs
        plain = texts.tokenizer is None
        prompt = problem.messages if plain else texts.written_prompt(problem, "slime")
        text = response.text if plain else texts.written("", response)
        more = {"metadata": dict(problem.metadata)} if metadata else {}
        return {"prompt": prompt, "response": text, "label": problem.answer} | more

    def scores(self, answer: Any, count: int) -> list[Score]:
        """A number, or an object with `value`, `score` or `reward`."""
        if not isinstance(answer, Mapping):
            return [number_score(answer)] * count
        name = next((name for name in ("value", "score", "reward") if name in answer), None)
        if name is None:
            return [Score.failed("the endpoint's answer has no value, score or reward")] * count
        parts = answer.get("parts")
        return [number_score(answer[name], parts if isinstance(parts, Mapping) else None)] * count


class SlimeDictForm(SlimeForm):
    """The same, answered with an object."""

    name, path = "slime_dict", "/slime/dict"
    says = "slime's remote reward, answered with an object: value, steps, spans, parts."

    def reply(self, request: SampleBody, scores: Sequence[Score], model: str, tokens: int) -> Any:
        """The score as `/score` writes it."""
        return score_to_json(scores[0])
