"""LlamaFactory's reward server, `/v1/score/evaluation`.

    {"model": "any", "messages": [text, ...], "max_length": null}
    {"id": "...", "object": "score.evaluation", "model": "prm", "scores": [0.9]}

Each text is a prompt and its response in the policy's template, padded as LlamaFactory's PPO trainer decodes them. A
failed score is null, with its reason in `failures`; if all fail, the status is 422.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from rewards.protocol import Pair
from rewards.serving.form import Body, Form, Reading, failures_of, gathered, list_scores, pairs_of, value_or_none
from rewards.serving.texts import Texts
from rewards.types import Group, Problem, Score


class EvaluationBody(Body):
    """LlamaFactory's request."""

    model: str = ""
    messages: list[str]
    max_length: None = None


class LlamaFactoryForm(Form):
    """See the module."""

    name, path, request = "llamafactory", "/v1/score/evaluation", EvaluationBody
    says = "LlamaFactory's reward server: each text is a prompt and its response in the policy's template."
    sends_metadata = False
    names_model = True
    needs_template = True

    def read(self, request: EvaluationBody, texts: Texts) -> Reading:
        """Each text is taken apart with the policy's template."""
        return gathered([split(text, texts) for text in request.messages])

    def reply(self, request: EvaluationBody, scores: Sequence[Score], model: str, tokens: int) -> Any:
        """The scores in order."""
        values, failures = [value_or_none(score) for score in scores], failures_of(scores)
        found = {"id": f"scoreval-{uuid.uuid4().hex}", "object": "score.evaluation", "model": model, "scores": values}
        return found | ({"failures": failures} if failures else {})

    def body(self, groups: Sequence[Group], texts: Texts, model: str, metadata: bool) -> dict[str, Any]:
        """Prompts and responses in one text each."""
        pairs = pairs_of(groups)
        return {"model": model, "messages": [whole(pair, texts) for pair in pairs]}

    def scores(self, answer: Any, count: int) -> list[Score]:
        """`scores`, in order."""
        found = answer if isinstance(answer, Mapping) else {}
        return list_scores(found.get("scores"), "scores", count, found.get("failures"))


def split(text: str, texts: Texts) -> Pair | str:
    """A text's problem and response, or why they cannot be told apart."""
    try:
        prompt, response = texts.conversation(text)
        return Problem("", prompt), response
    except ValueError as error:
        return str(error)


def whole(pair: Pair, texts: Texts) -> str:
    """Prompt and response in one text, as the policy's tokenizer decodes them."""
    problem, response = pair
    return texts.written(texts.written_prompt(problem, "a server that reads one text"), response)
