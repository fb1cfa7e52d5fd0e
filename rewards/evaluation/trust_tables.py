"""Tables: whether each reward can be trusted, whether two rewards agree, whether probabilities are calibrated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from rewards.evaluation.agreement import agreement
from rewards.evaluation.attacks import ATTACKS, Attacked
from rewards.evaluation.calibration import calibration
from rewards.evaluation.intervals import Bootstrap
from rewards.evaluation.report import Cell, Percent, Report, Table
from rewards.evaluation.trust import concerns, in_one_line, trust

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def add_trust(
    measured: Mapping[str, Sequence[Floats]],
    correct: Sequence[Bools],
    lengths: Sequence[Floats],
    bootstrap: Bootstrap,
    found: Report,
) -> None:
    """Add the trust report of every reward: figures, a summary in one line, and reasons not to trust it.

    `measured` maps each reward to its values, one (N,) array per problem, NaN for a failed score; lengths are in
    characters.
    """
    reports = {name: trust(values, correct, lengths, bootstrap) for name, values in measured.items()}
    if not reports:
        return
    found.figures["trust"] = {name: {"report": one, "concerns": concerns(one)} for name, one in reports.items()}
    columns = [
        "reward",
        "AUC",
        "AUC within a problem",
        "best - random",
        "top-scored wrong",
        "wrong above all right",
        "corr. with length",
        "at the top",
        "flat",
        "failed",
    ]
    rows = [
        [
            name,
            one.auc,
            one.group_auc,
            one.gain,
            Percent(one.top_wrong),
            Percent(one.outscoring),
            one.length,
            Percent(one.at_top),
            Percent(one.flat),
            Percent(one.failed),
        ]
        for name, one in reports.items()
    ]
    note = (
        "Within a problem: the chance in percent that a right response scores above a wrong one to the same problem. "
        "Top-scored wrong: although another response is right. Wrong above all right: in problems with right and wrong "
        "responses, the share of wrong ones that score above every right one. Correctness itself has a correlation "
        f"with length of {next(iter(reports.values())).length_of_truth or 0.0:+.2f}."
    )
    found.tables.append(Table("Can the reward be trusted on these samples?", columns, rows, note))
    for name, one in reports.items():
        found.notes.append(f"trust, {name}: {in_one_line(one)}")
        found.notes += [f"WARNING, {name}: {line}" for line in concerns(one)]


def add_attacks(attacks: Mapping[str, Sequence[Attacked]], found: Report) -> None:
    """What became of texts that say nothing: the worst for each reward, and a warning about those that fool it."""
    if not any(attacks.values()):
        return
    found.figures["attacks"] = {
        name: [{**asdict(one), "fools": one.fools} for one in tried] for name, tried in attacks.items()
    }
    rows: list[list[Cell | Percent]] = []
    for name, tried in attacks.items():
        worst = sorted(tried, key=lambda one: (-one.as_good, -np.inf if one.score is None else -one.score))
        rows += [[name, repr(one.text), one.score, one.correct, Percent(one.as_good), one.tried] for one in worst[:3]]
        if fooling := [one for one in worst if one.fools]:
            texts = ", ".join(
                f"{one.text!r} (score {one.score:.3f}, as good as a correct response in {one.as_good:.0%} of problems)"
                for one in fooling[:5]
            )
            more = f" and {len(fooling) - 5} more" if len(fooling) > 5 else ""
            correct = "" if fooling[0].correct is None else f"; correct responses score {fooling[0].correct:.3f}"
            found.notes.append(f"WARNING, {name}: fooled by responses that say nothing: {texts}{more}{correct}")
    tried_in = max(one.tried for tried in attacks.values() for one in tried)
    note = (
        f"{len(ATTACKS)} texts that fool judges (arXiv 2507.08794), each as the whole response to up to {tried_in} "
        "problems; the three worst for each reward, all of them in report.json. As good: the share of problems in "
        "which the text "
        "scores at least as much as correct responses do on average, or is not beaten by one in a comparison."
    )
    columns = ["reward", "response", "score", "correct responses", "as good (%)", "problems"]
    found.tables.append(Table("Is the reward fooled by responses that say nothing?", columns, rows, note))


def add_agreement(
    measured: Mapping[str, Sequence[Floats]],
    correct: Sequence[Bools],
    texts: Sequence[Sequence[str]],
    found: Report,
) -> None:
    """Add how far each pair of rewards agrees: in order, in choice, and in mistakes."""
    rows = []
    figures = {}
    for first, second in combinations(measured, 2):
        one = agreement(measured[first], measured[second], correct, texts)
        figures[f"{first} / {second}"] = one
        rows.append([first, second, one.correlation, Percent(one.order), Percent(one.choice), Percent(one.both_wrong)])
    if rows:
        found.figures["agreement"] = figures
        columns = ["reward", "other", "Spearman", "pairs ordered alike (%)", "same choice (%)", "both wrong (%)"]
        note = "Both wrong: among the problems for which the first chooses wrongly, the share for which the other does."
        found.tables.append(Table("Do the rewards agree?", columns, rows, note))


def add_calibration(pooled: Mapping[str, tuple[list[float], list[bool]]], found: Report) -> None:
    """Add a table of calibration; `pooled` has probabilities and correctness by name. The figures include the bins."""
    measures = {name: calibration(scores, correct) for name, (scores, correct) in pooled.items()}
    if not measures:
        return
    found.figures["calibration"] = measures
    rows = [[name, one.count, Percent(one.base), one.error, one.brier, one.auc] for name, one in measures.items()]
    columns = ["probability", "count", "right (%)", "calibration error", "Brier", "AUC"]
    found.tables.append(Table("Are the probabilities right?", columns, rows, "For error and Brier, 0 is best."))
