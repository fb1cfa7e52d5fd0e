"""Curves: what an evaluation is drawn against, and what is drawn at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rl.run.past_runs import Run, read
from rl.study.curves import constant, cost, evaluations, figures, measures_kl, stages
from tests.rl.study.made_runs import made_run


def changed(run: Path, **values: object) -> Run:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rows = [{name: values.get(name.replace("/", "_"), value) for name, value in row.items()} for row in rows]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read(run)


def test_an_evaluation_has_the_samples_so_far_and_the_kl_of_the_policy_it_examines(tmp_path: Path) -> None:
    found = evaluations([read(made_run(tmp_path / "a", accuracies=[0.4, 0.5, 0.6], every=3))])
    assert found["samples"] == [0, 3 * 256, 6 * 256]
    assert found["kl"] == [0.0, 0.004, 0.006], "update 4's KL is that of the policy after update 3; 6 is the last"
    assert found["hours"] == pytest.approx([40 / 3600, 58 / 3600, 76 / 3600], rel=1e-4)
    assert found["truth"] == [0.4, 0.5, 0.6] and found["proxy"] == [0.6, 0.5, 0.4]


def test_a_run_without_a_reference_has_no_kl(tmp_path: Path) -> None:
    run = changed(made_run(tmp_path / "a"), learner_kl=0.0)
    assert not measures_kl(run) and evaluations([run])["kl"] == [None] * 3
    assert "learner/kl" not in figures([run])[1]


def test_values_that_are_not_finite_are_not_drawn(tmp_path: Path) -> None:
    run = changed(made_run(tmp_path / "a"), learner_entropy="nan", learner_grad_norm=float("inf"))
    columns, titles = figures([run])
    assert "learner/entropy" not in titles and "learner/grad_norm" not in titles
    assert all(len(column) == 10 for column in columns.values())


def test_a_long_run_is_thinned_and_both_names_of_the_gap_are_one_figure(tmp_path: Path) -> None:
    long = read(made_run(tmp_path / "a", every=300))
    other = made_run(tmp_path / "b", 2)
    (other / "metrics.jsonl").write_text((other / "metrics.jsonl").read_text().replace("sync/gap", "rollout/gap"))
    columns, titles = figures([long, read(other)])
    assert columns["run"].count(0) <= 250 and columns["run"].count(1) == 10
    gaps = [name for name, title in titles.items() if "gap" in title]
    assert len(gaps) == 1 and None not in columns[gaps[0]]


def test_cost_and_stages_are_summed(tmp_path: Path) -> None:
    runs = [read(made_run(tmp_path / str(seed), seed)) for seed in (1, 2)]
    total = cost(runs)
    assert total["samples"] == 2 * 10 * 256 and total["hours"] == pytest.approx(200 / 3600)
    assert stages(runs[0]) == pytest.approx({"sample": 20.0, "score": 6.0, "learn": 29.0, "sync": 2.0})


def test_a_column_is_constant_only_if_one_value_is_all_there_is() -> None:
    assert constant([None, 2.0, 2.0]) == 2.0 and constant([1.0, 2.0]) is None and constant([None]) is None
