from __future__ import annotations

import io

import pytest
from rich.console import Console

from launch.bench_rewards import Options, make_groups, make_model, measure, one_at_a_time, options_of, pass_per_prefix
from launch.nodes import ConfigurationError
from rewards.outcome import OutcomeReward
from rewards.process import ProcessReward


def test_what_is_compared_gives_the_same_scores(tmp_path):
    model, groups = make_model(tmp_path, Options()), make_groups(2)
    process, outcome = ProcessReward(model), OutcomeReward(model)
    for [score], values in zip(process.score(groups), pass_per_prefix(process, groups), strict=True):
        assert len(values) == 8
        assert score.steps == pytest.approx(values, abs=1e-5)
    singles = one_at_a_time(outcome, groups)
    assert [score.value for [score] in outcome.score(groups)] == pytest.approx(singles, abs=1e-5)


def test_the_table_shows_every_measurement(tmp_path):
    text = io.StringIO()
    measure(Options(solutions=2, repeat=1, vllm=False, peak_tflops=1.0), tmp_path, Console(file=text, width=200))
    for what in ("pass for each prefix", "one forward in batches", "ORM in batches", "share of 1 TFLOP/s", "memory"):
        assert what in text.getvalue()


def test_options_are_read_from_the_command_line():
    assert options_of(["size=m100", "vllm=false", "peak_tflops=9.5"]) == Options("m100", vllm=False, peak_tflops=9.5)


@pytest.mark.parametrize(
    ("word", "message"), [("sise=tiny", "did you mean size"), ("size=huge", "size must be"), ("repeat=x", "repeat")]
)
def test_a_word_that_is_no_option_is_refused(word, message):
    with pytest.raises(ConfigurationError, match=message):
        options_of([word])
