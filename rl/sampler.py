"""Draw responses: vLLM engines in Ray actors, and the handle through which the loop samples.

Each engine (rl/engine.py) gets its share of a batch of problems in one call.

A response ends at the tokenizer's eos_token, at the token that ends a turn in the chat template, at one of
`rollout.stop_token_ids`, or when one of the texts in `rollout.stop` is complete. The response includes what ended it:
the token, or all tokens up to the one that completed the text, even if that token contains more text. So a sample's
text is always the decoded ids, and the learner sees every id.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray

from rewards.types import Problem
from rl.cluster import actor_options, call, end
from rl.engine import Drawing, Drawn, VllmActor
from rl.policy import check_policy, decode, load_tokenizer, prompt_ids
from rl.settings import ClusterSettings, PolicySettings, RolloutSettings
from rl.stops import stop_ids
from rl.types import AnswerGroup, Sample


class SamplerGroup:
    """The engines as the loop sees them.

    The constructor starts the engines and returns immediately; `wait`, or the first other call, waits until they are
    ready. Raises FileNotFoundError or ValueError before anything starts if the policy's folder cannot be used.
    """

    def __init__(
        self, policy: PolicySettings, settings: RolloutSettings, cluster: ClusterSettings, *, log_folder: Path
    ):
        check_policy(policy.path)
        self.tokenizer = load_tokenizer(policy.path, policy.chat_template_kwargs)
        self.settings = settings
        self.stops: dict[str, Any] = {"stop": settings.stop, "stop_ids": stop_ids(self.tokenizer, settings)}
        self.timeout = cluster.timeout_s
        self.log_folder = log_folder
        self.version = 0
        options = actor_options(
            cluster, "engine", actors=settings.engines, kv_cache_gib=settings.kv_cache_gib, model_path=policy.path
        )
        actor: Any = ray.remote(VllmActor).options(**options)
        self.engines = [actor.remote(f"engine-{index}", str(log_folder)) for index in range(settings.engines)]
        self._starting = [engine.start.remote(policy, settings, cluster.device) for engine in self.engines]

    def wait(self) -> None:
        """Wait until every engine runs. Raises ValueError or RuntimeError, in one line, if one does not start."""
        self._finish(self._starting, "starting the engines")

    def sample(
        self,
        problems: Sequence[Problem],
        n: int,
        *,
        max_new_tokens: int | None = None,
        seed: int | None = None,
        **sampling: Any,
    ) -> list[AnswerGroup]:
        """Draw `n` responses for each problem, in the order of the problems.

        `sampling`: temperature, top_p, top_k, min_p, greedy, as in `Drawing`; by default, all tokens at temperature 1.
        `max_new_tokens` defaults to the settings' value. With a `seed`, the same weights give the same responses.
        Greedy log-probabilities are those at temperature 1. Raises ValueError, naming the problem, if its prompt is
        empty or too long for the engine.
        """
        drawing = Drawing(n, max_new_tokens or self.settings.max_new_tokens, **sampling, **self.stops)
        prompts = [self._prompt(problem, drawing.max_new_tokens) for problem in problems]
        drawn = self._draw(prompts, drawing, seed)
        return [AnswerGroup.drawn(problem, samples) for problem, samples in zip(problems, drawn, strict=True)]

    def continue_from(
        self,
        beginnings: Sequence[tuple[int, ...]],
        n: int,
        *,
        seed: int | None = None,
        **sampling: Any,
    ) -> list[list[Sample]]:
        """Draw `n` continuations of each beginning: the token ids of a prompt and the first part of a response.

        The result is in the order of the beginnings. A sample's `prompt_ids` are its whole beginning; its text is only
        the continuation. One call computes the shared prefixes of neighbouring beginnings once (prefix cache). A
        continuation ends at the settings' `max_new_tokens`, or when the engine's `max_model_len` is reached. Raises
        ValueError if a beginning leaves no room for a token.
        """
        longest = max(map(len, beginnings), default=0)
        if longest >= self.settings.max_model_len:
            raise ValueError(
                f"a response of {longest} tokens with its prompt cannot be continued: raise rollout.max_model_len, "
                f"which is {self.settings.max_model_len}"
            )
        return self._draw(beginnings, Drawing(n, self.settings.max_new_tokens, **sampling, **self.stops), seed)

    def _draw(self, prompts: Sequence[tuple[int, ...]], drawing: Drawing, seed: int | None) -> list[list[Sample]]:
        """Draw responses to each prompt. Each engine gets a contiguous block of the prompts."""
        share = max(1, math.ceil(len(prompts) / len(self.engines)))
        refs = [
            engine.generate.remote(
                prompts[index * share : (index + 1) * share], drawing, None if seed is None else seed + index
            )
            for index, engine in enumerate(self.engines)
            if index * share < len(prompts)
        ]
        answers = self._call(refs, "sampling")
        drawn = [(responses, version) for groups, version in answers for responses in groups]
        return [
            [self._sample(prompt, response, version) for response in responses]
            for prompt, (responses, version) in zip(prompts, drawn, strict=True)
        ]

    def load_weights(self, buckets: list[Any], version: int) -> float:
        """Load the weights in these object references into every engine. Returns the seconds of the slowest engine."""
        refs = [engine.load_weights.remote(buckets, version) for engine in self.engines]
        seconds = max(self._call(refs, f"weight sync {version}"))
        self.version = version
        return float(seconds)

    def forget_prefixes(self) -> None:
        """Drop every engine's prefix cache, so that what a seed draws does not depend on earlier draws."""
        self._call([engine.forget_prefixes.remote() for engine in self.engines], "dropping the prefix cache")

    def shutdown(self) -> None:
        """End the engines' processes."""
        end(self.engines)
        self.engines = []

    def _prompt(self, problem: Problem, max_new_tokens: int) -> tuple[int, ...]:
        ids = prompt_ids(self.tokenizer, problem)
        room = self.settings.max_model_len - max_new_tokens
        if len(ids) > room:
            raise ValueError(
                f"problem {problem.id}: its prompt has {len(ids)} tokens, but rollout.max_model_len - max_new_tokens "
                f"leaves {room}; raise rollout.max_model_len or remove the problem"
            )
        return ids

    def _sample(self, prompt: tuple[int, ...], drawn: Drawn, version: int) -> Sample:
        ids, logprobs, reason = drawn
        return Sample(prompt, ids, logprobs, decode(self.tokenizer, ids), reason, version)

    def _call(self, refs: list[Any], what: str) -> list[Any]:
        self.wait()
        return self._finish(refs, what)

    def _finish(self, refs: list[Any], what: str) -> list[Any]:
        names = [f"engine-{index}" for index in range(len(refs))]
        return call(refs, self.timeout, what, names=names, log_folder=self.log_folder)
