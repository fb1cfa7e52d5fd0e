from __future__ import annotations

from types import SimpleNamespace

import pytest

from rewards.types import Problem, Score
from rl.metrics import (
    Stopwatch,
    correctness_metrics,
    response_metrics,
    reward_metrics,
    rollout_metrics,
    throughput,
)
from rl.types import Answer, AnswerGroup, Sample


def sample(tokens: int, text: str = "x", reason: str = "stop") -> Sample:
    return Sample((1, 2), (5,) * tokens, (-0.1,) * tokens, text, reason, 0)  # type: ignore[arg-type]


def group(*answers: tuple[Score, bool | None]) -> AnswerGroup:
    drawn = [sample(4), sample(2, "", "length")]
    return AnswerGroup(
        Problem("a", "1+1?", "2"),
        tuple(Answer(one, score, correct) for one, (score, correct) in zip(drawn, answers, strict=False)),
    )


def scored(*scores: Score) -> AnswerGroup:
    return group(*((score, None) for score in scores))


GOOD, BAD = Score.of(1.0), Score.of(0.0)
ROLLOUT = [group((GOOD, True), (BAD, False))]


def test_a_failed_score_is_counted_but_not_averaged():
    metrics = reward_metrics([scored(GOOD, Score.failed("no steps")), scored(Score.of(0.5), Score.of(0.5))])
    assert metrics["reward/mean"] == pytest.approx(2 / 3)
    assert metrics["reward/failed"] == 1
    assert metrics["reward/flat_groups"] == 1.0


def test_without_a_single_score_there_is_no_mean():
    metrics = reward_metrics([scored(Score.failed("broken"))])
    assert metrics == {"reward/failed": 1.0}


def test_parts_are_averaged_by_name():
    scores = [scored(Score.of(1.0, parts={"verbosity": 0.2}), Score.of(2.0, parts={"verbosity": 0.4, "safety": 1.0}))]
    metrics = reward_metrics(scores)
    assert metrics["reward/part/verbosity"] == pytest.approx(0.3)
    assert metrics["reward/part/safety"] == 1.0


def test_the_reward_is_compared_with_the_grades():
    first = group((Score.of(0.9), True), (Score.of(0.4), False))
    metrics = correctness_metrics([first, group((Score.of(0.6), False), (Score.failed("x"), True))])
    assert metrics["accuracy/rollout"] == 0.5
    assert metrics["reward/right"] == pytest.approx(0.9)
    assert metrics["reward/wrong"] == pytest.approx(0.5)
    assert metrics["reward/auc"] == 1.0


def test_response_lengths_and_reasons_to_end():
    metrics = response_metrics(ROLLOUT)
    assert metrics["response/tokens"] == 3
    assert metrics["response/stop"] == metrics["response/length"] == metrics["response/empty"] == 0.5
    assert metrics["response/abort"] == 0


def test_rollout_metrics_hold_reward_accuracy_and_responses():
    metrics = rollout_metrics(ROLLOUT)
    assert {"reward/mean", "accuracy/rollout", "response/tokens"} <= metrics.keys()


def test_without_grades_only_the_reward_is_reported():
    metrics = rollout_metrics([scored(Score.of(0.5))])
    assert metrics["reward/mean"] == 0.5 and "accuracy/rollout" not in metrics


def test_throughput_counts_response_tokens():
    assert throughput(ROLLOUT, 2.0) == {"rate/tokens_per_second": 3.0}
    assert throughput(ROLLOUT, 0.0) == {}


def test_the_stopwatch_adds_up_laps_and_restarts():
    watch = Stopwatch()
    for _ in range(2):
        with watch.stage("sample"):
            pass
    lap = watch.lap()
    assert list(lap) == ["time/sample"] and lap["time/sample"] >= 0
    assert watch.lap() == {}
    assert watch.totals["sample"] == pytest.approx(lap["time/sample"])
    assert watch.seconds >= watch.totals["sample"]


def test_the_display_is_notified_when_a_stage_starts():
    told: list[str] = []
    watch = Stopwatch(SimpleNamespace(stage=told.append))  # type: ignore[arg-type]
    with watch.stage("sample"):
        assert told == ["sample"]
    with watch.stage("score"):
        pass
    assert told == ["sample", "score"]


def test_a_failed_stage_is_still_counted():
    watch = Stopwatch()
    with pytest.raises(KeyError), watch.stage("learn"):
        raise KeyError
    assert "learn" in watch.totals


def test_a_stage_inside_a_stage_is_refused():
    watch = Stopwatch()
    with pytest.raises(RuntimeError, match="score"), watch.stage("sample"), watch.stage("score"):
        pass
