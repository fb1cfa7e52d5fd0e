"""Results and their sentences: rankings, pairs apart, over-optimisation, reasons for distrust."""

from __future__ import annotations

from pathlib import Path

import pytest

from rl.run.past_runs import Run, read, read_all
from rl.study.record import record_of
from rl.study.results import Result, fall_of, result_of, with_metric
from rl.study.settings import Study, arrange
from rl.study.words import conclusion, distrust, verdict
from tests.rl.study.made_runs import made_run


def studied(folder: Path, metric: str = "accuracy/held_out") -> tuple[Study, Result]:
    runs, left_out = read_all(sorted(folder.iterdir()))
    study = arrange(runs, left_out)
    return study, result_of(study.exams[0], metric)


def said(folder: Path) -> list[str]:
    study, result = studied(folder)
    return conclusion(study, result, {run.folder: record_of(run.folder) for run in study.runs})


def test_settings_are_ranked_by_their_end_and_the_better_one_is_named(tmp_path: Path) -> None:
    for seed in range(1, 6):
        made_run(tmp_path / f"good{seed}", seed, {"reward": "verifier"}, accuracies=[0.45, 0.5, 0.8 + seed / 100])
        made_run(tmp_path / f"bad{seed}", seed, {"reward": "orm"}, accuracies=[0.45, 0.9, 0.6 + seed / 101])
    _, result = studied(tmp_path)
    assert list(result.settings.subjects) == ["verifier", "orm"] and result.start == pytest.approx(0.45)
    [one] = result.settings.comparisons
    assert one.apart and one.improvement.value == 1.0
    assert verdict(one).startswith("verifier is above orm by 0.200 [")


def test_too_few_seeds_are_said_in_words_with_how_many_would_tell(tmp_path: Path) -> None:
    for seed, ours, theirs in ((1, 0.7, 0.75), (2, 0.8, 0.7), (3, 0.78, 0.74)):
        made_run(tmp_path / f"a{seed}", seed, {"reward": "prm"}, accuracies=[0.45, ours])
        made_run(tmp_path / f"b{seed}", seed, {"reward": "orm"}, accuracies=[0.45, theirs])
    _, result = studied(tmp_path)
    [one] = result.settings.comparisons
    words = verdict(one)
    assert words.startswith("prm and orm cannot be told apart with 3 shared seeds; about ")
    assert words.endswith("would tell a difference of this size (0.030)") and f"about {one.needed} " in words


def test_rewards_are_averaged_over_algorithms_only_if_every_cell_was_run(tmp_path: Path) -> None:
    cells = [(reward, algorithm) for algorithm in ("grpo", "ppo") for reward in ("prm", "orm")]
    for number, (reward, algorithm) in enumerate(cells):
        for seed in (1, 2):
            choices = {"reward": reward, "algorithm": algorithm}
            made_run(tmp_path / f"{reward}_{algorithm}_{seed}", seed, choices, accuracies=[0.45, 0.6 + number / 20])
        _, result = studied(tmp_path)
        assert (result.rewards is not None) == (number == 3)
    assert result.rewards is not None and list(result.rewards.subjects) == ["orm", "prm"]
    assert result.algorithms is not None and list(result.algorithms.subjects) == ["ppo", "grpo"]
    [one] = result.rewards.comparisons
    assert one.pairs == 4 and one.difference.value == pytest.approx(0.05)


def test_a_lost_peak_is_found_and_whether_the_reward_showed_it(tmp_path: Path) -> None:
    hidden = read(made_run(tmp_path / "a", accuracies=[0.4, 0.9, 0.6], rewards=[0.5, 0.7, 0.8]))
    shown = read(made_run(tmp_path / "b", accuracies=[0.4, 0.9, 0.6], rewards=[0.5, 0.7, 0.6]))
    noise = read(made_run(tmp_path / "c", accuracies=[0.4, 0.9, 0.85]))
    found = [fall_of(run) for run in (hidden, shown, noise)]
    assert found[0] and found[0].hidden and (found[0].peak_update, found[0].peak, found[0].end) == (5, 0.9, 0.6)
    assert found[1] and not found[1].hidden
    assert found[2] is None, "within the evaluation's own interval"


def test_the_conclusion_is_five_sentences_from_the_figures(tmp_path: Path) -> None:
    for seed in (1, 2):
        made_run(tmp_path / f"a{seed}", seed, {"reward": "prm"}, accuracies=[0.45, 0.6, 0.75 + seed / 100])
        made_run(tmp_path / f"b{seed}", seed, {"reward": "orm"}, accuracies=[0.45, 0.8, 0.55], rewards=[0.5, 0.6, 0.7])
    ran, came, apart, fell, care = said(tmp_path)
    assert ran.startswith("4 runs of 2 settings (2 rewards, 1 algorithm; 2 seeds each) on arithmetic, 10 updates each")
    assert came.startswith("prm came out best, with held-out accuracy 0.765 [0.760, 0.770] against 0.450 at the start;")
    assert "orm came out worst, with 0.550" in came
    assert apart.startswith(("prm is above orm by 0.215", "prm and orm cannot be told apart with 2 shared seeds"))
    assert "2 of 4 runs ended clearly below their peak" in fell and "in all of them the reward did not show it" in fell
    assert fell.endswith("0.800 at update 5 and 0.550 at the end, while its reward rose from 0.600 to 0.700.")
    assert care.startswith("Read with care: with 2 seeds")


def test_every_reason_for_distrust_is_named(tmp_path: Path) -> None:
    made_run(tmp_path / "a", 1, {"reward": "prm"}), made_run(tmp_path / "b", 2, {"reward": "prm"}, commit="b" * 40)
    made_run(tmp_path / "c", 3, {"reward": "orm"}, accuracies=[0.4, 0.5])
    made_run(tmp_path / "d", 1, {"task": "sums"}, {"task": {}})
    (tmp_path / "foreign").mkdir()
    study, result = studied(tmp_path)
    reasons = "\n".join(distrust(study, result, {run.folder: record_of(run.folder) for run in study.runs}))
    for words in (
        "single seed",
        "2 different tasks or evaluations",
        "different seeds",
        "different numbers of updates",
        "2 versions of the code",
        "1 folder left out",
    ):
        assert words in reasons


def test_one_run_alone_makes_no_comparison(tmp_path: Path) -> None:
    made_run(tmp_path / "a")
    sentences = said(tmp_path)
    assert len(sentences) == 5 and "nothing to compare it with" in sentences[1]


def test_an_unknown_metric_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    run: Run = read(made_run(tmp_path / "a"))
    with pytest.raises(ValueError, match=r"no run has the metric accuracy/heldout; did you mean accuracy/held_out\?"):
        with_metric([run], "accuracy/heldout")


@pytest.mark.parametrize(
    "content", [None, "", "[]", "{", '{"commit": 3, "packages": [], "command": "x", "python": {}}']
)
def test_a_record_says_as_much_as_its_files_do(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "origin.json").write_text(content), (tmp_path / "status.json").write_text(content)
    record = record_of(tmp_path)
    assert record.commit is None and record.command == () and record.versions == {} and record.stages == {}
