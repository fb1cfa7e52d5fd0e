"""A reward served over HTTP, in the protocol of this project's service, OpenRLHF, slime, vLLM and others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, get_args

from rewards.endpoint import Endpoint, Reply
from rewards.files.values import check_value
from rewards.options import require_read
from rewards.protocol import Pair, ResponseReward
from rewards.serving.forms import form_named
from rewards.serving.openrlhf import READER
from rewards.serving.texts import Texts
from rewards.types import Group, Score

FormName = Literal[
    "rewardloop",
    "openrlhf",
    "batched",
    "slime",
    "slime_dict",
    "llamafactory",
    "vllm_classify",
    "vllm_pooling",
    "sglang_classify",
    "nemo_gym_verify",
    "nemo_gym_compare",
]


class RemoteReward(ResponseReward):
    """Scores from an HTTP endpoint.

    url: posted to exactly as given (so include the path, `/get_reward` by convention).
    form: the protocol. docs/serving.md shows the request and the reply of each; each has a file in `rewards/serving/`.
      `rewardloop` (this project's service) carries groups, steps, parts, matches and failures; `nemo_gym_compare`
      carries groups. The others send responses one by one (`openrlhf`, `slime`, `nemo_gym_verify`) or several at once.
      `openrlhf` and `batched` expect {"rewards": [number, ...], "extra_logs": {name: [number, ...]}}: one reward per
      response, and optional numbers that become the score's parts. (OpenRLHF's `scores` becomes part `score`.)
    batch_size: responses per request, for forms that take several; a group is never divided.
    tokenizer: the policy's folder or hub name; prompts are then sent in its chat template, including special tokens.
      `llamafactory` and `sglang_classify` need it; `rewardloop` and `nemo_gym_*` send messages and do not read it. None
      sends the question as plain text, a dialogue as a transcript (`slime`, `vllm_*`: as messages).
    model: the model's name in the request, for forms that name it.
    compares: with `rewardloop`, whether the service's reward compares the responses of a group.
    metadata: also sends the row's other columns, for forms that have a place for them.
    timeout_s, tries, backoff_s, max_in_flight: see `rewards.endpoint.Endpoint`. headers: extra headers, such as a key.

    If the endpoint answers 500, hangs, is unreachable, or returns the wrong number of rewards, all scores of that
    request fail with the reason; a reward that is not a number fails only its own score.
    """

    has_steps = False
    has_matches = False

    def __init__(
        self,
        url: str,
        *,
        form: FormName = "openrlhf",
        batch_size: int = 64,
        tokenizer: str | None = None,
        model: str = "",
        compares: bool = False,
        timeout_s: float = 180.0,
        tries: int = 5,
        backoff_s: float = 1.0,
        max_in_flight: int = 64,
        headers: Mapping[str, str] | None = None,
        metadata: bool = False,
    ) -> None:
        if form not in get_args(FormName):
            raise ValueError(f"form must be one of {', '.join(get_args(FormName))}, not {form!r}")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        self.form, self.protocol = form, form_named(form)
        self.batch_size, self.metadata, self.model, self.compares = batch_size, metadata, model, compares
        self.tokenizer = tokenizer
        if self.protocol.needs_template and tokenizer is None:
            raise ValueError(f"tokenizer is missing: form={form} sends texts in the policy's template")
        in_messages = tokenizer is None and form.startswith("vllm")  # a request has one conversation
        self.several = self.protocol.most is None and form != "nemo_gym_compare" and not in_messages
        require_read(self, "batch_size", self.several, "a form that takes several responses, such as form=batched")
        require_read(self, "tokenizer", form not in _IN_MESSAGES, "a form that sends texts, such as form=openrlhf")
        require_read(self, "model", self.protocol.names_model, "a form that names a model, such as form=vllm_classify")
        require_read(
            self, "metadata", self.protocol.sends_metadata, "a form with a place for it, such as form=openrlhf"
        )
        require_read(self, "compares", form == "rewardloop", "form=rewardloop")
        if form == "rewardloop":
            self.has_steps = self.has_matches = None  # type: ignore[assignment]  # the service's reward decides
        self.compares_responses = compares or form == "nemo_gym_compare"
        self.endpoint = Endpoint(url, timeout_s, tries, backoff_s, max_in_flight, dict(headers or {}))
        self.texts = Texts(tokenizer)

    def score(self, groups: Sequence[Group]) -> list[list[Score]]:
        """Score all groups; without a form for groups, equal responses to equal problems are sent once."""
        return self._posted(groups) if self.protocol.whole_groups else super().score(groups)

    def score_responses(self, pairs: Sequence[Pair]) -> list[Score]:
        """Post all responses, `max_in_flight` requests at a time, and return one score per response."""
        scored = self._posted([Group(problem, (response,)) for problem, response in pairs])
        return [score for [score] in scored]

    def _posted(self, groups: Sequence[Group]) -> list[list[Score]]:
        """Post groups in requests of `batch_size` responses; none is divided.

        A group with a prompt that the chat template refuses, or with half a character, fails and is not sent.
        """
        found: dict[int, list[Score]] = {}
        sent: list[int] = []
        for index, group in enumerate(groups):
            try:
                self._check(group)
                sent.append(index)
            except ValueError as error:
                found[index] = [Score.failed(str(error))] * len(group.responses)
        batches = list(self._batches(groups, sent))
        bodies = [
            self.protocol.body([groups[index] for index in batch], self.texts, self.model, self.metadata)
            for batch in batches
        ]
        for batch, reply in zip(batches, self.endpoint.post_all(bodies), strict=True):
            scores = iter(self._scores(reply, sum(len(groups[index].responses) for index in batch)))
            found |= {index: [next(scores) for _ in groups[index].responses] for index in batch}
        return [found[index] for index in range(len(groups))]

    def _check(self, group: Group) -> None:
        """Raise ValueError for what cannot be sent."""
        problem = group.problem
        texts = [response.text for response in group.responses]
        check_value({"the prompt": problem.messages, "the response": texts, "answer": problem.answer})
        check_value(dict(problem.metadata) if self.metadata else {})
        if self.tokenizer is not None or self.form in ("openrlhf", "batched"):
            self.texts.written_prompt(problem, READER)

    def _batches(self, groups: Sequence[Group], indices: Sequence[int]) -> Iterator[list[int]]:
        """Indices in lists of at most `batch_size` responses; a larger group is a request of its own."""
        batch: list[int] = []
        held = 0
        for index in indices:
            more = len(groups[index].responses)
            if batch and (not self.several or held + more > self.batch_size):
                yield batch
                batch, held = [], 0
            batch.append(index)
            held += more
        if batch:
            yield batch

    def _scores(self, reply: Reply, count: int) -> list[Score]:
        if reply.failure is not None:
            return [Score.failed(reply.failure)] * count
        return self.protocol.scores(reply.body, count)


_IN_MESSAGES = frozenset({"rewardloop", "nemo_gym_verify", "nemo_gym_compare"})
"""The forms that send prompts as messages, never in a template."""
