"""What the signs of an exploited reward would have said in past runs, next to what became of the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rl.hacking.signs import WINDOW, HackingWatch, Sign
from rl.run.past_runs import Run

LOST = 0.05
"""A run has lost its peak when held-out accuracy is this far below it, and stays there to the end."""


@dataclass(frozen=True)
class Replay:
    """A run's peak of held-out accuracy, where it was lost for good (None: never), and the signs in their order."""

    run: Run
    peak: tuple[int, float]
    lost: int | None
    signs: list[Sign]

    @property
    def lead(self) -> int | None:
        """Updates from the first sign to the evaluation that shows the loss; negative if the sign came later."""
        return self.lost - self.signs[0].update if self.lost is not None and self.signs else None


def replayed(run: Run, window: int = WINDOW) -> Replay:
    """Replay a run's metrics. The run needs held-out accuracies."""
    truth = run.series("accuracy/held_out")
    peak = max(truth, key=lambda point: point[1])
    below = [update for update, value in truth if update > peak[0] and value <= peak[1] - LOST]
    ends_below = truth[-1][1] <= peak[1] - LOST
    watch = HackingWatch((row for row in run.rows if "reward/mean" in row), window)
    return Replay(run, peak, below[0] if below and ends_below else None, list(watch.seen.values()))


def signs_table(runs: Sequence[Run]) -> str:
    """The replays as a Markdown table, and how many runs that broke, and that held, showed a sign."""
    replays = [replayed(run) for run in runs]
    lines = [
        "| run | seed | best truth (update) | truth at the end | lost at | signs (update) | lead in updates |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in replays:
        signs = ", ".join(f"{sign.name} ({sign.update})" for sign in one.signs) or "none"
        lines.append(
            f"| {one.run.name} | {one.run.seed} | {one.peak[1]:.3f} ({one.peak[0]}) "
            f"| {one.run.series('accuracy/held_out')[-1][1]:.3f} | {'-' if one.lost is None else one.lost} | {signs} "
            f"| {'-' if one.lead is None else f'{one.lead:+d}'} |"
        )
    broke = [one for one in replays if one.lost is not None]
    held = [one for one in replays if one.lost is None]
    lines += [
        "",
        f"Runs that lost their peak ({LOST} or more below it at the end) and showed a sign: "
        f"{sum(bool(one.signs) for one in broke)} of {len(broke)}. Runs that kept it and showed a sign: "
        f"{sum(bool(one.signs) for one in held)} of {len(held)}.",
    ]
    return "\n".join(lines)
