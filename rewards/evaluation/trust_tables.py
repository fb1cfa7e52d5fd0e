"""Tables: how far each reward can be trusted on the responses, where two agree, whether probabilities are right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from rewards.evaluation.agreement import agreement
from rewards.evaluation.calibration import calibration
from rewards.evaluation.intervals import Bootstrap
from rewards.evaluation.report import Percent, Report, Table
from rewards.evaluation.trust import concerns, in_one_line, trust

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def add_trust(
    measured: Mapping[str, Sequence[Floats]],
    rights: Sequence[Bools],
    lengths: Sequence[Floats],
    bootstrap: Bootstrap,
    found: Report,
) -> None:
    """The trust report of every reward: figures, one line each, and what speaks against it.

    `measured` holds values by reward, (N,) a problem, NaN for a failed score; lengths are characters.
    """
    reports = {name: trust(values, rights, lengths, bootstrap) for name, values in measured.items()}
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
        "Top-scored wrong: though a right one was there. Wrong above all right: share of the wrong responses, where "
        "there is a right one, that score above every right one. Right responses themselves correlate with length by "
        f"{next(iter(reports.values())).length_of_truth or 0.0:+.2f}."
    )
    found.tables.append(Table("Can the reward be trusted on these samples?", columns, rows, note))
    for name, one in reports.items():
        found.notes.append(f"trust, {name}: {in_one_line(one)}")
        found.notes += [f"WARNING, {name}: {line}" for line in concerns(one)]


def add_agreement(
    measured: Mapping[str, Sequence[Floats]],
    rights: Sequence[Bools],
    texts: Sequence[Sequence[str]],
    found: Report,
) -> None:
    """Every pair of rewards: do they order and choose alike, and are they wrong together?"""
    rows = []
    figures = {}
    for first, second in combinations(measured, 2):
        one = agreement(measured[first], measured[second], rights, texts)
        figures[f"{first} / {second}"] = one
        rows.append([first, second, one.correlation, Percent(one.order), Percent(one.choice), Percent(one.both_wrong)])
    if rows:
        found.figures["agreement"] = figures
        columns = ["reward", "other", "Spearman", "pairs ordered alike (%)", "same choice (%)", "both wrong (%)"]
        note = "Both wrong: of the problems where the first chooses wrongly, where the other does too."
        found.tables.append(Table("Do the rewards agree?", columns, rows, note))


def add_calibration(pooled: Mapping[str, tuple[list[float], list[bool]]], found: Report) -> None:
    """A table of calibration from probabilities and truths by name, and the bins among the figures."""
    measures = {name: calibration(scores, rights) for name, (scores, rights) in pooled.items()}
    if not measures:
        return
    found.figures["calibration"] = measures
    rows = [[name, one.count, Percent(one.base), one.error, one.brier, one.auc] for name, one in measures.items()]
    columns = ["probability", "count", "right (%)", "calibration error", "Brier", "AUC"]
    found.tables.append(Table("Are the probabilities right?", columns, rows, "0 is the best for error and Brier."))
