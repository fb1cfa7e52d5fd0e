from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from launch.output import quiet
from launch.plan import plan
from launch.terminal import (
    LiveDisplay,
    PlainDisplay,
    closing,
    duration,
    evaluation_line,
    make_display,
    sentence,
    shares,
)
from rl.progress import Evaluation, Silent, Summary

METRICS = {
    "reward/mean": 0.4321,
    "accuracy/rollout": 0.5,
    "learner/kl": 0.0123,
    "response/tokens": 41.2,
    "rate/tokens_per_second": 4321.0,
    "time/sample": 6.0,
    "time/learn": 3.0,
    "time/sync": 1.0,
    "reward/failed": 2.0,
}
BEFORE, AFTER = Evaluation(0, 0.38, 0.5, 40.0, 200), Evaluation(20, 0.71, 0.8, 38.0, 200)
SUMMARY = Summary(BEFORE, AFTER, 20, 190.0, {"sample": 60.0, "learn": 40.0}, Path("runs/x"), {"no step": 3})
FIGURES = ["0.432", "0.500", "0.0123", "41.2", "4,321"]


def screen(terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), width=110, force_terminal=terminal)


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def watch(display) -> None:
    display.stage("starting Ray")
    display.evaluation(BEFORE)
    display.update(1, METRICS)
    display.event("2 scores failed: no step")
    display.finish(SUMMARY)
    display.close()


def test_plain_output_has_all_figures_and_the_verdict():
    console = screen()
    watch(PlainDisplay("grpo prm", 20, console))
    text = shown(console)
    for part in (
        *FIGURES,
        "update 1/20",
        "sample 60%, learn 30%, sync 10%",
        "failed scores 2",
        "2 scores failed: no step",
    ):
        assert part in text
    assert "held-out accuracy 0.380, mean reward 0.500" in text
    assert "held-out accuracy 0.38 -> 0.71 in 20 updates, 3 min 10 s" in text
    assert "runs/x" in text and "3 x no step" in text


def test_the_live_panel_shows_the_same():
    console = screen(terminal=True)
    display = LiveDisplay("grpo prm", 20, console)
    display.evaluation(BEFORE)
    display.update(1, METRICS)
    display.stage("learn")
    panel = screen()
    panel.print(display._render())
    display.finish(SUMMARY)
    for part in (*FIGURES, "update 1/20", "learn", "sample 60%", "held-out accuracy 0.380"):
        assert part in shown(panel)
    assert "0.38 -> 0.71" in shown(console)


def test_the_terminal_is_restored_after_an_error():
    console = screen(terminal=True)
    display = LiveDisplay("grpo prm", 20, console)
    display.close()
    display.close()
    assert not display._live.is_started


@pytest.mark.parametrize(
    ("kind", "terminal", "expected"),
    [
        ("auto", True, LiveDisplay),
        ("auto", False, PlainDisplay),
        ("live", False, LiveDisplay),
        ("plain", True, PlainDisplay),
        ("none", True, Silent),
    ],
)
def test_the_display_fits_the_terminal(kind, terminal, expected):
    display = make_display(kind, "x", 3, screen(terminal))
    display.close()
    assert isinstance(display, expected)


def test_a_run_whose_scores_all_failed_still_gets_its_verdict():
    console = screen()
    nothing = Evaluation(0, 0.0, None, 0.0, 8)
    console.print(closing(Summary(nothing, nothing, 1, 5.0, {}, Path("runs/x"))))
    assert "accuracy" in shown(console) and "mean reward" not in shown(console)
    assert sentence(Summary(nothing, nothing, 1, 5.0, {}, Path("x"))).endswith("in 1 update, 5 s")


