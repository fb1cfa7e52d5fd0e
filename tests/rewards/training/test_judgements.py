from __future__ import annotations

import json

import pytest

from rewards.pairjudge import PairJudgeReward
from rewards.training.judgements import correct_solutions, judge_rows, verified_text
from rewards.training.row_formats import parse_judgement
from rewards.verdicts import Comparison, Verdict, parse


def record(number: int, *answers: int) -> dict:
    texts = [f"so\nA: {answer}" for answer in answers]
    return {
        "id": f"p{number}",
        "prompt": f"{number} + 1?",
        "answers": texts,
        "label": [int(answer == number + 1) for answer in answers],
        "answer": str(number + 1),
    }


class TalkingJudge:
    """Finds every response correct, says so, and stops in the call whose number is `fails`."""

    prompt = "{question} {response_a} {response_b}"
    system = None

    def __init__(self, fails: int | None = None) -> None:
        self.calls, self.fails = 0, fails

    def judge(self, comparisons):
        self.calls += 1
        if self.calls == self.fails:
            raise KeyboardInterrupt
        return [Verdict(True, True, text="both") for _ in comparisons]


def rows(tmp_path, records, reward=None, batch=2):
    return list(judge_rows(reward, records, batch, tmp_path / "judgements.jsonl", lambda _: None))


def test_a_verified_judgement_ends_with_verdicts_that_parse_to_the_truth():
    one = Comparison("?", "A: 3", "no idea")
    for a in (True, False):
        for b in (True, False):
            assert parse(verified_text(one, a, b)) == Verdict(a, b)
    assert verified_text(one, True, False).startswith("Response A answers 3.\nResponse B gives no final answer.\n")


def test_verified_judgements_compare_distinct_answers_of_one_problem(tmp_path):
    records = [record(1, 2, 3, 4), record(2, 3, 3), record(3, 7)]
    found = rows(tmp_path, records)
    assert 1 <= len(found) <= 2  # a knockout of 3; the others have one team, or one solution
    correct = correct_solutions(records)
    for row in found:
        system, user, assistant = row["conversations"]
        assert [system["role"], user["role"], assistant["role"]] == ["system", "user", "assistant"]
        shown = [text for (question, text) in correct if question == "1 + 1?" and text in user["content"]]
        assert len(shown) == 2
        verdict = parse(assistant["content"])
        assert sorted([verdict.a, verdict.b]) == sorted(correct["1 + 1?", text] for text in shown)


def test_two_problems_with_one_question_and_different_answers_are_judged_each_by_its_own(tmp_path):
    other = {**record(1, 2, 3), "id": "other", "answer": "3", "label": [0, 1]}
    found = rows(tmp_path, [record(1, 2, 3), other, record(2, 3, 4)], batch=3)
    assert len(found) == 3
    for row, right in zip(found, ("2", "3", "3"), strict=True):
        verdict = parse(row["judgement"])
        assert verdict.a == row["response_a"].endswith(right) and verdict.b == row["response_b"].endswith(right)


def test_a_judgement_brings_its_parts_for_a_recipe_with_a_prompt_of_its_own(tmp_path):
    [row] = rows(tmp_path, [record(1, 2, 3)])
    assert row["conversations"][-1]["content"] == row["judgement"]
    assert parse_judgement(row).asked == Comparison(row["question"], row["response_a"], row["response_b"])


def test_a_judgement_that_the_reference_answer_contradicts_is_left_out_with_its_reason(tmp_path):
    found = rows(tmp_path, [record(1, 2, 3)], PairJudgeReward(TalkingJudge()))
    assert found == [{"left_out": "the reference answer contradicts the verdicts"}]


def test_the_judges_own_words_and_prompt_are_what_is_learned(tmp_path):
    both_right = {**record(1, 2, 3), "label": [1, 1]}
    [row] = rows(tmp_path, [both_right], PairJudgeReward(TalkingJudge()))
    user, assistant = row["conversations"]
    assert user["content"].startswith("1 + 1? so\nA: ")
    assert assistant["content"] == "both"


def test_an_interruption_loses_at_most_one_batch_of_judgements_and_changes_nothing(tmp_path):
    records = [record(number, number, number + 1) for number in range(7)]
    (tmp_path / "a").mkdir()
    whole = rows(tmp_path / "a", records, PairJudgeReward(TalkingJudge()))
    stopped = tmp_path / "b"
    stopped.mkdir()
    with pytest.raises(KeyboardInterrupt):
        rows(stopped, records, PairJudgeReward(TalkingJudge(fails=3)))
    judge = TalkingJudge()
    assert rows(stopped, records, PairJudgeReward(judge)) == whole
    assert judge.calls == 2  # of 4 batches
    assert (stopped / "judgements.jsonl").read_text() == (tmp_path / "a/judgements.jsonl").read_text()
    assert len([json.loads(line) for line in (stopped / "judgements.jsonl").open()]) == 4
