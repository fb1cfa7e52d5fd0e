"""Responses that say nothing: which rewards they fool, and how the report names them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from rewards.evaluation.attacks import ATTACKS, attacked_groups, attacked_pairs
from rewards.evaluation.best_of_n_report import Measured
from rewards.evaluation.measure import Bench, Subject
from rewards.evaluation.options import EvaluationOptions
from rewards.evaluation.report import Report
from rewards.evaluation.trust_tables import add_attacks
from rewards.pairjudge import PairJudgeReward
from rewards.types import Group, Problem, Response, Score
from rewards.verdicts import Verdict

GROUPS = [
    Group(Problem(str(n), f"{n}?", str(n)), (Response("no"), Response(f"It is {n}"), Response(f"Again {n}")))
    for n in range(12)
]
RIGHTS = [np.array([False, True, True])] * 10 + [np.array([False] * 3)] * 2


@dataclass
class Judge:
    """Finds real responses right, and in some problems a certain text too."""

    text: str = ":"
    problems: int = 0

    def right(self, question: str, text: str) -> bool:
        return text.startswith(("It is", "Again")) or (text == self.text and int(question[:-1]) < self.problems)

    def judge(self, comparisons):
        return [Verdict(self.right(one.question, one.a), self.right(one.question, one.b)) for one in comparisons]

    def score(self, groups, name):
        return [[Score.of(float(self.right(g.problem.text, r.text))) for r in g.responses] for g in groups]


def measured(subject: Subject) -> Measured:
    return Bench([subject], EvaluationOptions(attack_problems=8), []).solutions(GROUPS, RIGHTS, [3])


def reported(found: Measured) -> Report:
    report = Report("Best of N")
    add_attacks(found.attacks, report)
    return report


def test_the_papers_ten_texts_are_tried_and_each_text_is_new():
    assert {" ", ".", ",", ":", "Thought process:", "Let's solve this problem step by step.", "Solution"} < set(ATTACKS)
    assert len(set(ATTACKS)) == len(ATTACKS) == 20


def test_only_problems_with_a_right_response_are_tried_and_no_more_than_asked_for():
    assert [row for row, _ in attacked_groups(GROUPS, RIGHTS, 100)] == list(range(10))
    pairs = attacked_pairs(GROUPS, RIGHTS, 2)
    assert len(pairs) == 2 * len(ATTACKS)
    assert {pair.responses[0].text for pair in pairs} == {"It is 0", "It is 1"}


@pytest.mark.parametrize(("problems", "fools"), [(0, False), (1, True), (8, True)])
def test_a_reward_that_calls_a_symbol_right_is_named_with_the_symbol_and_its_score(problems, fools):
    found = measured(Subject("mine", Judge(":", problems).score))
    [colon] = [one for one in found.attacks["mine"] if one.text == ":"]
    assert (colon.tried, colon.failed, colon.correct) == (8, 0, 1.0)
    assert colon.score == colon.as_good == problems / 8
    assert [one.text for one in found.attacks["mine"] if one.fools] == ([":"] if fools else [])
    report = reported(found)
    assert len(report.figures["attacks"]["mine"]) == len(ATTACKS)
    warnings = [note for note in report.notes if note.startswith("WARNING, mine: fooled")]
    assert len(warnings) == fools
    if fools:
        assert f"':' (score {problems / 8:.3f}" in warnings[0] and "correct responses score 1.000" in warnings[0]


@pytest.mark.parametrize("format", ["round_robin", "knockout", "anchor", "reference"])
def test_a_pairwise_judge_that_does_not_prefer_the_right_response_is_named(format):
    def score(judge):
        reward = PairJudgeReward(judge, format=format)  # type: ignore[arg-type]
        return lambda groups, name: reward.score(groups)

    fooled = measured(Subject("judge", score(Judge("Solution", 8)), tournament=True, compares=True))
    assert [one.text for one in fooled.attacks["judge"] if one.fools] == ["Solution"]
    [solution] = [one for one in fooled.attacks["judge"] if one.text == "Solution"]
    assert (solution.score, solution.correct, solution.as_good) == (0.5, 0.5, 1.0)
    firm = measured(Subject("judge", score(Judge()), tournament=True, compares=True))
    assert not any(one.fools for one in firm.attacks["judge"])
    assert not [note for note in reported(firm).notes if "fooled" in note]


def test_a_text_without_a_score_fools_nobody_and_is_counted():
    def score(groups, name):
        return [[Score.failed("empty") if not r.text.strip() else Score.of(1.0) for r in g.responses] for g in groups]

    found = measured(Subject("flat", score))
    [space] = [one for one in found.attacks["flat"] if one.text == " "]
    assert (space.failed, space.score, space.as_good, space.fools) == (8, None, 0.0, False)
    assert sum(one.fools for one in found.attacks["flat"]) == len(ATTACKS) - 1
    assert "and 14 more" in " ".join(reported(found).notes)


def test_a_reward_that_scores_no_right_response_has_no_verdict_on_attacks():
    def score(groups, name):
        fails = name == "mute"
        return [[Score.failed("mute") if fails else Score.of(1.0) for _ in g.responses] for g in groups]

    assert not any(one.fools or one.correct is not None for one in measured(Subject("mute", score)).attacks["mute"])


def test_without_right_responses_nothing_is_tried_and_nothing_reported():
    subject = Subject("mine", Judge().score)
    found = Bench([subject], EvaluationOptions(), []).solutions(GROUPS[10:], RIGHTS[10:], [3])
    assert found.attacks == {} and reported(found).tables == []
