"""Mixtures: what is summed, what is normalised, what a closed gate hides, and whose failure fails the score."""

from __future__ import annotations

import statistics

import pytest

from rewards.builder import build_reward
from rewards.mixture import MixtureReward, Term, normalised
from rewards.shaping import ShapedReward
from rewards.types import Group, Problem, Response, Reward, Score
from rewards.verifier import VerifierReward


class Fixed(Reward):
    """A reward that returns the scores it was given, for every group."""

    def __init__(self, scores):
        self.scores = [score if isinstance(score, Score) else Score.of(float(score)) for score in scores]

    def score(self, groups):
        return [list(self.scores) for _ in groups]


def group(size):
    return Group(Problem("p", "1 + 1?"), tuple(Response(str(n)) for n in range(size)))


def mixed(terms, size, **options):
    return MixtureReward(terms, **options).score([group(size)])[0]


def test_the_weighted_sum_and_the_parts_by_name():
    scores = mixed({"a": Term(Fixed([1, 0])), "b": Term(Fixed([2, 4]), weight=0.5)}, 2)
    assert [score.value for score in scores] == [2.0, 2.0]
    assert scores[1].parts == {"a": 0.0, "b": 4.0}


def test_parts_of_a_term_keep_their_names_under_it():
    scores = mixed({"armorm": Term(Fixed([Score.of(1.0, parts={"code-style": 0.3})]))}, 1)
    assert scores[0].parts == {"armorm": 1.0, "armorm/code-style": 0.3}


def test_a_weight_of_zero_shows_a_reward_without_paying_it():
    scores = mixed({"a": Term(Fixed([1, 1])), "watched": Term(Fixed([5, 7]), weight=0.0)}, 2)
    assert [score.value for score in scores] == [1.0, 1.0]
    assert scores[1].parts["watched"] == 7.0


def test_normalising_each_term_keeps_apart_what_a_sum_collapses():
    # (0, 2) and (1, 1) have one sum; normalised each in its group they differ.
    terms = {"rare": Term(Fixed([0, 1, 0, 0])), "common": Term(Fixed([2, 1, 0, 1]))}
    summed = [score.value for score in mixed(terms, 4)]
    separate = [score.value for score in mixed(terms, 4, combine="normalised")]
    assert summed[0] == summed[1]
    assert separate[0] != pytest.approx(separate[1], abs=0.1)


def test_a_normalised_term_weighs_the_same_whatever_its_scale():
    one = mixed({"a": Term(Fixed([0, 1, 2])), "b": Term(Fixed([3, 1, 2]))}, 3, combine="normalised")
    two = mixed({"a": Term(Fixed([0, 1, 2])), "b": Term(Fixed([300, 100, 200]))}, 3, combine="normalised")
    assert [a.value for a in one] == pytest.approx([b.value for b in two], abs=1e-4)


def test_normalised_has_mean_zero_and_deviation_one_and_ignores_the_missing():
    values = normalised([1.0, None, 2.0, 6.0])
    known = [value for value in values if value is not None]
    assert values[1] is None
    assert statistics.fmean(known) == pytest.approx(0.0, abs=1e-9)
    assert statistics.stdev(known) == pytest.approx(1.0)


def test_a_term_equal_for_the_whole_group_counts_zero():
    assert normalised([3.0, 3.0, 3.0]) == [0.0, 0.0, 0.0]
    assert normalised([30.0, 30.000002, 30.0]) == [0.0, 0.0, 0.0]  # float32's rounding is not a difference
    assert normalised([3.0, None]) == [0.0, None]
    assert normalised([None, None]) == [None, None]


def test_a_gated_term_counts_only_where_its_gate_is_open():
    terms = {"verifier": Term(Fixed([1, 0])), "prm": Term(Fixed([0.9, 0.8]), only_where="verifier")}
    assert [score.value for score in mixed(terms, 2)] == [pytest.approx(1.9), 0.0]


def test_a_failed_term_fails_the_score_with_its_name_and_reason():
    scores = mixed({"a": Term(Fixed([1, 1])), "b": Term(Fixed([Score.failed("no steps"), 1]))}, 2)
    assert scores[0].failure == "b: no steps"
    assert scores[1].value == 2.0


