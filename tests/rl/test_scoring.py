"""What becomes of scores that failed, and whether a response is correct."""

from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from rewards.types import Group, Problem, Score
from rl.scoring import failed_scores, graded, scored, usable
from rl.types import AnswerGroup, Sample

GOOD, BAD = Score.of(1.0), Score.failed("too long")


def group(*scores: Score) -> AnswerGroup:
    return drawn(*map(str, range(len(scores)))).with_scores(scores)


def drawn(*texts: str) -> AnswerGroup:
    return AnswerGroup.drawn(
        Problem("p", "?", answer="yes"), [Sample((1,), (2,), (0.0,), text, "length", 0) for text in texts]
    )


def test_drop_sample_leaves_the_others_of_the_group() -> None:
    assert usable([group(GOOD, BAD)], "drop_sample") == [group(GOOD, BAD)]


def test_drop_group_fails_the_whole_group() -> None:
    (first, second) = usable([group(GOOD, BAD), group(GOOD, GOOD)], "drop_group")
    assert not any(score.ok for score in first.scores) and second == group(GOOD, GOOD)


def test_stop_says_why() -> None:
    with pytest.raises(RuntimeError, match=r"failed_scores=stop: 1 scores failed \(1 x too long\)"):
        usable([group(GOOD, BAD)], "stop")


@pytest.mark.parametrize("rule", ["drop_sample", "drop_group"])
def test_a_rollout_may_have_no_usable_score(rule) -> None:
    assert not any(score.ok for score in usable([group(BAD, BAD)], rule)[0].scores)


def test_scores_match_their_responses_and_the_reward_sees_text_and_finish_reason() -> None:
    class Length:
        def score(self, groups: Sequence[Group]) -> list[list[Score]]:
            assert all(response.finish_reason == "length" for one in groups for response in one.responses)
            return [[Score.of(len(response.text)) for response in one.responses] for one in groups]

    found = scored([drawn("a", "bb"), drawn("ccc", "")], Length())
    assert [(answer.sample.text, answer.score.value) for one in found for answer in one.answers] == [
        ("a", 1),
        ("bb", 2),
        ("ccc", 3),
        ("", 0),
    ]


def test_a_reward_that_returns_too_few_scores_is_refused() -> None:
    with pytest.raises(ValueError):
        scored([drawn("a", "b")], SimpleNamespace(score=lambda groups: [[GOOD]]))
    with pytest.raises(ValueError):
        scored([drawn("a"), drawn("b")], SimpleNamespace(score=lambda groups: [[GOOD]]))


def test_an_answer_without_a_score_does_not_count_as_failed() -> None:
    assert failed_scores([drawn("a"), group(GOOD, BAD)]) == {"too long": 1}
    with pytest.raises(ValueError, match="problem p: an answer was not scored"):
        _ = drawn("a").scores


def test_grades_come_from_the_task_and_are_unknown_without_them() -> None:
    task = SimpleNamespace(graded=True, grade=lambda problem, text: text == problem.answer)
    (found,) = graded([drawn("yes", "no")], task)
    assert [answer.correct for answer in found.answers] == [True, False]
    assert graded([drawn("yes")], SimpleNamespace(graded=False)) == [drawn("yes")]
