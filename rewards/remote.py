"""A reward served over HTTP, in the protocol of this project's service, OpenRLHF, slime, vLLM and others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, get_args

from rewards.endpoint import Endpoint, Reply
from rewards.files.values import check_value
from rewards.options import require_read
from rewards.protocol import Pair, ResponseReward
from rewards.serving.forms import form_named
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
        if not self.protocol.whole_groups:
            return super().score(groups)
        pairs = [[(group.problem, response) for response in group.responses] for group in groups]
        scores = iter(self._posted([pair for group in pairs for pair in group], list(self._packed(groups))))
        return [[next(scores) for _ in group] for group in pairs]

    def score_responses(self, pairs: Sequence[Pair]) -> list[Score]:
        """Post all responses, `max_in_flight` requests at a time, and return one score per response."""
        return self._posted(pairs, [[index] for index in range(len(pairs))])

    def _posted(self, pairs: Sequence[Pair], units: Sequence[Sequence[int]]) -> list[Score]:
        """Post units (indices of responses that stay together) in requests of `batch_size` responses.

        A unit with a prompt that the chat template refuses, or with half a character, fails and is not sent.
        """
        scores: dict[int, Score] = {}
        sent: list[Sequence[int]] = []
        for unit in units:
            try:
                self._check([pairs[index] for index in unit])
                sent.append(unit)
            except ValueError as error:
                scores |= {index: Score.failed(str(error)) for index in unit}
        batches = [[index for unit in batch for index in unit] for batch in self._batches(sent)]
        bodies = [
            self.protocol.body([pairs[index] for index in batch], self.texts, self.model, self.metadata)
            for batch in batches
        ]
        for batch, reply in zip(batches, self.endpoint.post_all(bodies), strict=True):
            scores |= zip(batch, self._scores(reply, len(batch)), strict=True)
        return [scores[index] for index in range(len(pairs))]

    def _check(self, pairs: Sequence[Pair]) -> None:
        """Raise ValueError for what cannot be sent."""
        for problem, response in pairs:
            metadata = dict(problem.metadata) if self.metadata else {}
            check_value({"the prompt": problem.messages, "the response": response.text, "answer": problem.answer})
            check_value(metadata)
        if self.protocol.name not in _IN_MESSAGES:
            self.protocol.body(pairs, self.texts, self.model, False)

    def _batches(self, units: Sequence[Sequence[int]]) -> Iterator[list[Sequence[int]]]:
        """Units in lists of at most `batch_size` responses; a larger unit is a list of its own."""
        batch: list[Sequence[int]] = []
        for unit in units:
            if batch and (not self.several or sum(map(len, batch)) + len(unit) > self.batch_size):
                yield batch
                batch = []
            batch.append(unit)
        if batch:
            yield batch

    def _packed(self, groups: Sequence[Group]) -> Iterator[list[int]]:
        """The indices of each group's responses."""
        start = 0
        for group in groups:
            yield list(range(start, start + len(group.responses)))
            start += len(group.responses)

    def _scores(self, reply: Reply, count: int) -> list[Score]:
        if reply.failure is not None:
            return [Score.failed(reply.failure)] * count
        return self.protocol.scores(reply.body, count)


_IN_MESSAGES = frozenset({"rewardloop", "nemo_gym_verify", "nemo_gym_compare"})
"""The forms that send prompts as messages, never in a template."""
