"""A reward served over HTTP, in OpenRLHF's `/get_reward` form or a plain batched form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from rewards.chat import load_tokenizer
from rewards.conversation import question_of
from rewards.endpoint import Endpoint, Reply
from rewards.options import require_read
from rewards.protocol import Pair, ResponseReward
from rewards.types import Score


class RemoteReward(ResponseReward):
    """Scores from an HTTP endpoint.

    url: posted to exactly as given (so include the path, `/get_reward` by convention).
    form: `openrlhf` sends one response per request, as OpenRLHF 0.11 does:
        {"query": [prompt and response as one text], "prompts": [prompt], "labels": [reference answer or null]}
      `batched` sends up to `batch_size` responses:
        {"prompts": [prompt, ...], "responses": [response, ...], "labels": [answer or null, ...]}
      With `metadata`, both also send the key "metadata": one object per response with the row's other columns.
      Both expect {"rewards": [number, ...], "extra_logs": {name: [number, ...]}}: one reward per response, and optional
      numbers that become the score's parts. (OpenRLHF's `scores`, used there only for filtering, become part `score`.)
    tokenizer: the policy's folder or hub name; prompts are then sent in its chat template, including special tokens,
      as OpenRLHF's own servers expect. None sends the question as plain text, and a dialogue as a transcript.
    timeout_s, tries, backoff_s, max_in_flight: see `rewards.endpoint.Endpoint`. headers: extra headers, such as a key.

    If the endpoint answers 500, hangs, is unreachable, or returns the wrong number of rewards, all scores of that
    request fail with the reason; a reward that is not a number fails only its own score.
    """

    has_steps = False  # neither form returns steps
    has_matches = False

    def __init__(
        self,
        url: str,
        *,
        form: Literal["openrlhf", "batched"] = "openrlhf",
        batch_size: int = 64,
        tokenizer: str | None = None,
        timeout_s: float = 180.0,
        tries: int = 5,
        backoff_s: float = 1.0,
        max_in_flight: int = 64,
        headers: Mapping[str, str] | None = None,
        metadata: bool = False,
    ) -> None:
        if form not in ("openrlhf", "batched"):
            raise ValueError(f"form must be openrlhf or batched, not {form!r}")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        self.form, self.batch_size, self.metadata = form, batch_size, metadata
        require_read(self, "batch_size", form == "batched", "form=batched")
        self.endpoint = Endpoint(url, timeout_s, tries, backoff_s, max_in_flight, dict(headers or {}))
        self.tokenizer = None if tokenizer is None else load_tokenizer(tokenizer)
        if self.tokenizer is not None and not self.tokenizer.chat_template:
            raise ValueError(f"tokenizer {tokenizer} has no chat template: save one with it, or leave it out")

    def score_responses(self, pairs: Sequence[Pair]) -> list[Score]:
        """Post all responses, `max_in_flight` requests at a time, and return one score per response.

        If the chat template refuses a prompt, its responses fail and are not sent.
        """
        prompts: dict[int, str] = {}
        scores: dict[int, Score] = {}
        for index, pair in enumerate(pairs):
            try:
                prompts[index] = self._prompt(pair)
            except ValueError as error:
                scores[index] = Score.failed(str(error))
        sent = list(prompts)
        size = self.batch_size if self.form == "batched" else 1
        batches = [sent[start : start + size] for start in range(0, len(sent), size)]
        bodies = [self._body([prompts[i] for i in batch], [pairs[i] for i in batch]) for batch in batches]
        for batch, reply in zip(batches, self.endpoint.post_all(bodies), strict=True):
            scores |= zip(batch, scores_of(reply, len(batch)), strict=True)
        return [scores[index] for index in range(len(pairs))]

    def _body(self, prompts: Sequence[str], batch: Sequence[Pair]) -> dict[str, Any]:
        labels = [problem.answer for problem, _ in batch]
        texts = [response.text for _, response in batch]
        more = {"metadata": [dict(problem.metadata) for problem, _ in batch]} if self.metadata else {}
        if self.form == "openrlhf":
            queries = [self._query(prompt, pair) for prompt, pair in zip(prompts, batch, strict=True)]
            return {"query": queries, "prompts": prompts, "labels": labels} | more
        return {"prompts": prompts, "responses": texts, "labels": labels} | more

    def _prompt(self, pair: Pair) -> str:
        """The prompt of one response. Raises ValueError if the chat template refuses it."""
        problem, _ = pair
        if self.tokenizer is None:
            return question_of(problem.messages, "the endpoint of reward=remote")
        try:
            return str(self.tokenizer.apply_chat_template(problem.messages, tokenize=False, add_generation_prompt=True))
        except Exception as error:
            raise ValueError(f"the chat template refuses the prompt: {str(error).splitlines()[0]}") from error

    def _query(self, prompt: str, pair: Pair) -> str:
        """Prompt and response as OpenRLHF decodes them, with the end-of-turn token if the response is finished."""
        _, response = pair
        if self.tokenizer is None:
            return f"{prompt}\n{response.text}"
        end = self.tokenizer.eos_token if response.finish_reason == "stop" else None
        return prompt + response.text + (end or "")


def scores_of(reply: Reply, count: int) -> list[Score]:
    """The scores of one request for `count` responses."""
    if reply.body is None:
        return [Score.failed(reply.failure or "the endpoint gave no answer")] * count
    rewards = reply.body.get("rewards")
    if not isinstance(rewards, list):
        return [Score.failed("the endpoint's answer has no list `rewards`")] * count
    if len(rewards) != count:
        return [Score.failed(f"the endpoint returned {len(rewards)} rewards for {count} responses")] * count
    columns = dict(reply.body.get("extra_logs") or {})
    if reply.body.get("scores") is not None:
        columns["score"] = reply.body["scores"]
    parts = {name: column for name, column in columns.items() if isinstance(column, list) and len(column) == count}
    return [
        _score(reward, {name: column[place] for name, column in parts.items()}) for place, reward in enumerate(rewards)
    ]


def _score(reward: object, parts: Mapping[str, object]) -> Score:
    """One score. Parts that are not numbers are dropped; a reward that is not a number fails the score."""
    if not isinstance(reward, int | float) or isinstance(reward, bool):
        return Score.failed(f"the endpoint returned {reward!r} as a reward, which is not a number")
    return Score.of(reward, parts={name: float(part) for name, part in parts.items() if isinstance(part, int | float)})
