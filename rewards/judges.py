"""PairJudge RM's judge: a generative model on its own vLLM engine, or behind any OpenAI-compatible endpoint.

Both use the prompt of `rewards.verdicts`, decode greedily up to `</resp_b_judge>` and parse only what the judge wrote.
Judges with other prompts and verdicts: `rewards.judging.pairs.GenerativeJudge`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rewards.engines.options import Precision
from rewards.judging.formats import TurnTemplate
from rewards.judging.generators import EndpointGenerator, VllmGenerator
from rewards.judging.pairs import GenerativeJudge, PairFormat, load_pair_format
from rewards.judging.verdict_kinds import Sides
from rewards.options import require_read
from rewards.verdicts import SYSTEM, Which, load_template

FORMAT = "pairjudge"


class VllmJudge(GenerativeJudge):
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
        generator = VllmGenerator(
            model,
            chat_template_kwargs=chat_template_kwargs,
            max_new_tokens=max_new_tokens,
            context_tokens=context_tokens,
            reserve_tokens=reserve_tokens,
            dtype=dtype,
            gpu_memory=gpu_memory,
            max_num_seqs=max_num_seqs,
        )
        self.use(pairjudge_format(template, system, verdict), generator, None, FORMAT)


class EndpointJudge(GenerativeJudge):
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
        self.reserve_tokens = reserve_tokens
        require_read(self, "reserve_tokens", tokenizer is not None, "tokenizer, which counts the tokens of a prompt")
        generator = EndpointGenerator(
            url,
            model,
            api_key_env=api_key_env,
            tokenizer=tokenizer,
            max_new_tokens=max_new_tokens,
            context_tokens=context_tokens,
            reserve_tokens=0 if tokenizer is None else reserve_tokens,
            extra=extra,
            timeout_s=timeout_s,
            tries=tries,
            backoff_s=backoff_s,
            max_in_flight=max_in_flight,
        )
        self.use(pairjudge_format(template, system, verdict), generator, None, FORMAT)


def pairjudge_format(template: str | None, system: str | None, verdict: Which) -> PairFormat:
    """The format `pairjudge` with another prompt file, system turn, or choice among several verdicts."""
    if verdict not in ("first", "last"):
        raise ValueError(f"verdict must be first or last, not {verdict!r}")
    found = load_pair_format(FORMAT)
    assert isinstance(found.verdict, Sides)
    turns = [TurnTemplate("user", load_template(template))]
    if system is not None:
        turns.insert(0, TurnTemplate("system", system))
    return replace(found, turns=tuple(turns), verdict=replace(found.verdict, pick=verdict))
