"""A reward function for verl, which asks a reward service for each score.

    reward.custom_reward_function.path=FOLDER/rewards/clients/verl.py reward.custom_reward_function.name=compute_score
    +reward.custom_reward_function.reward_kwargs.url=http://127.0.0.1:5000/score

verl does not pass the prompt: it is taken from `extra_info[prompt_key]`. A failed score raises, since verl has no value
for it: the run stops instead of learning from a number that nobody measured.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from rewards.files.fields import answer_of, prompt_of
from rewards.remote import RemoteReward
from rewards.types import Group, Problem, Response


class ScoreFailed(RuntimeError):
    """The service could not score a response; the message is its reason."""


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    *,
    url: str | None = None,
    prompt_key: str = "question",
    **ignored: Any,
) -> dict[str, float]:
    """The value as `score`, and its parts. `url`: the service's `/score`; None: the variable REWARDLOOP_URL.

    Further keyword arguments of verl's are not needed. Raises ScoreFailed, and ValueError if `extra_info` lacks the
    prompt or there is no URL.
    """
    prompt = (extra_info or {}).get(prompt_key)
    if prompt is None:
        raise ValueError(f"extra_info has no {prompt_key!r}: name the prompt's key with reward_kwargs.prompt_key")
    problem = Problem("", prompt_of(prompt, prompt_key), answer_of(ground_truth, "ground_truth"))
    [[score]] = _reward(url or os.environ.get("REWARDLOOP_URL")).score([Group(problem, (Response(solution_str),))])
    if score.failure is not None:
        raise ScoreFailed(score.failure)
    return {"score": score.value, **score.parts}


async def compute_score_async(*words: Any, **options: Any) -> dict[str, float]:
    """`compute_score` for verl's reward loop, which scores many responses at a time."""
    return await asyncio.to_thread(compute_score, *words, **options)


@lru_cache(maxsize=8)
def _reward(url: str | None) -> RemoteReward:
    if url is None:
        raise ValueError("there is no URL: set reward_kwargs.url or the variable REWARDLOOP_URL")
    token = os.environ.get("REWARDLOOP_TOKEN")
    return RemoteReward(url, form="rewardloop", headers={"Authorization": f"Bearer {token}"} if token else None)
