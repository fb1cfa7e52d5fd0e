"""Report from rollouts, before anything is optimised against them, whether to trust the reward and responses end.

`python -m launch.evaluate` gives the full report, with intervals and on held-out problems.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rewards.evaluation.intervals import Bootstrap
from rewards.evaluation.trust import concerns, in_one_line, trust
from rl.collect import Rollout
from rl.parts import Parts
from rl.progress import Display
from rl.stops import ends_in_words
from rl.types import AnswerGroup

NEARLY_ALL = 0.9
"""If at least this share of responses is cut at the length limit, scores and grades say little."""


def report_trust(groups: Sequence[AnswerGroup], display: Display) -> None:
    """Report in one line how the scores compare with the grades, and in a second if the reward is unlikely to help.

    Reports nothing if the task gives no grades. Groups with an answer that could not be graded are left out. A reward
    is not blamed for responses that were cut.
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
    if cut_share(groups) < NEARLY_ALL and (against := concerns(report)):
        display.event(f"this reward is unlikely to help: {'; '.join(against)}")


def report_cut(parts: Parts, drawn: Rollout) -> bool:
    """Whether nearly all responses of a rollout were cut. If so, a message names the likely causes."""
    if cut_share(drawn.groups) < NEARLY_ALL:
        return False
    cut = [each for group in drawn.groups for each in group.cut]
    rollout = parts.settings.rollout
    parts.display.event(
        f"update {drawn.update}: {sum(cut)} of {len(cut)} responses were cut at rollout.max_new_tokens="
        f"{rollout.max_new_tokens}, so scores and accuracy say little: raise it, or see how the policy ends its turns "
        f"(sampling stops at {ends_in_words(parts.sampler.tokenizer, rollout)}; rollout.stop_token_ids adds tokens)"
    )
    return True


def cut_share(groups: Sequence[AnswerGroup]) -> float:
    """The share of responses that were cut at the length limit; 0 if there are no responses."""
    cut = [each for group in groups for each in group.cut]
    return sum(cut) / len(cut) if cut else 0.0
