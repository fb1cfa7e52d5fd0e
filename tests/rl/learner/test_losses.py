"""Settings of the loss that contradict each other are refused."""

from __future__ import annotations

from typing import Any

import pytest

from rl.learner.losses import PolicyLossSettings


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"clip_low": 1.0}, "clip_low"),
        ({"dual_clip": 0.5}, "dual_clip"),
        ({"kl": -0.1}, "kl must not be negative"),
        ({"kl": 0.1, "kl_estimator": "k1"}, "gradient of mean zero"),
        ({"aggregation": "constant"}, "constant_length"),
        ({"ratio": "sequence"}, "needs aggregation=sequence"),
        ({"correction": "sequence"}, "correction_mode=mask"),
        ({"correction_low": 6.0}, "is above"),
    ],
)
def test_a_contradiction_is_named(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PolicyLossSettings(**keys)
