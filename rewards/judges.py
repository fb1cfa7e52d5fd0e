"""Pairwise judges: a generative model on its own vLLM engine, or behind any OpenAI-compatible endpoint.

Both use the prompt of `rewards.verdicts`, decode greedily up to `</resp_b_judge>` and parse only what the judge wrote.
"""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rewards.chat import ChatTemplate, Turn, load_tokenizer
from rewards.endpoint import Endpoint, Reply
from rewards.engines.checkpoint import read_config
from rewards.engines.options import Precision, check_dtype
from rewards.engines.vllm_start import start_llm
from rewards.options import require_read
from rewards.verdicts import STOP, SYSTEM, Comparison, Verdict, Which, fill, load_template, parse

_CONTROL = re.compile(r"<\|([^<>|]*)\|>")

_logger = logging.getLogger(__name__)


class VllmJudge:
    """A generative judge on its own vLLM engine in this process; the weights are loaded at the first comparison.

    model: folder or hub name of a causal language model with tokenizer and chat template (THU-KEG/PairJudge-RM).
    template: path of a prompt file with {question}, {response_a}, {response_b}; None uses the default prompt.
    system: text of the system turn; None for no system turn. chat_template_kwargs: options of the chat template, such
    as `enable_thinking`.
    max_new_tokens, context_tokens, reserve_tokens: at most min(max_new_tokens, context_tokens - prompt tokens -
    reserve_tokens) tokens are generated, as published; if the prompt leaves no room, there is no verdict.
    verdict: if the judge gives several verdicts on one response, use the `first` (as published) or the `last`.
    dtype: fp32 or bf16. gpu_memory: the engine's share of the GPU's memory (GPU only). max_num_seqs: comparisons
    decoded at a time. Temperature 0.

    Responses are tokenised as plain text (`rewards.chat`), so control tokens in them cannot open a turn.
    Raises ValueError for a set-up that cannot work.
    """

    def __init__(
        self,
        model: str,
        *,
        template: str | None = None,
        system: str | None = SYSTEM,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        max_new_tokens: int = 2048,
        context_tokens: int = 4096,
        reserve_tokens: int = 200,
        verdict: Which = "first",
        dtype: Precision = "bf16",
        gpu_memory: float = 0.4,
        max_num_seqs: int = 256,
    ) -> None:
        check_dtype(dtype)
        if min(max_new_tokens, context_tokens, max_num_seqs) < 1 or reserve_tokens < 0:
            raise ValueError(
                "max_new_tokens, context_tokens and max_num_seqs must be at least 1, reserve_tokens at least 0"
            )
        limit = getattr(read_config(model), "max_position_embeddings", None)
        if limit is not None and context_tokens > limit:
            raise ValueError(f"context_tokens ({context_tokens}) is more than the {limit} positions of {model}")
        self.model, self.dtype = model, dtype
        self.prompt, self.system = load_template(template), system
        self.chat = ChatTemplate(load_tokenizer(model), chat_template_kwargs)
        self.max_new_tokens, self.context_tokens, self.reserve_tokens = max_new_tokens, context_tokens, reserve_tokens
        self.verdict = which_verdict(verdict)
        self.gpu_memory, self.max_num_seqs = gpu_memory, max_num_seqs
        self._llm: Any = None

    def judge(self, comparisons: Sequence[Comparison]) -> list[Verdict]:
        """Judge all comparisons in one call to the engine."""
        head = [] if self.system is None else [Turn("system", self.system)]
        rendered = self.chat.render_each(
            [[*head, Turn("user", fill(self.prompt, comparison))] for comparison in comparisons], generation_prompt=True
        )
        room = [self.context_tokens - len(one.ids) - self.reserve_tokens for one in rendered]
        asked = [index for index, one in enumerate(rendered) if one.failure is None and room[index] > 0]
        completions = self._complete(
            [rendered[index].ids for index in asked], [min(self.max_new_tokens, room[index]) for index in asked]
        )
        verdicts = dict(zip(asked, (parse(completion, self.verdict) for completion in completions), strict=True))
        too_long = f"the comparison leaves no room for a judgement in {self.context_tokens} tokens"
        return counted(
            [verdicts.get(index) or Verdict.none(one.failure or too_long) for index, one in enumerate(rendered)]
        )

    def _complete(self, prompts: Sequence[list[int]], limits: Sequence[int]) -> list[str]:
        """What the model writes after each prompt, greedily, without the stop string."""
        if not prompts:
            return []
        from vllm import SamplingParams  # vLLM takes seconds to import

        self.load()
        sampling = [SamplingParams(temperature=0.0, max_tokens=limit, stop=[STOP]) for limit in limits]
        outputs = self._llm.generate([{"prompt_token_ids": ids} for ids in prompts], sampling, use_tqdm=False)
        return [output.outputs[0].text for output in outputs]

    def load(self) -> None:
        """Start the engine unless it is already running."""
        if self._llm is None:
            self._llm = start_llm(
                self.model,
                dtype=self.dtype,
                max_model_len=self.context_tokens,
                gpu_memory=self.gpu_memory,
                max_num_seqs=self.max_num_seqs,
            )


