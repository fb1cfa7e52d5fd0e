from pathlib import Path

from launch.report_signs import replayed, signs_table
from rl.run.past_runs import Run


def run_of(truths: list[float], auc: tuple[float, float] = (0.9, 0.9)) -> Run:
    """A run of 20 updates with an evaluation every five; the reward's AUC moves linearly."""
    rows: list[dict] = []
    for update in range(21):
        numbers = {} if update % 5 else {"accuracy/held_out": truths[update // 5]}
        share = auc[0] + (auc[1] - auc[0]) * update / 20
        drawn = {"reward/mean": 0.5, "reward/auc": share} if update else {}
        rows.append({"update": update, "seconds": float(update), **numbers, **drawn})
    return Run("orm", "1", rows, 20.0, Path("run"), {}, {})


def test_a_loss_that_stays_is_dated_and_compared_with_the_first_sign() -> None:
    found = replayed(run_of([0.4, 0.6, 0.7, 0.5, 0.3], auc=(0.9, 0.5)))
    assert (found.peak, found.lost) == ((10, 0.7), 15)
    assert [sign.name for sign in found.signs] == ["reward_is_blind"]
    assert found.lead == 15 - found.signs[0].update


def test_a_dip_that_recovers_is_not_a_loss() -> None:
    found = replayed(run_of([0.4, 0.7, 0.6, 0.68, 0.69]))
    assert (found.lost, found.signs, found.lead) == (None, [], None)


def test_the_table_counts_warnings_in_runs_that_broke_and_false_alarms() -> None:
    runs = [run_of([0.4, 0.6, 0.7, 0.5, 0.3], auc=(0.9, 0.5)), run_of([0.4, 0.5, 0.6, 0.7, 0.8], auc=(0.9, 0.5))]
    text = signs_table(runs)
    assert "(0.05 or more below it at the end) and showed a sign: 1 of 1." in text
    assert text.endswith("Runs that kept it and showed a sign: 1 of 1.")
    assert "| orm | 1 | 0.700 (10) | 0.300 | 15 | reward_is_blind" in text
