"""What becomes of scores that failed, and what is true of a response."""

from types import SimpleNamespace

import pytest

from rewards.types import Problem, Score
from rl.scoring import as_groups, truth, usable_scores
from rl.types import Rollout, Sample

GOOD, BAD = Score.of(1.0), Score.failed("too long")


def test_drop_sample_leaves_the_others_of_the_group() -> None:
    assert usable_scores([[GOOD, BAD]], "drop_sample") == [[GOOD, BAD]]


def test_drop_group_fails_the_whole_group() -> None:
    (first, second) = usable_scores([[GOOD, BAD], [GOOD, GOOD]], "drop_group")
    assert not any(score.ok for score in first) and all(score.ok for score in second)


def test_stop_says_why() -> None:
    with pytest.raises(RuntimeError, match=r"failed_scores=stop: 1 scores failed \(1 x too long\)"):
        usable_scores([[GOOD, BAD]], "stop")


@pytest.mark.parametrize("rule", ["drop_sample", "drop_group"])
def test_a_rollout_may_be_left_without_any_score(rule) -> None:
    assert not any(score.ok for score in usable_scores([[BAD, BAD]], rule)[0])


def test_groups_and_verdicts_follow_the_rollout() -> None:
    samples = [[Sample((1,), (2,), (0.0,), text, "stop", 0) for text in ("yes", "no")]]
    rollout = Rollout([Problem("p", "?", answer="yes")], samples)
    assert [response.text for response in as_groups(rollout)[0].responses] == ["yes", "no"]
    task = SimpleNamespace(grade=lambda problem, text: text == problem.answer)
    assert truth(task, rollout) == [[True, False]]
    assert truth(SimpleNamespace(graded=False), rollout) is None, "a task without answers knows no truth"
