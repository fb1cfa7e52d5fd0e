"""Bodies for every path of the service: any bytes, any JSON, and valid requests with some values changed.

Needs Hypothesis, one of the developer tools.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

MESSAGES = [{"role": "user", "content": "q"}]
VALID: dict[str, Any] = {
    "/score": {"groups": [{"problem": "q", "responses": ["a", "bb"]}]},
    "/get_reward": {"query": ["qa"], "prompts": ["q"], "labels": ["1"], "metadata": [{}]},
    "/batched": {"prompts": ["q"], "responses": ["a"], "labels": [None]},
    "/slime": {"prompt": MESSAGES, "response": "a"},
    "/slime/dict": {"prompt": MESSAGES, "response": "a"},
    "/v1/score/evaluation": {"model": "m", "messages": ["a"], "max_length": None},
    "/classify": {"model": "m", "input": ["a"], "messages": MESSAGES, "text": "a", "use_activation": False},
    "/pooling": {"model": "m", "input": [1, 2], "task": "classify"},
    "/verify": {"responses_create_params": {"input": "q"}, "response": {"output": [{"content": "a"}]}, "answer": "1"},
    "/compare": {"conversation_history": MESSAGES, "response_objs": [{"output": []}], "principle": None},
}
"""A request of each path, or one that becomes valid when a key is taken away."""

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)


@st.composite
def requests(draw: Any) -> tuple[str, bytes]:
    """A path and a body."""
    path = draw(st.sampled_from(sorted(VALID)))
    kind = draw(st.sampled_from(["bytes", "json", "changed", "changed", "changed"]))
    if kind == "bytes":
        return path, draw(st.binary(max_size=200))
    if kind == "json":
        return path, json.dumps(draw(JSON)).encode()
    body = json.loads(json.dumps(VALID[path]))
    for _ in range(draw(st.integers(0, 3))):
        _change(draw, body)
    return path, json.dumps(body).encode()


def _change(draw: Any, node: Any) -> None:
    """Change, or take away, one value somewhere in a body."""
    while True:
        keys = list(range(len(node))) if isinstance(node, list) else list(node) if isinstance(node, dict) else []
        if not keys:
            return
        key = draw(st.sampled_from(keys))
        if draw(st.integers(0, 4)) == 0:
            del node[key]
            return
        if not isinstance(node[key], dict | list) or not node[key] or draw(st.booleans()):
            node[key] = draw(JSON)
            return
        node = node[key]
