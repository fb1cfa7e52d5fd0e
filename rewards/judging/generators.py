"""Who writes a judgement: a model on its own vLLM engine in this process, or any OpenAI-compatible endpoint.

Both take prompts as turns, and return for each what the model wrote, or why it wrote nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from rewards.chat import ChatTemplate, Turn, load_tokenizer
from rewards.endpoint import Endpoint, Reply
from rewards.engines.checkpoint import read_config
from rewards.engines.options import Precision, check_dtype
from rewards.engines.vllm_start import start_llm
from rewards.options import require_read

LISTED = 20
"""How many of the likeliest tokens are listed at each place, if a request needs probabilities; the usual maximum."""

_CONTROL = re.compile(r"<\|([^<>|]*)\|>")


@dataclass(frozen=True)
class Request:
    """A prompt. stop: a text that ends the writing. schema: the JSON schema of the text. probabilities: whether the
    likeliest tokens are needed. tokens: the most tokens that are useful, None for no other limit than the generator's.
    """

    turns: Sequence[Turn]
    stop: str | None = None
    schema: Mapping[str, Any] | None = None
    probabilities: bool = False
    tokens: int | None = None


@dataclass(frozen=True)
class Token:
    """A token that was written: its text, and the log-probabilities of the likeliest texts in its place."""

    text: str
    likeliest: Sequence[tuple[str, float]]


@dataclass(frozen=True)
class Written:
    """What was written, without the stop text, or why there is nothing. `cut`: it ended at the token limit."""

    text: str | None
    failure: str | None = None
    cut: bool = False
    tokens: Sequence[Token] = field(default=(), repr=False)

    @classmethod
    def nothing(cls, reason: str) -> Written:
        """Nothing was written, with the reason."""
        return cls(None, reason)


class Generator(Protocol):
    """Anything that writes texts after prompts."""

    def write(self, requests: Sequence[Request]) -> list[Written]:
        """What is written after each prompt, in order. Raises only for set-up errors."""
        ...

    def plain(self, text: str) -> str:
        """A text for a prompt, so changed that the generator does not read control tokens in it."""
        ...


@dataclass(frozen=True)
class Sampling:
    """How texts are drawn: greedily at temperature 0, else with nucleus `top_p` and a seed."""

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature must be 0 or above, not {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be in (0, 1], not {self.top_p}")
        for name in ("top_p", "seed"):
            require_read(self, name, self.temperature > 0, "temperature above 0")

    def options(self) -> dict[str, Any]:
        """The options as vLLM and OpenAI's interface name them."""
        if self.temperature == 0:
            return {"temperature": 0.0}
        return {"temperature": self.temperature, "top_p": self.top_p, "seed": self.seed}


@dataclass(frozen=True)
class Room:
    """How many tokens may be written: min(max_new_tokens, context_tokens - prompt tokens - reserve_tokens)."""

    max_new_tokens: int
    context_tokens: int
    reserve_tokens: int

    def __post_init__(self) -> None:
        if min(self.max_new_tokens, self.context_tokens) < 1 or self.reserve_tokens < 0:
            raise ValueError("max_new_tokens and context_tokens must be at least 1, reserve_tokens at least 0")

    def after(self, prompt: int, asked: int | None) -> int:
        """The most tokens that may be written after a prompt of that many tokens; below 1 if there is no room."""
        most = self.max_new_tokens if asked is None else min(asked, self.max_new_tokens)
        return min(most, self.context_tokens - prompt - self.reserve_tokens)

    @property
    def too_long(self) -> str:
        """Why nothing is written after a prompt that leaves no room."""
        return f"the prompt leaves no room for a judgement in {self.context_tokens} tokens (context_tokens)"


