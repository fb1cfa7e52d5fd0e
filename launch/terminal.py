"""Terminal output of a run: a live panel on a terminal, plain lines elsewhere, and a summary at the end."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Literal

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rl.progress import Display, Evaluation, Silent, Summary

SHOWN = (
    ("reward", "reward/mean", "{:.3f}"),
    ("accuracy (rollout)", "accuracy/rollout", "{:.3f}"),
    ("KL", "learner/kl", "{:.4f}"),
    ("response tokens", "response/tokens", "{:.1f}"),
    ("tokens/s", "rate/tokens_per_second", "{:,.0f}"),
)
"""What is shown for an update: label, metric, format. Metrics that an update did not report are left out."""


PASS_AT = "accuracy/held_out_pass_at_"


def make_display(kind: Literal["auto", "live", "plain", "none"], title: str, updates: int, console: Console) -> Display:
    """The display that `logger.progress` asks for; `auto` is live on a terminal and plain lines elsewhere."""
    if kind == "none":
        return Silent()
    if kind == "live" or (kind == "auto" and console.is_terminal):
        return LiveDisplay(title, updates, console)
    return PlainDisplay(title, updates, console)


class PlainDisplay(Display):
    """One line per event, for log files and pipes."""

    def __init__(self, title: str, updates: int, console: Console) -> None:
        self._updates, self._console = updates, console
        self._started = time.perf_counter()
        self._begun = False
        self._print(title)

    def stage(self, name: str) -> None:
        """Print stages only before the first update; later ones would be too many lines."""
        if not self._begun:
            self._print(f"{name} ...")

    def update(self, number: int, metrics: Mapping[str, float]) -> None:
        """Print the figures in one line."""
        self._begun = True
        figures = "  ".join(f"{label} {value}" for label, value in figures_of(metrics))
        self._print(f"update {number}/{self._updates}  {figures}  time: {shares(stages_of(metrics))}")

    def evaluation(self, evaluation: Evaluation) -> None:
        """Print true accuracy and reward in one line."""
        self._print(evaluation_line(evaluation))

    def event(self, text: str) -> None:
        """Print the text as a note."""
        self._print(f"note: {text}")

    def finish(self, summary: Summary) -> None:
        """Print the table and the summary."""
        self._console.print(closing(summary))

    def close(self) -> None:
        """Nothing to close."""

    def _print(self, text: str) -> None:
        line = f"{duration(time.perf_counter() - self._started):>10}  {text}"
        self._console.print(Text(line), soft_wrap=True)


class LiveDisplay(Display):
    """A panel that is redrawn in place: stage, update, figures, time by stage, the last evaluations."""

    def __init__(self, title: str, updates: int, console: Console) -> None:
        self._title, self._updates, self._console = title, updates, console
        self._number, self._metrics = 0, dict[str, float]()
        self._stage, self._stage_started = "starting", time.perf_counter()
        self._started = self._stage_started
        self._totals: dict[str, float] = {}
        self._evaluations: deque[Evaluation] = deque(maxlen=4)
        self._live = Live(
            console=console,
            get_renderable=self._render,
            refresh_per_second=2,
            transient=True,
            redirect_stdout=False,  # what libraries print belongs in the log, not above the panel
            redirect_stderr=False,
        )
        self._live.start()

    def stage(self, name: str) -> None:
        """Show the stage with the seconds it has taken so far."""
        self._stage, self._stage_started = name, time.perf_counter()

    def update(self, number: int, metrics: Mapping[str, float]) -> None:
        """Replace the figures of the previous update."""
        self._number, self._metrics = number, dict(metrics)
        for name, seconds in stages_of(metrics).items():
            self._totals[name] = self._totals.get(name, 0.0) + seconds

    def evaluation(self, evaluation: Evaluation) -> None:
        """Add it to the latest evaluations."""
        self._evaluations.append(evaluation)

    def event(self, text: str) -> None:
        """Print a note above the panel; it stays."""
        self._console.print(Text(f"note: {text}", style="yellow"))

    def finish(self, summary: Summary) -> None:
        """Replace the panel with the table and the summary."""
        self.close()
        self._console.print(closing(summary))

    def close(self) -> None:
        """Stop drawing the panel."""
        self._live.stop()

    def _render(self) -> Panel:
        now = time.perf_counter()
        head = Table.grid(padding=(0, 2))
        head.add_row(
            f"update {self._number}/{self._updates}",
            ProgressBar(total=self._updates, completed=self._number, width=30),
            duration(now - self._started),
            Text(f"{self._stage} {now - self._stage_started:.0f} s", style="cyan"),
        )
        figures = Table.grid(padding=(0, 2))
        for label, value in figures_of(self._metrics):
            figures.add_row(Text(label, style="dim"), value)
        if self._totals:
            figures.add_row(Text("time by stage", style="dim"), shares(self._totals))
        rows: list[RenderableType] = [head, figures]
        rows.extend(Text(evaluation_line(evaluation), style="green") for evaluation in self._evaluations)
        return Panel(Group(*rows), title=self._title, title_align="left")


def closing(summary: Summary) -> Group:
    """The end of a run: a table of before and after, a summary sentence, and where the files are."""
    graded = summary.after.accuracy is not None
    title = f"Held-out problems, {'graded by the verifier' if graded else 'without answers to grade against'}"
    table = Table(title=title, title_justify="left")
    for column in ("", "before", "after", "change"):
        table.add_column(column, justify="left" if not column else "right")
    before, after = summary.before, summary.after
    if before.accuracy is not None and after.accuracy is not None:
        table.add_row(
            "accuracy", f"{before.accuracy:.3f}", f"{after.accuracy:.3f}", f"{after.accuracy - before.accuracy:+.3f}"
        )
    for size, name in passes(after):
        if name in before.details:
            first, last = before.details[name], after.details[name]
            table.add_row(f"pass@{size}", f"{first:.3f}", f"{last:.3f}", f"{last - first:+.3f}")
    if before.reward is not None and after.reward is not None:
        table.add_row(
            "mean reward", f"{before.reward:.3f}", f"{after.reward:.3f}", f"{after.reward - before.reward:+.3f}"
        )
    table.add_row(
        "response tokens", f"{before.tokens:.1f}", f"{after.tokens:.1f}", f"{after.tokens - before.tokens:+.1f}"
    )
    failed = ", ".join(f"{count} x {reason}" for reason, count in summary.failures.items())
    lines = [
        sentence(summary),
        f"time by stage: {shares(summary.stages)}",
        *([f"failed scores: {failed}"] if failed else []),
        *([f"updates with nothing to learn from: {summary.skipped}"] if summary.skipped else []),
        f"files: {summary.folder}",
    ]
    return Group(table, *(Text(line, overflow="fold") for line in lines))


def sentence(summary: Summary) -> str:
    """The result of the run in one sentence."""
    before, after = summary.before, summary.after
    updates = f"{summary.updates} update{'' if summary.updates == 1 else 's'}"
    if before.accuracy is not None and after.accuracy is not None:
        change = f"held-out accuracy {before.accuracy:.2f} -> {after.accuracy:.2f}"
    elif before.reward is not None and after.reward is not None:
        change = f"held-out reward {before.reward:.3f} -> {after.reward:.3f} (no answers to grade against)"
    else:
        change = "nothing to compare (no answers, no scores)"
    return f"{change} in {updates}, {duration(summary.seconds)}"


def evaluation_line(evaluation: Evaluation) -> str:
    """An evaluation in one line: true accuracy and mean reward."""
    reward = f"mean reward {reward_words(evaluation)}"
    accuracy = "" if evaluation.accuracy is None else f"held-out accuracy {accuracy_words(evaluation)}, "
    when = "before training" if evaluation.update == 0 else f"after update {evaluation.update}"
    drawn = f"{evaluation.problems} problems" + (f" x {evaluation.responses}" if evaluation.responses > 1 else "")
    return f"{when}: {accuracy}{reward}, {evaluation.tokens:.1f} tokens ({drawn})"


def accuracy_words(evaluation: Evaluation) -> str:
    """Accuracy and pass@k, each with its interval: `0.380 [0.330, 0.430], pass@4 0.610 [0.550, 0.670]`."""
    words = [f"{evaluation.accuracy:.3f}{_interval(evaluation, 'accuracy/held_out')}"]
    words += [
        f"pass@{size} {evaluation.details[name]:.3f}{_interval(evaluation, name)}" for size, name in passes(evaluation)
    ]
    return ", ".join(words)


def passes(evaluation: Evaluation) -> list[tuple[int, str]]:
    """Every k of pass@k with the name of its metric, the smallest first."""
    sizes = (name.removeprefix(PASS_AT) for name in evaluation.details if name.startswith(PASS_AT))
    return [(size, f"{PASS_AT}{size}") for size in sorted(int(size) for size in sizes if size.isdigit())]


def _interval(evaluation: Evaluation, name: str) -> str:
    low, high = (evaluation.details.get(f"{name}_{end}") for end in ("low", "high"))
    return "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"


def reward_words(evaluation: Evaluation) -> str:
    """The mean reward of an evaluation, or the reason it has none."""
    if evaluation.reward is not None:
        return f"{evaluation.reward:.3f}" + (f" ({evaluation.failed} scores failed)" if evaluation.failed else "")
    if evaluation.failed:
        return "none: every score failed"
    return "n/a: this reward compares responses; evaluation draws one per problem"


def figures_of(metrics: Mapping[str, float]) -> list[tuple[str, str]]:
    """The figures an update shows, formatted."""
    figures = [(label, form.format(metrics[name])) for label, name, form in SHOWN if name in metrics]
    if failed := metrics.get("reward/failed"):
        figures.append(("failed scores", f"{failed:.0f}"))
    return figures


def stages_of(metrics: Mapping[str, float]) -> dict[str, float]:
    """Seconds by stage, from metrics named `time/STAGE`."""
    return {name.removeprefix("time/"): value for name, value in metrics.items() if name.startswith("time/")}


def shares(stages: Mapping[str, float]) -> str:
    """Shares of the time, largest first: `sample 61%, learn 30%, score 9%`."""
    total = sum(stages.values())
    if total <= 0:
        return "none yet"
    ordered = sorted(stages.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {seconds / total:.0%}" for name, seconds in ordered)


def duration(seconds: float) -> str:
    """Seconds in words: `48 s`, `3 min 10 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