class EndpointJudge:
    """A generative judge behind an OpenAI-compatible endpoint.

    url: the full address, such as http://127.0.0.1:8000/v1/chat/completions. model: the model's name on that server.
    api_key_env: name of the environment variable that holds the key; None sends no key.
    tokenizer: the judge's folder or hub name, used to count prompt tokens; the token limit is then that of VllmJudge.
    None always requests `max_new_tokens`, which a server with a shorter context may refuse.
    extra: additional keys of the request body. template, system, max_new_tokens, context_tokens, reserve_tokens,
    verdict: see VllmJudge. timeout_s, tries, backoff_s, max_in_flight: see `rewards.endpoint.Endpoint`. Temperature 0.

    The server would tokenise `<|im_end|>` in a response as a control token and end the turn, so such strings are sent
    as `<| im_end |>`. Raises ValueError for a set-up that cannot work.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        api_key_env: str | None = None,
        tokenizer: str | None = None,
        template: str | None = None,
        system: str | None = SYSTEM,
        max_new_tokens: int = 2048,
        context_tokens: int = 4096,
        reserve_tokens: int = 200,
        verdict: Which = "first",
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
        if max_new_tokens < 1 or context_tokens < 1 or reserve_tokens < 0:
            raise ValueError("max_new_tokens and context_tokens must be at least 1, reserve_tokens at least 0")
        self.endpoint = Endpoint(url, timeout_s, tries, backoff_s, max_in_flight, headers)
        self.model, self.extra = model, dict(extra or {})
        self.prompt, self.system = load_template(template), system
        self.chat = None if tokenizer is None else ChatTemplate(load_tokenizer(tokenizer))
        self.max_new_tokens, self.context_tokens, self.reserve_tokens = max_new_tokens, context_tokens, reserve_tokens
        self.verdict = which_verdict(verdict)
        for name in ("context_tokens", "reserve_tokens"):
            require_read(self, name, tokenizer is not None, "tokenizer, which counts the tokens of a prompt")

    def judge(self, comparisons: Sequence[Comparison]) -> list[Verdict]:
        """Judge all comparisons, `max_in_flight` requests at a time."""
        bodies = [self._body(comparison) for comparison in comparisons]
        replies = iter(self.endpoint.post_all([body for body in bodies if not isinstance(body, Verdict)]))
        return counted(
            [body if isinstance(body, Verdict) else _verdict_of(next(replies), self.verdict) for body in bodies]
        )

    def _body(self, comparison: Comparison) -> dict[str, Any] | Verdict:
        """The request body for one comparison, or a missing verdict if the prompt is too long or cannot be rendered."""
        safe = Comparison(*(_CONTROL.sub(r"<| \1 |>", text) for text in comparison))
        turns = [] if self.system is None else [Turn("system", self.system)]
        turns.append(Turn("user", fill(self.prompt, safe)))
        limit = self.max_new_tokens
        if self.chat is not None:
            [rendered] = self.chat.render_each([turns], generation_prompt=True)
            if rendered.failure is not None:
                return Verdict.none(rendered.failure)
            limit = min(limit, self.context_tokens - len(rendered.ids) - self.reserve_tokens)
        if limit < 1:
            return Verdict.none(f"the comparison leaves no room for a judgement in {self.context_tokens} tokens")
        return {
            "model": self.model,
            "messages": [{"role": turn.role, "content": turn.content} for turn in turns],
            "temperature": 0.0,
            "max_tokens": limit,
            "stop": [STOP],
            **self.extra,
        }


def _verdict_of(reply: Reply, which: Which) -> Verdict:
    """The verdict in an endpoint's answer."""
    if reply.body is None:
        return Verdict.none(reply.failure or "the endpoint gave no answer")
    try:
        content = reply.body["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError):
        return Verdict.none("the endpoint's answer has no choices[0].message.content")
    return parse(content, which) if isinstance(content, str) else Verdict.none("the endpoint's answer has no text")


def which_verdict(which: Which) -> Which:
    """Check the option `verdict` and return it."""
    if which not in ("first", "last"):
        raise ValueError(f"verdict must be first or last, not {which!r}")
    return which


def counted(verdicts: list[Verdict]) -> list[Verdict]:
    """Log how many verdicts are missing and why; return them unchanged."""
    reasons = Counter(verdict.reason for verdict in verdicts if verdict.reason is not None)
    if reasons:
        reason, count = reasons.most_common(1)[0]
        _logger.warning(
            "%d of %d judgements gave no verdict; %d of them: %s", reasons.total(), len(verdicts), count, reason
        )
    return verdicts
