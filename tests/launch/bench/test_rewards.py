from __future__ import annotations

import io

import pytest
from rich.console import Console

from launch.bench import memory
from launch.bench.judge import judgements, match_by_match
from launch.bench.published import armorm_one_at_a_time, one_at_a_time, pass_per_prefix
from launch.bench.rewards import measure
from launch.bench.subjects import Options, make_armorm, make_groups, make_model, make_rollout, options_of
from rewards.armorm import ArmoRMReward
from rewards.builder import ConfigurationError
from rewards.outcome import OutcomeReward
from rewards.pairjudge import PairJudgeReward
from rewards.process import ProcessReward
from rewards.verdicts import Comparison, Verdict


def test_the_compared_methods_give_the_same_scores(tmp_path):
    model, groups = make_model(tmp_path, Options(size="shipped")), make_groups(2)
    process, outcome = ProcessReward(model), OutcomeReward(model)
    for [score], values in zip(process.score(groups), pass_per_prefix(process, groups), strict=True):
        assert len(values) == 8
        assert score.steps == pytest.approx(values, abs=1e-5)
    singles = one_at_a_time(outcome, groups)
    assert [score.value for [score] in outcome.score(groups)] == pytest.approx(singles, abs=1e-5)


@pytest.mark.parametrize("same_kernels", [False, True])
def test_armorm_in_batches_and_one_at_a_time_give_the_same_scores(tmp_path, same_kernels):
    reward, groups = ArmoRMReward(make_armorm(tmp_path, Options(size="shipped"))), make_groups(3)
    singles = armorm_one_at_a_time(reward, groups, same_kernels)
    assert [score.value for [score] in reward.score(groups)] == pytest.approx(singles, abs=1e-5)


class CountingJudge:
    """Finds the longer response right, and remembers how many comparisons it was asked at a time."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def judge(self, comparisons: list[Comparison]) -> list[Verdict]:
        self.asked.append(len(comparisons))
        return [Verdict(len(one.a) >= len(one.b), len(one.b) > len(one.a)) for one in comparisons]


def test_one_match_at_a_time_makes_the_same_judgements():
    slow, fast, groups = CountingJudge(), CountingJudge(), make_rollout(8)
    match_by_match(slow, groups)
    counts = judgements(PairJudgeReward(fast), groups)
    assert set(slow.asked) == {1}
    assert sum(slow.asked) == sum(fast.asked) == sum(counts)
    assert len(fast.asked) <= 3
    assert max(counts) <= 7


def test_the_table_shows_every_measurement(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "LARGE_VOCABULARY", 4096)
    options = Options(size="shipped", solutions=2, groups=2, repeat=1, vllm=False, peak_tflops=1.0)
    text = io.StringIO()
    measure(options, tmp_path, Console(file=text, width=200))
    for what in (
        "one pass per prefix",
        "one forward pass, in batches",
        "ORM in batches",
        "ArmoRM in batches",
        "same kernels",
        "once per group",
        "share of 1 TFLOP/s",
        "memory",
    ):
        assert what in text.getvalue()


def test_solutions_have_one_step_per_day_and_one_for_the_answer_or_are_the_worlds_own():
    assert {len(group.responses[0].text.split("\n")) for group in make_groups(5)} == {8}
    assert {len(group.responses[0].text.split("\n")) for group in make_groups(40, days=0)} == {3, 4, 5}


def test_options_are_read_from_the_command_line():
    assert options_of(["size=m100", "vllm=false", "peak_tflops=9.5"]) == Options("m100", vllm=False, peak_tflops=9.5)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("sise=tiny", "did you mean size"),
        ("size=huge", "size must be"),
        ("repeat=x", "repeat"),
        ("memory=flase", "not a value of memory"),
        ("what=prm", "what must name only labels, armorm, groups, judge, not 'prm'"),
        ("what=judge", "needs judge=FOLDER"),
    ],
)
def test_unknown_options_and_bad_values_are_refused(word, message):
    with pytest.raises(ConfigurationError, match=message):
        options_of([word])