class VllmGenerator:
    """A causal language model on its own vLLM engine in this process; the weights are loaded at the first request.

    model: folder or hub name of the model with its tokenizer and chat template. chat_template_kwargs: options of the
    chat template, such as `enable_thinking`. max_new_tokens, context_tokens, reserve_tokens: see `Room`; a prompt that
    leaves no room is not answered. temperature, top_p, seed: see `Sampling`. structured: hold the text to a request's
    JSON schema. dtype: fp32 or bf16. gpu_memory: the engine's share of the GPU's memory (GPU only). max_num_seqs: texts
    written at a time.

    Contents are tokenised as plain text (`rewards.chat`), so control tokens in them cannot open a turn.
    Raises ValueError for a set-up that cannot work.
    """

    def __init__(
        self,
        model: str,
        *,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        max_new_tokens: int = 2048,
        context_tokens: int = 4096,
        reserve_tokens: int = 0,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        structured: bool = True,
        dtype: Precision = "bf16",
        gpu_memory: float = 0.4,
        max_num_seqs: int = 256,
    ) -> None:
        check_dtype(dtype)
        if max_num_seqs < 1:
            raise ValueError(f"max_num_seqs must be at least 1, not {max_num_seqs}")
        self.room = Room(max_new_tokens, context_tokens, reserve_tokens)
        self.sampling = Sampling(temperature, top_p, seed)
        limit = getattr(read_config(model), "max_position_embeddings", None)
        if limit is not None and context_tokens > limit:
            raise ValueError(f"context_tokens ({context_tokens}) is more than the {limit} positions of {model}")
        self.model, self.dtype, self.structured = model, dtype, structured
        self.chat = ChatTemplate(load_tokenizer(model), chat_template_kwargs)
        self.gpu_memory, self.max_num_seqs = gpu_memory, max_num_seqs
        self._llm: Any = None

    def plain(self, text: str) -> str:
        """The same text: contents are tokenised as text."""
        return text

    def write(self, requests: Sequence[Request]) -> list[Written]:
        """See `Generator`; one call to the engine."""
        rendered = self.chat.render_each([request.turns for request in requests], generation_prompt=True)
        found: dict[int, Written] = {}
        asked: list[tuple[int, list[int], Request, int]] = []
        for index, (request, one) in enumerate(zip(requests, rendered, strict=True)):
            room = self.room.after(len(one.ids), request.tokens)
            if one.failure is not None or room < 1:
                found[index] = Written.nothing(one.failure or self.room.too_long)
            else:
                asked.append((index, one.ids, request, room))
        if asked:
            texts = self._complete(*zip(*((ids, request, room) for _, ids, request, room in asked), strict=True))
            found |= zip((index for index, *_ in asked), texts, strict=True)
        return [found[index] for index in range(len(requests))]

    def _complete(
        self, prompts: Sequence[list[int]], requests: Sequence[Request], limits: Sequence[int]
    ) -> list[Written]:
        """What the model writes after each prompt of token ids."""
        self.load()
        sampling = [self._parameters(request, limit) for request, limit in zip(requests, limits, strict=True)]
        outputs = self._llm.generate([{"prompt_token_ids": ids} for ids in prompts], sampling, use_tqdm=False)
        return [_from_vllm(output.outputs[0]) for output in outputs]

    def _parameters(self, request: Request, limit: int) -> Any:
        from vllm import SamplingParams  # vLLM takes seconds to import
        from vllm.sampling_params import StructuredOutputsParams

        schema = StructuredOutputsParams(json=dict(request.schema)) if request.schema and self.structured else None
        return SamplingParams(
            max_tokens=limit,
            stop=[request.stop] if request.stop else None,
            logprobs=LISTED if request.probabilities else None,
            structured_outputs=schema,
            **self.sampling.options(),
        )

    def load(self) -> None:
        """Start the engine unless it is already running."""
        if self._llm is None:
            self._llm = start_llm(
                self.model,
                dtype=self.dtype,
                max_model_len=self.room.context_tokens,
                gpu_memory=self.gpu_memory,
                max_num_seqs=self.max_num_seqs,
            )


def _from_vllm(output: Any) -> Written:
    """What an engine's completion says."""
    tokens = [
        Token(places[token].decoded_token or "", [(one.decoded_token or "", one.logprob) for one in places.values()])
        for token, places in zip(output.token_ids, output.logprobs or (), strict=False)
    ]
    return Written(output.text, cut=output.finish_reason == "length", tokens=tokens)


