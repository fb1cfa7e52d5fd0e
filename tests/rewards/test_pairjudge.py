"""The pairwise reward: teams by answer, batches over groups, judges that fail; with judges that need no model."""

from __future__ import annotations

import math

import pytest

from rewards.pairjudge import PairJudgeReward, teams_by_answer
from rewards.tournament_formats import FORMATS, bound
from rewards.types import Group, Problem, Response, Reward
from rewards.verdicts import Verdict

NAMES = sorted(FORMATS)


class PerfectJudge:
    """Knows the right answer: a response is correct when it ends with it."""

    def __init__(self, right="17"):
        self.right = right
        self.batches = []

    def judge(self, comparisons):
        self.batches.append(list(comparisons))
        return [Verdict(c.a.endswith(self.right), c.b.endswith(self.right)) for c in comparisons]


class SilentJudge:
    def judge(self, comparisons):
        return [Verdict.none("the endpoint answered 500 (5 tries)") for _ in comparisons]


def solution(answer, words=""):
    return f"{words}12 + 5 = {answer}\nThe answer is: {answer}"


def group(*texts, name="p"):
    return Group(Problem(name, "What is 12 + 5?", "17"), tuple(Response(text) for text in texts))


ANSWERS = [solution(n) for n in (16, 17, 18, 19, 20, 21, 22)] + [solution(17, "Clearly, ")]


@pytest.mark.parametrize("name", NAMES)
def test_right_answers_come_first_in_every_format_within_the_bound(name):
    judge = PerfectJudge()
    reward = PairJudgeReward(judge, format=name)
    assert isinstance(reward, Reward)
    [scores] = reward.score([group(*ANSWERS)])
    right, wrong = [scores[1].value, scores[7].value], [scores[n].value for n in (0, 2, 3, 4, 5, 6)]
    assert right[0] == right[1] >= max(wrong)
    assert sum(right) / 2 > sum(wrong) / 6
    winners = [n for n, score in enumerate(scores) if score.parts["winner"]]
    assert len(winners) == 1 and winners[0] in (1, 7)
    judgements = sum(len(batch) for batch in judge.batches)
    assert scores[0].parts["judgements"] == judgements <= bound(name, 8)


def test_the_judgements_of_many_groups_run_in_one_batch_a_round():
    judge = PerfectJudge()
    groups = [group(*ANSWERS, name=f"p{n}") for n in range(64)]
    PairJudgeReward(judge).score(groups)
    assert len(judge.batches) <= math.ceil(math.log2(8))
    assert len(judge.batches[0]) >= 64 * 3


@pytest.mark.parametrize("name", NAMES)
def test_a_group_scored_again_gets_the_same_scores_whatever_its_batch(name):
    reward = PairJudgeReward(PerfectJudge(), format=name)
    [alone] = reward.score([group(*ANSWERS)])
    _, among = reward.score([group(*ANSWERS[:5], name="other"), group(*ANSWERS)])
    assert alone == among


def test_another_seed_draws_another_bracket():
    asked = set()
    for seed in range(5):
        judge = PerfectJudge()
        PairJudgeReward(judge, seed=seed).score([group(*ANSWERS)])
        asked.add(tuple(judge.batches[0]))
    assert len(asked) > 1


@pytest.mark.parametrize("name", NAMES)
def test_one_answer_in_many_words_needs_no_judge(name):
    judge = PerfectJudge()
    [scores] = PairJudgeReward(judge, format=name).score([group(*(solution(17, f"{n}: ") for n in range(4)))])
    assert not any(judge.batches)
    assert len({score.value for score in scores}) == 1


def test_teams_are_by_final_answer_however_it_is_written():
    texts = [solution("1,000"), solution("1000", "So "), "no idea", "The answer is: 7", "no idea", "none either"]
    teams = teams_by_answer(texts)
    assert teams[0] == teams[1]
    assert teams[2] == teams[4]
    assert len(set(teams)) == 4


def test_teams_by_text_judge_equal_answers_against_each_other():
    judge = PerfectJudge()
    texts = [solution(17, "a "), solution(17, "b "), solution(17, "a ")]
    [scores] = PairJudgeReward(judge, format="round_robin", teams="text").score([group(*texts)])
    assert scores[0].parts["judgements"] == 1
    assert scores[0].value == scores[2].value


def test_both_orders_double_the_judgements_and_show_each_side_first():
    judge = PerfectJudge()
    [scores] = PairJudgeReward(judge, format="round_robin", both_orders=True).score([group(*ANSWERS[:3])])
    assert scores[0].parts["judgements"] == 6
    shown = {(c.a, c.b) for batch in judge.batches for c in batch}
    assert {(b, a) for a, b in shown} == shown


@pytest.mark.parametrize("name", NAMES)
def test_a_judge_without_verdicts_fails_the_scores_with_its_reason_never_zero(name):
    [scores] = PairJudgeReward(SilentJudge(), format=name).score([group(*ANSWERS[:4])])
    assert {score.failure for score in scores} == {
        "none of its matches got a verdict: the endpoint answered 500 (5 tries)"
    }


def test_empty_responses_fail_and_the_others_play_without_them():
    [scores] = PairJudgeReward(PerfectJudge()).score([group(solution(16), "", solution(17), " \n")])
    assert [score.ok for score in scores] == [True, False, True, False]
    assert scores[1].failure == "the response is empty"
    assert scores[2].value == 1.0


def test_a_response_with_nobody_to_play_against_fails_with_the_key_to_change():
    first, second = PairJudgeReward(PerfectJudge()).score([group(solution(17)), group("", solution(17))])
    assert "rollout.responses" in first[0].failure
    assert second[0].failure == "the response is empty" and "rollout.responses" in second[1].failure


def test_no_groups_and_an_empty_group_are_no_error():
    reward = PairJudgeReward(PerfectJudge())
    assert reward.score([]) == []
    assert reward.score([Group(Problem("p", "x"), ())]) == [[]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "swiss"}, "format must be one of round_robin, knockout"),
        ({"teams": "colour"}, "teams"),
        ({"credit": "all"}, "credit"),
        ({"judge": "gpt"}, "judge must be a judge"),
    ],
)
def test_options_that_cannot_work_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        PairJudgeReward(**{"judge": PerfectJudge()} | options)


class PartialJudge:
    """Finds whatever it is shown first correct, and the right answer too."""

    def judge(self, comparisons):
        return [Verdict(True, c.b.endswith("17")) for c in comparisons]


def test_a_score_keeps_the_results_of_its_matches_over_both_orders():
    reward = PairJudgeReward(PartialJudge(), format="round_robin", both_orders=True)
    [scores] = reward.score([group("", solution(16), solution(17), solution(18))])
    assert not scores[0].ok and scores[0].matches is None
    assert [score.matches for score in scores[1:]] == [{2: 0.0, 3: 0.5}, {1: 1.0, 3: 1.0}, {1: 0.5, 2: 0.0}]
