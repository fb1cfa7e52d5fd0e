"""launch.report --html: one file, whatever the runs lack."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from launch import report
from tests.rl.study.made_runs import made_run


def page_of(tmp_path: Path, *words: str) -> str:
    runs = [str(path) for path in sorted(tmp_path.iterdir()) if path.is_dir()]
    assert report.main([*runs, "--html", str(tmp_path / "new" / "page.html"), *words]) == 0
    return (tmp_path / "new" / "page.html").read_text()


def data_of(page: str) -> dict[str, Any]:
    [found] = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, flags=re.DOTALL)
    return json.loads(found)


def test_a_page_needs_nothing_but_metrics(tmp_path: Path) -> None:
    """Runs of older versions, without choices, status and samples; the page has no section for what is missing."""
    for seed in (1, 2):
        run = made_run(tmp_path / f"own_seed{seed}", seed)
        for name in ("origin.json", "status.json", "config.yaml"):
            (run / name).unlink()
    page = page_of(tmp_path)
    assert "own came out best" in page and "some runs do not say which code made them" in page
    assert 'id="samples"' not in page and 'id="prediction"' not in page and "not recorded" in page


def test_different_tasks_are_shown_apart(tmp_path: Path) -> None:
    for seed in (1, 2):
        made_run(tmp_path / f"a{seed}", seed)
        made_run(tmp_path / f"b{seed}", seed, {"task": "sums"}, {"task": {"_target_": "rl.tasks.sums.SumsTask"}})
    page = page_of(tmp_path)
    assert "2 different tasks or evaluations were found, and are compared separately" in page
    assert {one["label"] for one in data_of(page)["settings"]} >= {"prm (task=sums largest=-)"}


def test_the_page_asks_for_nothing_from_a_network(tmp_path: Path) -> None:
    made_run(tmp_path / "a", samples=8)
    page = page_of(tmp_path)
    outside = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?(?:https?:)?//", outside)


def test_the_number_of_samples_is_limited(tmp_path: Path) -> None:
    made_run(tmp_path / "a", samples=64)
    assert len(data_of(page_of(tmp_path, "--samples", "10"))["samples"]["samples"]) == 10
    assert data_of(page_of(tmp_path, "--samples", "0"))["samples"]["samples"] == []


def test_every_folder_left_out_is_in_the_page_with_its_reason(tmp_path: Path) -> None:
    made_run(tmp_path / "a"), made_run(tmp_path / "b")
    (tmp_path / "foreign").mkdir()
    page = page_of(tmp_path)
    assert "repeats the configuration and the seed of" in page and "there is no metrics.jsonl" in page


def test_damaged_samples_are_counted_in_the_page(tmp_path: Path) -> None:
    run = made_run(tmp_path / "a", samples=8)
    text = (run / "samples.jsonl").read_text()
    (run / "samples.jsonl").write_text('{"update": 1, "stage": "train", broken\n' + text)
    assert "1 line of samples.jsonl" in page_of(tmp_path)


@pytest.mark.parametrize("words", [["--samples", "5"], ["--html", "x.html", "--samples", "-1"], ["--lower-is-better"]])
def test_options_that_would_be_ignored_are_refused(tmp_path: Path, words: list[str]) -> None:
    with pytest.raises(SystemExit):
        report.main([str(tmp_path), *words])


def test_a_page_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made_run(tmp_path / "a")
    (tmp_path / "file").write_text("")
    assert report.main([str(tmp_path / "a"), "--html", str(tmp_path / "file" / "page.html")]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --html ")
