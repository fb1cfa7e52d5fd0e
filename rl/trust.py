"""Does this reward deserve trust? Read from the first rollout, before anything is optimised against it.

`python -m launch.evaluate` gives the whole report, with intervals and on held-out problems.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rewards.evaluation.intervals import Bootstrap
from rewards.evaluation.trust import concerns, in_one_line, trust
from rl.progress import Display
from rl.types import AnswerGroup


def report_trust(groups: Sequence[AnswerGroup], display: Display) -> None:
    """Say on the display, in one line, how the scores compare with the grades; in another, if the reward may not help.

    Says nothing where the task gives no grades. Groups with an answer that could not be graded are left out.
    """
    groups = [group for group in groups if all(answer.correct is not None for answer in group.answers)]
    if not groups:
        return
    report = trust(
        [np.array([score.value if score.ok else np.nan for score in group.scores]) for group in groups],
        [np.array([answer.correct for answer in group.answers], dtype=bool) for group in groups],
        [np.array([len(sample.text) for sample in group.samples], dtype=np.float64) for group in groups],
        Bootstrap(len(groups), resamples=500),
    )
    display.event(f"reward on the first rollout: {in_one_line(report)}")
    if against := concerns(report):
        display.event(f"this reward is unlikely to help: {'; '.join(against)}")
