"""Samples worth a look: which are chosen, from which updates, and what a damaged file costs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rewards.types import Score
from rl.run.past_runs import read
from rl.study.browser import collect
from rl.study.disputes import disputes
from rl.study.samples import Drawn, choose, read_updates, spread
from rl.study.settings import arrange
from tests.rl.study.made_runs import made_run


def drawn(value: float | None, correct: bool | None = None, text: str = "", **score: Any) -> Drawn:
    content = Score.failed("too long") if value is None else Score.of(value, **score)
    return Drawn(1, "train", "p", "1 + 1?", "2", text or f"answer {value}", 3, "stop", correct, content, 0)


def kinds(samples: list[Drawn], each: int = 1) -> dict[str, list[float | None]]:
    found: dict[str, list[float | None]] = {}
    for one in choose(samples, each):
        found.setdefault(one.kind, []).append(one.sample.value)
    return found


def test_best_worst_median_and_disputed_samples_are_found() -> None:
    samples = [drawn(value / 10, correct=value not in (8, 1)) for value in range(11)] + [drawn(None)]
    assert kinds(samples) == {
        "best": [1.0],
        "worst": [0.1],
        "paid though wrong": [0.8],
        "right but unpaid": [0.0],
        "median": [0.5],
        "failed": [None],
    }


def test_no_sample_is_shown_twice_and_equal_texts_count_once() -> None:
    samples = [drawn(0.5, True, "same"), drawn(0.5, True, "same"), drawn(0.1, False, "other")]
    assert len(choose(samples, 5)) == 2
    assert choose([], 3) == []


def test_other_problems_come_before_a_second_sample_of_one() -> None:
    samples = [replace(drawn(value / 10), problem_id=problem) for value, problem in ((9, "a"), (8, "a"), (7, "b"))]
    assert [one.sample.value for one in choose(samples, 2) if one.kind == "best"] == [0.9, 0.7]


def test_the_response_that_rewards_rank_most_differently_is_disputed() -> None:
    texts = ["one", "two", "three", "four"]
    first, second = ([drawn(value, None, text) for value, text in zip(values, texts, strict=True)]
                     for values in ([0.1, 0.2, 0.3, 0.9], [3.0, 1.0, 2.0, 7.0]))  # fmt: skip
    widest, *others = disputes({"orm": first, "armorm": [*second, drawn(None)]})
    assert widest.sample.response == "one" and widest.ranks == pytest.approx({"orm": 0.0, "armorm": 2 / 3})
    assert [one.sample.response for one in others] == ["two", "three"], "all rewards agree on the best one"
    assert disputes({"orm": first}) == [] and disputes({}) == []


def test_the_sample_that_parts_rank_most_differently_is_disputed() -> None:
    parts = [{"clear": 1.0, "right": 2.0}, {"clear": 2.0, "right": 3.0}, {"clear": 3.0, "right": 0.0}]
    samples = [drawn(0.5, None, str(number), parts=one) for number, one in enumerate(parts)]
    [first, *_] = [one for one in choose(samples, 1) if one.kind == "parts disagree"]
    assert first.sample.response == "2"


def test_updates_are_spread_from_the_first_to_the_last(tmp_path: Path) -> None:
    run = read(made_run(tmp_path / "a", accuracies=[0.4, 0.5, 0.6], every=10))
    assert spread(run, 3) == [(1, "train"), (11, "train"), (20, "train")]
    assert spread(run, 1) == [(20, "train")] and spread(run, 0) == []


def test_a_damaged_line_costs_itself_and_is_counted(tmp_path: Path) -> None:
    path = made_run(tmp_path / "a", samples=8) / "samples.jsonl"
    good = path.read_text().splitlines()
    lines = [good[0], good[1][:60], "{}", "", '{"update": 1, "stage": "train"}', good[2], good[3][:-20]]
    path.write_text("\n".join(lines))
    found, unreadable = read_updates(path, [(1, "train")])
    assert [one.response for one in found[1, "train"]] == [json.loads(good[number])["response"] for number in (0, 2)]
    assert unreadable == 2, "the half-written last line is not counted: a running run has one"
    assert read_updates(tmp_path / "missing", [(1, "train")]) == ({(1, "train"): []}, 0)


@pytest.mark.parametrize(
    "score", [3, [], "high", {}, {"value": "x"}, {"value": 1, "steps": [1.0], "spans": []}, {"value": 1, "parts": [2]}]
)
def test_a_score_that_is_none_is_not_shown(tmp_path: Path, score: Any) -> None:
    path = made_run(tmp_path / "a", samples=8) / "samples.jsonl"
    first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([json.dumps(json.loads(first) | {"score": score}), *rest]) + "\n")
    found, unreadable = read_updates(path, [(1, "train")])
    assert unreadable == 1 and [one.place for one in found[1, "train"]] == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize(("most", "fewest"), [(0, 0), (30, 20), (500, 90)])
def test_samples_are_shared_evenly_and_never_exceed_the_limit(tmp_path: Path, most: int, fewest: int) -> None:
    runs = [read(made_run(tmp_path / str(seed), seed, samples=32)) for seed in (1, 2)]
    found = collect(arrange(runs).settings, most)
    assert fewest <= len(found.samples) <= most
    if most:
        assert {one["run"] for one in found.samples} == {0, 1}
        assert {one["update"] for one in found.samples} == {1, 5, 10}
        assert all({"AUC", "best of n"} <= found.first[run.folder].keys() for run in runs)
