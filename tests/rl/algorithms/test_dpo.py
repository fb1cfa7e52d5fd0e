"""Iterative DPO: which rows become pairs, and what becomes of ties."""

import pytest

from rewards.types import Score
from rl.algorithms.dpo import DPO
from tests.rl.algorithms.scored import scored_batch


def of(*values: float | None) -> list[Score]:
    return [Score.failed("too long") if value is None else Score.of(value) for value in values]


def pairs_of(algorithm: DPO, scores: list[list[Score]]) -> list[tuple[int, int]]:
    """(chosen row, rejected row) of each pair."""
    data = algorithm.prepare(scored_batch(scores)).data
    return list(zip(data.chosen.tolist(), data.rejected.tolist(), strict=True))


def test_the_best_response_is_paired_with_the_worst_of_its_own_group() -> None:
    assert pairs_of(DPO(pairs="best_worst"), [of(0.1, 0.9, 0.5), of(0.7, None, 0.2)]) == [(1, 0), (3, 5)]


def test_all_pairs_above_the_margin_are_used() -> None:
    assert sorted(pairs_of(DPO(margin=0.45), [of(0.1, 0.9, 0.5)])) == [(1, 0)]
    assert sorted(pairs_of(DPO(margin=0.0), [of(0.1, 0.9, 0.5)])) == [(1, 0), (1, 2), (2, 0)]


def test_a_judges_verdicts_become_pairs() -> None:
    scores = [[Score.of(1.0, matches={1: 1.0}), Score.of(0.0, matches={0: 0.0})]]
    assert pairs_of(DPO(pairs="judge"), scores) == [(0, 1)]


def test_responses_with_step_scores_rank_by_their_mean_whatever_the_value() -> None:
    spans = [(0, 1), (1, 2)]
    scores = [[Score.of(0.0, steps=(0.0, 1.0), spans=spans), Score.of(0.3, steps=(0.3, 0.4), spans=spans)]]
    assert pairs_of(DPO(), scores) == [(1, 0)]
    assert pairs_of(DPO(credit="steps"), scores) == [(0, 1)]


def test_ties_are_dropped_and_counted_and_may_leave_nothing() -> None:
    prepared = DPO().prepare(scored_batch([of(1.0, 1.0), of(0.0, 0.0)]))
    assert len(prepared.data) == 0
    assert prepared.metrics["ties_dropped"] == 2 and prepared.metrics["groups_without_pair"] == 2


def test_with_mask_cut_no_pair_has_a_response_that_was_cut_whoever_judges() -> None:
    scores = [of(0.1, 0.9, 0.5, None)]
    for algorithm, expected in (
        (DPO(pairs="best_worst", mask_cut=True), [(2, 0)]),
        (DPO(pairs="best_worst"), [(1, 0)]),
    ):
        data = algorithm.prepare(scored_batch(scores, cut=[1, 3])).data
        assert list(zip(data.chosen.tolist(), data.rejected.tolist(), strict=True)) == expected
    metrics = DPO(mask_cut=True).prepare(scored_batch(scores, cut=[1, 3])).metrics
    assert metrics["cut_left_out"] == 1 and metrics["pairs"] == 1, "a failed score is not counted as cut"
    judged = [[Score.of(1.0, matches={1: 1.0}), Score.of(0.0, matches={0: 0.0})]]
    assert len(DPO(pairs="judge", mask_cut=True).prepare(scored_batch(judged, cut=[0])).data) == 0
    assert "cut_left_out" not in DPO().prepare(scored_batch(scores, cut=[1])).metrics


def test_the_metrics_have_the_lengths_of_chosen_and_rejected_separately() -> None:
    metrics = DPO().prepare(scored_batch([of(1.0, 0.0)], [["ab\ncd\nef", "ab"]])).metrics
    assert metrics["chosen_tokens"] > metrics["rejected_tokens"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"beta": 0.0}, "beta"),
        ({"margin": -0.1}, "margin"),
        ({"pairs": "judge", "credit": "steps"}, "pairs=judge"),
        ({"refresh_every": -1}, "refresh_every"),
        ({"ipo": True, "label_smoothing": 0.1}, "label_smoothing"),
    ],
)
def test_contradictory_options_are_refused_by_name(options, named) -> None:
    with pytest.raises(ValueError, match=named):
        DPO(**options)
