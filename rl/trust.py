"""Does this reward deserve trust? Read from the first rollout, before anything is optimised against it.

`python -m launch.evaluate` gives the whole report, with intervals and on held-out problems.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rewards.evaluation.intervals import Bootstrap
from rewards.evaluation.trust import concerns, in_one_line, trust
from rewards.types import Score
from rl.progress import Display
from rl.types import Rollout


def report_trust(
    rollout: Rollout, scores: Sequence[Sequence[Score]], verdicts: Sequence[Sequence[bool]], display: Display
) -> None:
    """Say on the display, in one line, how the scores stand to the truth; and in one more, if the reward may not help.

    `scores[i][j]` and `verdicts[i][j]` belong to response j to problem i.
    """
    report = trust(
        [np.array([score.value if score.ok else np.nan for score in group]) for group in scores],
        [np.array(group, dtype=bool) for group in verdicts],
        [np.array([len(sample.text) for sample in group], dtype=np.float64) for group in rollout.samples],
        Bootstrap(len(scores), resamples=500),
    )
    display.event(f"reward on the first rollout: {in_one_line(report)}")
    if against := concerns(report):
        display.event(f"this reward is unlikely to help: {'; '.join(against)}")
