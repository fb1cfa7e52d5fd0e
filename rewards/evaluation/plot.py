"""Plot accuracy against the number of responses to choose from: one line per method, with its interval shaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path

from rewards.evaluation.intervals import Estimate

_MARKERS = "osD^vPX*<>"


def plot(curves: Mapping[str, Mapping[int, Estimate]], bounds: Sequence[str], title: str, path: Path) -> None:
    """Write the curves (by method and size) to a PNG file; the methods in `bounds` are drawn dashed and grey."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(6.4, 4.4))
    coloured, dashes = 0, cycle(("--", ":", "-."))
    for name, points in curves.items():
        known = [(size, e) for size, e in points.items() if e.value is not None]
        if not known:
            continue
        sizes = [size for size, _ in known]
        bound = name in bounds
        colour = "0.45" if bound else f"C{coloured}"
        marker = None if bound else _MARKERS[coloured % len(_MARKERS)]
        coloured += not bound
        figures = [100 * (e.value or 0.0) for _, e in known]
        axis.plot(
            sizes,
            figures,
            color=colour,
            linestyle=next(dashes) if bound else "-",
            marker=marker,
            markersize=4,
            label=name,
        )
        low, high = (
            [figure if end is None else 100 * end for figure, end in zip(figures, ends, strict=True)]
            for ends in ([e.low for _, e in known], [e.high for _, e in known])
        )
        axis.fill_between(sizes, low, high, color=colour, alpha=0.15, linewidth=0)
    axis.set_xscale("log", base=2)
    ticks = sorted({size for points in curves.values() for size in points})
    axis.set_xticks(ticks, [str(size) for size in ticks])
    axis.set_xlabel("responses to choose from")
    axis.set_ylabel("problems answered right (%)")
    axis.set_title(title, fontsize=10)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
