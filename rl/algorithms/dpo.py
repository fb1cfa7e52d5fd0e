"""Iterative DPO: groups become preference pairs, and the loss is a classifier's (arXiv:2305.18290, eq. 7).

Online, as in RLHFlow (arXiv:2405.07863): each update draws fresh responses, pairs them by reward, and trains on the
pairs. The reference is the policy at the start of the iteration. An iteration here is `refresh_every` rollouts; they
use three of 20,000 prompts each. Left out: sampling from their mixture of two policies, and step-wise DPO, which needs
responses that share their first steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from rewards.options import require_read
from rewards.types import Score
from rl.algorithms import Algorithm
from rl.credit.groups import counts, values_of
from rl.credit.preferences import Pairs, all_above_margin, best_against_worst, by_judge
from rl.learner.losses import PreferenceLossSettings
from rl.settings import require
from rl.types import AnswerGroup, Preferences, Prepared, Scored


@dataclass(frozen=True)
class DPO(Algorithm):
    """Direct preference optimisation on pairs drawn and judged online.

    pairs: `margin` makes a pair of any two responses whose scores differ by more than `margin`, `best_worst` one per
    group, `judge` one of every match that a pairwise judge decided. Ties are dropped and counted.
    credit: `outcome` ranks by the score's value, `steps` by the mean of its step scores, ignoring the reward's own
    aggregation.
    """

    pairs: Literal["best_worst", "margin", "judge"] = "margin"
    margin: float = 0.1  # in units of the reward; used if pairs=margin
    credit: Literal["outcome", "steps"] = "outcome"
    mask_cut: bool = False  # no pair has a response that was cut at the length limit
    beta: float = 0.1
    label_smoothing: float = 0.0
    ipo: bool = False
    nll_coefficient: float = 0.0
    refresh_every: int = 1  # updates per iteration, after which the reference becomes the current policy; 0: never

    def __post_init__(self) -> None:
        self.loss()  # it checks its own options, which have the same names here
        require(self.refresh_every >= 0, f"refresh_every must not be negative, not {self.refresh_every}")
        require(self.margin >= 0, f"margin must not be negative, not {self.margin}")
        require_read(self, "margin", self.pairs == "margin", "pairs=margin")
        require(
            self.credit == "outcome" or self.pairs != "judge",
            "pairs=judge reads the judge's matches: leave credit=outcome",
        )

    @property
    def needs_reference(self) -> bool:
        """Only if it is not simply the policy before each update, which the learner has anyway."""
        return self.refresh_every != 1

    @property
    def group_relative(self) -> bool:
        """A pair needs two responses."""
        return True

    def rows_per_group(self, responses: int) -> int:
        """A response is read once, however many pairs it is in."""
        return 2 if self.pairs == "best_worst" else responses

    def pairs_per_group(self, responses: int) -> int:
        """One, or any two of the group."""
        return 1 if self.pairs == "best_worst" else responses * (responses - 1) // 2

    @property
    def needs_steps(self) -> bool:
        """Only if step scores rank the responses."""
        return self.credit == "steps"

    @property
    def needs_matches(self) -> bool:
        """Only for pairs that a judge decided."""
        return self.pairs == "judge"

    def loss(self) -> PreferenceLossSettings:
        """DPO's loss, or one of its variants."""
        return PreferenceLossSettings(self.beta, self.label_smoothing, self.ipo, self.nll_coefficient)

    def prepare(self, scored: Scored) -> Prepared:
        """The preference pairs of this rollout; none if every group is a tie."""
        scores = (
            [[of_steps(score) for score in group] for group in scored.scores] if self.needs_steps else scored.scores
        )
        metrics = counts(*values_of(scores))
        if self.mask_cut:
            scores, metrics["cut_left_out"] = without_cut(scores, scored.groups)
        pairs = self._pairs(scores)
        metrics |= pairs.counts
        if len(pairs):
            metrics["pair_margin"] = float(pairs.margins.mean())
            lengths = scored.batch.response_mask.sum(dim=1).float()
            metrics["chosen_tokens"] = float(lengths[pairs.chosen].mean())
            metrics["rejected_tokens"] = float(lengths[pairs.rejected].mean())
        return Prepared(Preferences(scored.batch, pairs.chosen, pairs.rejected), metrics)

    def _pairs(self, scores: list[list[Score]]) -> Pairs:
        if self.pairs == "judge":
            return by_judge(scores)
        values, mask = values_of(scores)
        return (
            best_against_worst(values, mask)
            if self.pairs == "best_worst"
            else all_above_margin(values, mask, self.margin)
        )


def without_cut(scores: list[list[Score]], groups: Sequence[AnswerGroup]) -> tuple[list[list[Score]], float]:
    """The scores, failed for answers that were cut at the length limit so that no pair has them; how many those are."""
    failed = Score.failed("cut at the length limit")
    kept = [
        [failed if cut else score for score, cut in zip(row, group.cut, strict=True)]
        for row, group in zip(scores, groups, strict=True)
    ]
    count = sum(score.ok for row in scores for score in row) - sum(score.ok for row in kept for score in row)
    return kept, float(count)


def of_steps(score: Score) -> Score:
    """A score with the mean of its steps as value; a failed score stays failed. Raises ValueError without steps."""
    if not score.ok:
        return score
    if not score.steps:
        raise ValueError("credit=steps needs a reward with step scores: choose a process reward, or credit=outcome")
    return Score.of(fmean(score.steps))