def test_a_failure_behind_a_closed_gate_does_no_harm():
    failed = Score.failed("no steps")
    terms = {"verifier": Term(Fixed([1, 0])), "prm": Term(Fixed([failed, failed]), only_where="verifier")}
    scores = mixed(terms, 2)
    assert scores[0].failure == "prm: no steps"
    assert scores[1].value == 0.0
    assert scores[1].parts == {"verifier": 0.0, "prm": 0.0}  # algorithm.objectives may ask for either


def test_a_mixture_says_beforehand_which_parts_its_scores_have():
    right = Term(VerifierReward())
    mixture = MixtureReward({"verifier": right, "again": Term(ShapedReward(VerifierReward()))})
    problem = Problem("p", "1 + 1?", answer="2")
    [[score]] = mixture.score([Group(problem, (Response("The answer is: 2"),))])
    assert mixture.part_names == set(score.parts)
    assert MixtureReward({"verifier": right, "unknown": Term(Fixed([1]))}).part_names is None


def test_a_failed_gate_fails_what_stands_behind_it():
    terms = {
        "shown": Term(Fixed([1])),
        "prm": Term(Fixed([1]), only_where="gate"),
        "gate": Term(Fixed([Score.failed("x")])),
    }
    assert mixed(terms, 1)[0].failure == "gate: x"


def test_a_failed_score_does_not_move_the_normalisation_of_the_others():
    terms = {"a": Term(Fixed([Score.failed("x"), 0, 2]))}
    scores = mixed(terms, 3, combine="normalised")
    assert not scores[0].ok
    assert [score.value for score in scores[1:]] == pytest.approx([-(0.5**0.5), 0.5**0.5])


def test_steps_are_weighted_and_the_other_terms_stand_on_the_last():
    prm = Score.of(0.25, steps=[0.5, 0.25], spans=[(0, 1), (1, 2)])
    terms = {"prm": Term(Fixed([prm]), weight=2.0), "verifier": Term(Fixed([1]))}
    [score] = mixed(terms, 1, steps_from="prm")
    assert score.steps == (1.0, 1.5)
    assert score.spans == ((0, 1), (1, 2))
    assert score.value == 1.5


def test_steps_behind_a_closed_gate_are_zero():
    prm = Score.of(0.25, steps=[0.5, 0.25], spans=[(0, 1), (1, 2)])
    terms = {"prm": Term(Fixed([prm]), only_where="verifier", otherwise=-1.0), "verifier": Term(Fixed([0]))}
    [score] = mixed(terms, 1, steps_from="prm")
    assert score.steps == (0.0, -1.0)


@pytest.mark.parametrize(
    ("terms", "options", "message"),
    [
        ({}, {}, "terms is empty"),
        ({"a": Fixed([1])}, {}, "terms.a must be a rewards.mixture.Term"),
        ({"a": Term(Fixed([1]), only_where="b")}, {}, "terms.a.only_where=b is not another term"),
        ({"a": Term(Fixed([1]))}, {"combine": "max"}, "combine"),
        ({"a": Term(Fixed([1]))}, {"steps_from": "b"}, "steps_from=b is not a term"),
        ({"a": Term(Fixed([1]))}, {"steps_from": "a", "combine": "normalised"}, "needs combine=sum"),
    ],
)
def test_options_that_cannot_work_are_refused_by_name(terms, options, message):
    with pytest.raises(ValueError, match=message):
        MixtureReward(terms, **options)


def test_a_mixture_is_built_from_nested_targets():
    target = "tests.rewards.test_mixture.Fixed"
    reward = build_reward(
        {
            "_target_": "rewards.mixture.MixtureReward",
            "terms": {
                "a": {"_target_": "rewards.mixture.Term", "reward": {"_target_": target, "scores": [1, 2]}},
                "b": {
                    "_target_": "rewards.mixture.Term",
                    "weight": 3,
                    "reward": {"_target_": target, "scores": [1, 0]},
                },
            },
        }
    )
    assert isinstance(reward, Reward)
    assert [score.value for score in reward.score([group(2)])[0]] == [4.0, 2.0]