class EndpointGenerator:
    """A model behind an OpenAI-compatible endpoint.

    url: the full address, such as http://127.0.0.1:8000/v1/chat/completions. model: the model's name on that server.
    api_key_env: name of the environment variable that holds the key; None sends no key.
    tokenizer: the model's folder or hub name, used to count prompt tokens; the token limit is then that of
    VllmGenerator. None always requests `max_new_tokens`, which a server with a shorter context may refuse.
    structured: ask the server to hold the text to a request's JSON schema (`response_format`); false for a server
    without it. extra: additional keys of the request body; they take precedence. max_new_tokens, context_tokens,
    reserve_tokens, temperature, top_p, seed: see VllmGenerator. timeout_s, tries, backoff_s, max_in_flight: see
    `rewards.endpoint.Endpoint`. Raises ValueError for a set-up that cannot work.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        api_key_env: str | None = None,
        tokenizer: str | None = None,
        max_new_tokens: int = 2048,
        context_tokens: int = 4096,
        reserve_tokens: int = 0,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        structured: bool = True,
        extra: Mapping[str, Any] | None = None,
        timeout_s: float = 600.0,
        tries: int = 5,
        backoff_s: float = 1.0,
        max_in_flight: int = 64,
    ) -> None:
        headers = {}
        if api_key_env is not None:
            if not os.environ.get(api_key_env):
                raise ValueError(f"api_key_env: the environment variable {api_key_env} is not set")
            headers["Authorization"] = f"Bearer {os.environ[api_key_env]}"
        self.room = Room(max_new_tokens, context_tokens, reserve_tokens)
        self.sampling = Sampling(temperature, top_p, seed)
        self.context_tokens, self.reserve_tokens = context_tokens, reserve_tokens
        for name in ("context_tokens", "reserve_tokens"):
            require_read(self, name, tokenizer is not None, "tokenizer, which counts the tokens of a prompt")
        self.endpoint = Endpoint(url, timeout_s, tries, backoff_s, max_in_flight, headers)
        self.model, self.structured, self.extra = model, structured, dict(extra or {})
        self.chat = None if tokenizer is None else ChatTemplate(load_tokenizer(tokenizer))

    def plain(self, text: str) -> str:
        """`<|im_end|>` as `<| im_end |>`: a server would read it as a control token and end the turn."""
        return _CONTROL.sub(r"<| \1 |>", text)

    def write(self, requests: Sequence[Request]) -> list[Written]:
        """See `Generator`; `max_in_flight` requests at a time."""
        bodies = [self._body(request) for request in requests]
        replies = iter(self.endpoint.post_all([body for body in bodies if not isinstance(body, Written)]))
        return [body if isinstance(body, Written) else _from_reply(next(replies)) for body in bodies]

    def _body(self, request: Request) -> dict[str, Any] | Written:
        """The request body, or why the prompt cannot be sent."""
        limit = self.room.max_new_tokens if request.tokens is None else min(request.tokens, self.room.max_new_tokens)
        if self.chat is not None:
            [rendered] = self.chat.render_each([request.turns], generation_prompt=True)
            if rendered.failure is not None:
                return Written.nothing(rendered.failure)
            limit = self.room.after(len(rendered.ids), request.tokens)
            if limit < 1:
                return Written.nothing(self.room.too_long)
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": turn.role, "content": turn.content} for turn in request.turns],
            "max_tokens": limit,
            **self.sampling.options(),
        }
        if request.stop:
            body["stop"] = [request.stop]
        if request.schema and self.structured:
            schema = {"name": "verdict", "strict": True, "schema": dict(request.schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        if request.probabilities:
            body |= {"logprobs": True, "top_logprobs": LISTED}
        return body | self.extra


def _from_reply(reply: Reply) -> Written:
    """What an endpoint's answer says."""
    if reply.body is None:
        return Written.nothing(reply.failure or "the endpoint gave no answer")
    try:
        choice = reply.body["choices"][0]
        content = choice["message"]["content"]
    except (KeyError, IndexError, TypeError):
        return Written.nothing("the endpoint's answer has no choices[0].message.content")
    cut = choice.get("finish_reason") == "length"
    if not isinstance(content, str):
        return Written.nothing(f"the endpoint's answer has no text{' before it was cut off' if cut else ''}")
    return Written(content, cut=cut, tokens=_tokens(choice.get("logprobs")))


def _tokens(listed: Any) -> list[Token]:
    """The tokens of an answer's `logprobs`; none if they are not in the usual form."""
    try:
        return [
            Token(str(one["token"]), [(str(top["token"]), float(top["logprob"])) for top in one["top_logprobs"]])
            for one in listed["content"]
        ]
    except (KeyError, TypeError, ValueError):
        return []
