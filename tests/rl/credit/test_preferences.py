"""Pairs from groups: the right rows, ties dropped and counted, and the judge's own verdicts."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rewards.pairjudge import PairJudgeReward
from rewards.shaping import ShapedReward
from rewards.types import Group, Problem, Response, Score
from rewards.verdicts import Comparison, Verdict
from rl.credit.groups import values_of
from rl.credit.preferences import all_above_margin, best_against_worst, by_judge
from tests.rl.credit.rollouts import few

numbers = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.none())
groups = st.lists(st.lists(numbers, min_size=4, max_size=4), min_size=1, max_size=4)


def scores_of(rows: list[list[float | None]]) -> list[list[Score]]:
    return [[Score.failed("x") if value is None else Score.of(value) for value in row] for row in rows]


@few
@given(rows=groups)
def test_best_against_worst_takes_one_pair_from_every_group_with_a_difference(rows) -> None:
    pairs = best_against_worst(*values_of(scores_of(rows)))
    expected, ties = [], 0
    for group, row in enumerate(rows):
        present = [(value, -place) for place, value in enumerate(row) if value is not None]
        if len(present) < 2:
            continue
        best, worst = max(value for value, _ in present), min(value for value, _ in present)
        if best == worst:
            ties += 1
        else:
            expected.append((4 * group + row.index(best), 4 * group + row.index(worst), best - worst))
    assert list(zip(pairs.chosen.tolist(), pairs.rejected.tolist(), pairs.margins.tolist(), strict=True)) == expected
    without = len(rows) - len(expected)
    assert pairs.counts == {
        "pairs": len(expected),
        "ties_dropped": ties,
        "below_margin": 0,
        "groups_without_pair": without,
    }


@few
@given(rows=groups, margin=st.sampled_from([0.0, 0.3, 0.5]))
def test_exactly_the_pairs_above_the_margin_are_taken(rows, margin: float) -> None:
    pairs = all_above_margin(*values_of(scores_of(rows)), margin)
    found = set(zip(pairs.chosen.tolist(), pairs.rejected.tolist(), strict=True))
    ties = close = 0
    expected = set()
    for group, row in enumerate(rows):
        for a, b in combinations([place for place, value in enumerate(row) if value is not None], 2):
            better, worse = (a, b) if row[a] >= row[b] else (b, a)
            ties += row[a] == row[b]
            close += 0 < row[better] - row[worse] <= margin
            if row[better] - row[worse] > margin:
                expected.add((4 * group + better, 4 * group + worse))
    assert found == expected and len(pairs) == len(expected)
    assert (pairs.counts["ties_dropped"], pairs.counts["below_margin"]) == (ties, close)


def test_scores_that_differ_only_by_rounding_are_a_tie() -> None:
    pairs = best_against_worst(torch.tensor([[30.0, 30.000002]]), torch.ones(1, 2, dtype=torch.bool))
    assert len(pairs) == 0 and pairs.counts["ties_dropped"] == 1 and pairs.counts["groups_without_pair"] == 1


def test_a_negative_margin_is_refused() -> None:
    with pytest.raises(ValueError, match="must not be negative, not -1"):
        all_above_margin(torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool), -1)


class Ladder:
    """Of two responses the one with the larger number is correct, or neither where they are within one."""

    def judge(self, comparisons: list[Comparison]) -> list[Verdict]:
        numbers = [(int(c.a.split()[-1]), int(c.b.split()[-1])) for c in comparisons]
        return [Verdict(a > b + 1, b > a + 1) for a, b in numbers]


def judged(format: str, *answers: int, wrap=lambda reward: reward) -> list[Score]:
    reward = wrap(PairJudgeReward(Ladder(), format=format, teams="text"))
    responses = tuple(Response(f"The answer is: {answer}") for answer in answers)
    return reward.score([Group(Problem("p", "?"), responses)])[0]


def test_the_judges_pairs_are_its_matches_with_the_winner_chosen() -> None:
    pairs = by_judge([judged("round_robin", 1, 9, 5, 6)] * 2)
    found = list(zip(pairs.chosen.tolist(), pairs.rejected.tolist(), strict=True))
    first = [(1, 0), (1, 2), (1, 3), (2, 0), (3, 0)]
    assert sorted(found) == first + [(a + 4, b + 4) for a, b in first]
    assert pairs.counts == {"pairs": 10, "ties_dropped": 2, "below_margin": 0, "groups_without_pair": 0}
    assert (pairs.margins > 0).all()


def test_a_knockout_gives_the_pairs_it_played() -> None:
    scores = judged("knockout", 1, 9, 5, 13)
    pairs = by_judge([scores])
    assert len(pairs) == scores[0].parts["judgements"] == 3
    assert all(
        scores[a].matches[b] == 1 and scores[b].matches[a] == 0
        for a, b in zip(pairs.chosen.tolist(), pairs.rejected.tolist(), strict=True)
    )


def test_equal_texts_give_each_pair_once() -> None:
    pairs = by_judge([judged("round_robin", 1, 9, 9, 9)])
    assert list(zip(pairs.chosen.tolist(), pairs.rejected.tolist(), strict=True)) == [(1, 0)]


def test_match_results_survive_shaping() -> None:
    shaped = judged("round_robin", 1, 9, wrap=lambda reward: ShapedReward(reward, length_penalty=0.001))
    assert len(by_judge([shaped])) == 1


def test_a_response_whose_score_failed_is_in_no_pair() -> None:
    scores = judged("round_robin", 1, 9, 5)
    scores[1] = Score.failed("dropped")
    assert by_judge([scores]).chosen.tolist() == [2]


def test_a_reward_that_does_not_compare_responses_is_refused() -> None:
    with pytest.raises(ValueError, match="reward=pairjudge"):
        by_judge([[Score.of(1.0), Score.of(0.0)]])
