"""The table of calibration that best-of-N and ProcessBench share."""

from __future__ import annotations

from collections.abc import Mapping

from launch.evaluate.report import Percent, Report, Table
from rewards.evaluation.calibration import calibration


def add_calibration(pooled: Mapping[str, tuple[list[float], list[bool]]], found: Report) -> None:
    """A table of calibration from probabilities and truths by name, and the bins among the figures."""
    measures = {name: calibration(scores, rights) for name, (scores, rights) in pooled.items()}
    if not measures:
        return
    found.figures["calibration"] = measures
    rows = [[name, one.count, Percent(one.base), one.error, one.brier, one.auc] for name, one in measures.items()]
    columns = ["probability", "count", "right (%)", "calibration error", "Brier", "AUC"]
    found.tables.append(Table("Are the probabilities right?", columns, rows, "0 is the best for error and Brier."))
