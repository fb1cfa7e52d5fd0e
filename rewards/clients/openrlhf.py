"""A reward file for OpenRLHF: `--reward.remote_url FOLDER/rewards/clients/openrlhf.py`.

The variable REWARDLOOP_URL is the service's address, such as http://127.0.0.1:5000/get_reward. The same address works
as `--reward.remote_url` itself; this file adds a bearer token (REWARDLOOP_TOKEN), retries that respect Retry-After, and
the reason of a failure. A failed score raises; OpenRLHF logs that, and the response has no reward.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch

from rewards.endpoint import Endpoint
from rewards.serving.openrlhf import OpenRLHFForm


def reward_func(queries: Sequence[str], prompts: Sequence[str], labels: Sequence[str | None]) -> dict[str, Any]:
    """Tensors of shape (N,): `rewards`, `scores`, and one for each part in `extra_logs`. Raises RuntimeError."""
    url = os.environ.get("REWARDLOOP_URL")
    if not url:
        raise RuntimeError("REWARDLOOP_URL is not set: the address of the service's /get_reward")
    token = os.environ.get("REWARDLOOP_TOKEN")
    endpoint = Endpoint(url, headers={"Authorization": f"Bearer {token}"} if token else {})
    [reply] = endpoint.post_all([{"query": list(queries), "prompts": list(prompts), "labels": list(labels)}])
    if reply.failure is not None:
        raise RuntimeError(reply.failure)
    scores = OpenRLHFForm().scores(reply.body, len(queries))
    if failed := [score.failure for score in scores if score.failure is not None]:
        raise RuntimeError(failed[0])
    names = [name for name in scores[0].parts if name != "score"] if scores else []
    rewards = torch.tensor([score.value for score in scores])
    logs = {name: torch.tensor([score.parts[name] for score in scores]) for name in names}
    return {"rewards": rewards, "scores": rewards, "extra_logs": logs}