@pytest.mark.parametrize(
    ("reward", "failed", "words"),
    [
        (
            None,
            0,
            "mean reward n/a: this reward compares responses; evaluation draws one per problem",
        ),
        (None, 8, "mean reward none: every score failed"),
        (0.5, 3, "mean reward 0.500 (3 scores failed)"),
        (0.5, 0, "mean reward 0.500, 9.0 tokens"),
    ],
)
def test_an_evaluation_says_why_there_is_no_mean_reward(reward, failed, words):
    line = evaluation_line(Evaluation(0, 0.25, reward, 9.0, 8, failed))
    assert words in line and ("failed" in line) == (failed > 0)


def test_response_text_is_not_interpreted_as_markup():
    console = screen()
    display = PlainDisplay("[bold]x", 1, console)
    display.event("[red]no step[/nothing]")
    assert "[red]no step[/nothing]" in shown(console)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (190, "3 min 10 s"), (7500, "2 h 5 min")]
)
def test_durations_are_in_words(seconds, words):
    assert duration(seconds) == words


def test_no_shares_yet_are_reported_as_none_yet():
    assert shares({}) == "none yet"


def test_library_output_goes_to_the_log(tmp_path, capfd):
    with quiet(tmp_path / "log") as out:
        print("noise from python")
        os.write(2, b"noise from below\n")
        print("for the person", file=out)
    print("afterwards")
    log = (tmp_path / "log").read_text()
    assert "noise from python" in log and "noise from below" in log and "person" not in log
    assert capfd.readouterr().out == "for the person\nafterwards\n"


def test_a_library_that_kept_the_old_stream_can_still_write_at_exit(tmp_path):
    program = (
        "import atexit, sys\nfrom pathlib import Path\nfrom launch.output import quiet\n"
        f"with quiet(Path({str(tmp_path / 'log')!r})):\n"
        "    kept = sys.stdout\n    print('noise')\n"
        "atexit.register(lambda: kept.write('kept'))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "kept", "")
    assert (tmp_path / "log").read_text() == "noise\n"


def test_the_plan_counts_actors_and_responses(settings_of):
    console = screen()
    console.print(plan(settings_of("learner.ranks=2", "rollout.responses=8", "learner.minibatches=2"), "runs/x"))
    text = shown(console)
    for part in (
        "VerifierReward",
        "4 problems x 8 responses = 32 responses",
        "2 optimizer steps",
        "20 updates of GRPO",
    ):
        assert part in " ".join(text.split())


def test_a_run_without_answers_reports_its_reward_and_no_accuracy():
    before, after = Evaluation(0, None, 0.5, 40.0, 200), Evaluation(3, None, 0.8, 45.0, 200)
    summary = Summary(before, after, 3, 60.0, {}, Path("runs/x"))
    assert "accuracy" not in before.metrics()
    assert sentence(summary).startswith("held-out reward 0.500 -> 0.800 (no answers to grade against) in 3 updates")
    console = screen()
    watching = PlainDisplay("dpo armorm", 3, console)
    watching.evaluation(after)
    watching.finish(summary)
    assert "accuracy" not in shown(console) and "without answers" in shown(console)


def test_pass_at_k_and_intervals_are_shown_smallest_first():
    ends = {"accuracy/held_out_low": 0.3, "accuracy/held_out_high": 0.5}
    passes = {
        f"accuracy/held_out_pass_at_{k}{end}": value
        for k, low, value, high in ((16, 0.8, 0.9, 1.0), (2, 0.5, 0.6, 0.7))
        for end, value in (("_low", low), ("", value), ("_high", high))
    }
    before = Evaluation(0, 0.4, 0.5, 9.0, 8, responses=16, details=ends | passes)
    line = evaluation_line(before)
    assert "held-out accuracy 0.400 [0.300, 0.500], pass@2 0.600 [0.500, 0.700], pass@16 0.900 [0.800, 1.000]" in line
    assert "(8 problems x 16)" in line
    console = Console(file=io.StringIO(), width=100)
    console.print(closing(Summary(before, before, 1, 1.0, {}, Path("x"))))
    text = shown(console)
    assert "pass@2" in text and "pass@16" in text
