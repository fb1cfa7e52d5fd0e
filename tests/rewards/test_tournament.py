"""Tournaments: what a perfect judge finds, what it costs, and that chance is seeded."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards.tournament import Pairing, Tournament, play
from rewards.tournament_formats import FORMATS, bound, knockout
from rewards.verdicts import Verdict

NAMES = sorted(FORMATS)


class PerfectJudge:
    """Knows which candidates are right; counts what it is asked."""

    def __init__(self, right: list[list[bool]]):
        self.right = right
        self.batches: list[list[Pairing]] = []

    def __call__(self, pairings):
        self.batches.append(pairings)
        return [Verdict(self.right[t][a], self.right[t][b]) for t, a, b in pairings]


class SilentJudge:
    """Never gives a verdict."""

    def __call__(self, pairings):
        return [Verdict.none("silence") for _ in pairings]


def tournament(name, teams, seed=0, same=None):
    rng = Random(seed)
    return Tournament(FORMATS[name](teams, rng), list(range(len(teams))) if same is None else same, rng)


groups = st.lists(st.integers(0, 5), min_size=2, max_size=17)


@pytest.mark.parametrize("name", NAMES)
@given(teams=groups, right=st.sets(st.integers(0, 5)), seed=st.integers(0, 2**32), both=st.booleans())
@settings(max_examples=80, deadline=None)
def test_a_perfect_judge_always_finds_a_right_answer_within_the_bound(name, teams, right, seed, both):
    judge = PerfectJudge([[team in right for team in teams]])
    played = play([tournament(name, teams, seed)], judge, both_orders=both)[0]

    assert played.judgements <= bound(name, len(teams), both)
    assert played.judgements == len({pairing for batch in judge.batches for pairing in batch})
    values = played.result.values
    assert all(value is not None and (-1 if name == "reference" else 0) <= value <= 1 for value in values)
    if right & set(teams):
        assert teams[played.result.winner] in right
        best = max(values)
        if name != "reference" or teams[played.result.winner] in right:
            assert any(value == best and team in right for team, value in zip(teams, values, strict=True))
    if name == "knockout":
        assert len(judge.batches) <= math.ceil(math.log2(len(teams)))


@pytest.mark.parametrize("name", NAMES)
@given(teams=groups, seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_the_same_seed_gives_the_same_bracket(name, teams, seed):
    first, second = PerfectJudge([[team == 0 for team in teams]]), PerfectJudge([[team == 0 for team in teams]])
    one = play([tournament(name, teams, seed)], first)
    two = play([tournament(name, teams, seed)], second)
    assert one == two
    assert first.batches == second.batches


@pytest.mark.parametrize("name", NAMES)
@given(teams=groups, right=st.sets(st.integers(0, 5)), seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_equal_answers_have_equal_values_and_are_never_judged_against_each_other(name, teams, right, seed):
    judge = PerfectJudge([[team in right for team in teams]])
    values = play([tournament(name, teams, seed)], judge)[0].result.values
    assert all(len({v for v, t in zip(values, teams, strict=True) if t == team}) == 1 for team in teams)
    assert all(teams[a] != teams[b] for batch in judge.batches for _, a, b in batch)


@given(
    right=st.lists(st.lists(st.booleans(), min_size=2, max_size=8), min_size=1, max_size=6),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=40, deadline=None)
def test_with_a_perfect_judge_right_never_scores_below_wrong_in_a_round_robin(right, seed):
    fields = [tournament("round_robin", list(range(len(group))), seed) for group in right]
    for group, played in zip(right, play(fields, PerfectJudge(right)), strict=True):
        values = played.result.values
        goods = [v for v, ok in zip(values, group, strict=True) if ok]
        bads = [v for v, ok in zip(values, group, strict=True) if not ok]
        assert not goods or not bads or min(goods) > max(bads)


def test_round_robin_is_the_win_rate_with_ties_counting_half():
    # Teams 0, 0, 1, 2; team 0 is right: it beats the two others and ties with itself.
    judge = PerfectJudge([[True, True, False, False]])
    played = play([tournament("round_robin", [0, 0, 1, 2])], judge)[0]
    assert played.result.values == [pytest.approx(2.5 / 3), pytest.approx(2.5 / 3), 0.5 / 3, 0.5 / 3]
    assert played.judgements == 3


def test_reference_gives_one_minus_one_and_zero():
    right = [True, False, True, False, False]
    seen = set()
    for seed in range(20):
        values = play([tournament("reference", range(5), seed)], PerfectJudge([right]))[0].result.values
        seen.add(tuple(values))
    assert seen == {(0.0, -1.0, 0.0, -1.0, -1.0), (1.0, 0.0, 1.0, 0.0, 0.0)}


@pytest.mark.parametrize("name", NAMES)
def test_a_whole_rollout_is_judged_in_as_many_batches_as_one_group_has_rounds(name):
    fields = [tournament(name, range(8), seed) for seed in range(64)]
    judge = PerfectJudge([[True] * 8] * 64)  # all right in different words: nobody leaves a knockout early
    play(fields, judge)
    rounds = {"round_robin": 1, "reference": 1, "knockout": 3, "anchor": 4}[name]
    assert len(judge.batches) == rounds
    assert len(judge.batches[0]) >= 64


@pytest.mark.parametrize("name", NAMES)
def test_equal_texts_are_one_to_the_judge(name):
    # Candidates 0 and 2, and 1 and 3, have equal texts; each is its own team, so only the texts can save a judgement.
    judge = PerfectJudge([[True, False, True, False]])
    played = play([tournament(name, [0, 1, 2, 3], seed=3, same=[0, 1, 0, 1])], judge)[0]
    asked = [pairing for batch in judge.batches for pairing in batch]
    assert len(asked) == len({frozenset((a, b)) for _, a, b in asked}) == played.judgements
    assert all(a in (0, 1) and b in (0, 1) for _, a, b in asked)


def test_knockout_survivors_have_one_and_first_round_losers_zero():
    right = [i == 3 for i in range(8)]
    played = play([tournament("knockout", range(8))], PerfectJudge([right]))[0]
    assert played.result.winner == 3
    assert played.result.values[3] == 1.0
    assert 0.0 in played.result.values


def test_knockout_of_all_wrong_answers_rewards_nobody_but_still_chooses():
    played = play([tournament("knockout", range(4))], PerfectJudge([[False] * 4]))[0]
    assert played.result.values == [0.0] * 4
    assert played.result.winner in range(4)


def test_knockout_of_one_team_needs_no_judge():
    played = play([tournament("knockout", [7, 7, 7])], SilentJudge())[0]
    assert played.result.values == [1.0, 1.0, 1.0]
    assert played.judgements == 0


def test_knockout_meets_another_team_wherever_there_is_one():
    # Four against four: every first-round match is across teams, so four judgements end the tournament.
    teams = [0, 0, 0, 0, 1, 1, 1, 1]
    for seed in range(10):
        judge = PerfectJudge([[team == 1 for team in teams]])
        play([tournament("knockout", teams, seed)], judge)
        assert [len(batch) for batch in judge.batches] == [4]


def test_knockout_credit_own_tells_team_mates_apart():
    teams = [0, 0, 0, 1]
    rng = Random(0)
    field = Tournament(knockout(teams, rng, credit="own"), range(4), rng)
    values = play([field], PerfectJudge([[True, True, True, False]]))[0].result.values
    assert len(set(values[:3])) > 1


@pytest.mark.parametrize("name", NAMES)
def test_a_judge_which_never_gives_a_verdict_leaves_everybody_without_value(name):
    played = play([tournament(name, range(5))], SilentJudge())[0]
    assert played.result.values == [None] * 5
    assert set(played.unanswered) == {"silence"}


def test_a_missing_verdict_leaves_the_win_rate_instead_of_counting_as_a_loss():
    class Half(PerfectJudge):
        def __call__(self, pairings):
            verdicts = super().__call__(pairings)
            return [
                Verdict.none("no idea") if {p.a, p.b} == {0, 1} else v for p, v in zip(pairings, verdicts, strict=True)
            ]

    played = play([tournament("round_robin", range(3))], Half([[True, False, False]]))[0]
    assert played.result.values == [1.0, 0.5, pytest.approx(0.25)]


def test_both_orders_cancel_a_judge_that_always_prefers_the_first():
    class First:
        def __call__(self, pairings):
            return [Verdict(True, False) for _ in pairings]

    played = play([tournament("round_robin", range(4))], First(), both_orders=True)[0]
    assert played.result.values == [0.5] * 4
    assert played.judgements == bound("round_robin", 4, both_orders=True) == 12


def test_a_judge_that_returns_too_few_verdicts_is_an_error():
    with pytest.raises(ValueError, match="1 verdicts for 3 comparisons"):
        play([tournament("round_robin", range(3))], lambda pairings: [Verdict(True, True)])


def wins(unreadable, parse_rate=0.5, trials=400):
    """How often the one right response of 8 wins a knockout if a true verdict on a side is readable at this rate."""
    won = 0
    for seed in range(trials):
        chance = Random(seed)

        def judge(pairings, chance=chance):
            found = []
            for _, a, b in pairings:
                sides = [side == 0 if chance.random() < parse_rate else None for side in (a, b)]
                found.append(Verdict(*sides, "unreadable" if None in sides else None, text="..."))
            return found

        won += play([tournament("knockout", range(8), seed)], judge, unreadable=unreadable)[0].result.winner == 0
    return won / trials


def test_half_readable_verdicts_are_used_as_published_and_thrown_away_only_on_request():
    assert wins("incorrect", parse_rate=1.0) == wins("no_verdict", parse_rate=1.0) == 1.0

    def published(seed):
        """The published rule, written again: A if A is read as correct, else B if B is, else nobody."""
        rng = Random(seed)
        alive = list(range(8))
        while len(alive) > 1:
            rng.shuffle(alive)
            through = [alive.pop()] if len(alive) % 2 else []
            for a, b in zip(alive[::2], alive[1::2], strict=True):
                through += [side for side in (a, b) if side == 0 and rng.random() < 0.5][:1]
            if not through:
                return rng.choice(alive)
            alive = through
        return alive[0]

    expected = sum(published(seed) == 0 for seed in range(4000)) / 4000
    assert wins("incorrect", trials=1500) == pytest.approx(expected, abs=0.05)
    assert wins("incorrect") > wins("no_verdict") + 0.1


def verdict_of(a, b, text="..."):
    return Verdict(a, b, "unreadable" if None in (a, b) else None, text)


@pytest.mark.parametrize("exchanged", [False, True])
def test_the_readable_side_decides_a_match(exchanged):
    for right in (True, False):
        verdicts = [verdict_of(None, right) if exchanged else verdict_of(right, None)]
        played = play([tournament("knockout", range(2), 1)], lambda pairings, v=verdicts: v)[0]
        values = played.result.values
        assert played.unanswered == ("unreadable",), "it is counted all the same"
        assert sorted(values) == ([0, 1] if right else [0, 0])


def test_two_unreadable_sides_are_both_out_and_have_no_value_but_a_judge_that_did_not_answer_is_a_coin():
    two = [tournament("knockout", range(4), seed) for seed in range(5)]
    for played in play(two, lambda pairings: [verdict_of(None, None) for _ in pairings]):
        assert played.judgements == 2, "nobody goes on from the first round"
        assert played.result.values == [None] * 4 and not played.outcomes
    again = [tournament("knockout", range(4), seed) for seed in range(5)]
    for played in play(again, lambda pairings: [Verdict.none("the endpoint answered 500") for _ in pairings]):
        assert played.judgements == 3, "a coin decides"
