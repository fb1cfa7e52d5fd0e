"""The charts as Vega-Lite specifications without data, which the page adds when a chart comes into view.

Colours are CSS variables of the page, so that charts follow its light and dark themes.
"""

from __future__ import annotations

from typing import Any

import altair as alt

AXES = {
    "samples": ("samples drawn", ",d"),
    "hours": ("hours", ".2~f"),
    "kl": ("KL from the start (nats per token)", ".2~g"),
}
"""What truth and reward can be drawn against: field, title, format."""

COLOURS = 8
"""Distinguishable colours (after Okabe and Ito 2008), each with a symbol of its own for those who cannot tell them."""
SYMBOLS = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])

THEME: dict[str, Any] = {
    "background": "transparent",
    "font": "system-ui, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--muted)",
        "titleColor": "var(--muted)",
        "gridColor": "var(--line)",
        "domainColor": "var(--line)",
        "tickColor": "var(--line)",
        "titleFontWeight": "normal",
        "labelFontSize": 11,
        "titleFontSize": 11,
    },
    "legend": {"labelColor": "var(--ink)", "titleColor": "var(--muted)", "labelFontSize": 11},
    "title": {"color": "var(--ink)", "fontSize": 12},
}


Look = dict[str, Any]
"""How a setting is drawn everywhere: its label, colour, dash, symbol, and which dash that is."""


def look(label: str, colour: int, variant: int) -> Look:
    """The look of a setting. Settings with the same colour must have different variants."""
    variant += colour // COLOURS * len(DASHES) // 2
    return {
        "label": label,
        "colour": f"var(--c{colour % COLOURS})",
        "symbol": SYMBOLS[colour % COLOURS],
        "dash": DASHES[variant % len(DASHES)],
        "variant": variant % len(DASHES),
    }


def specifications(
    settings: list[Look], *, intervals: bool, truth_outside: bool, proxy_outside: bool
) -> dict[str, Any]:
    """Every chart by name. `settings` in their order.

    intervals: whether any setting has one. `..._outside`: whether values leave [0, 1].
    """
    charts: dict[str, Any] = {"final": _final(settings, intervals), "stages": _stages(settings)}
    for axis in AXES:
        charts[f"truth/{axis}"] = _overlay(axis, settings, truth_outside)
        charts[f"pair/{axis}"] = _pair(axis, truth_outside, proxy_outside)
    small = {"figure": _figure(settings), "prediction": _prediction()}
    small |= {name: chart for name, chart in charts.items() if name.startswith("pair/")}
    return {name: _finished(chart, None) for name, chart in charts.items()} | {
        name: _finished(chart, 190) for name, chart in small.items()
    }


def _finished(chart: Any, height: int | None) -> dict[str, Any]:
    sized = chart.properties(width="container", **({"height": height} if height else {}))
    spec: dict[str, Any] = sized.to_dict(validate=True)
    spec.pop("$schema", None)
    spec["config"] = THEME
    spec["autosize"] = {"type": "fit-x", "contains": "padding"}
    return spec


def _base() -> Any:  # Altair's own types do not know which chart its methods return
    return alt.Chart(alt.NamedData(name="rows"))


def _by_setting(channel: str, settings: list[Look]) -> Any:
    scale = alt.Scale(domain=_labels(settings), range=[one[channel] for one in settings])
    kind = {"colour": alt.Color, "dash": alt.StrokeDash, "symbol": alt.Shape}[channel]
    return kind("setting:N", scale=scale, legend=None)


def _labels(settings: list[Look]) -> list[str]:
    return [one["label"] for one in settings]


def _row(settings: list[Look]) -> alt.Y:
    axis = alt.Axis(labelLimit=170, labelColor="var(--ink)")
    return alt.Y("setting:N", sort=_labels(settings), title=None, axis=axis)


def _final(settings: list[Look], intervals: bool) -> Any:
    """Every run's last value, with the interquartile mean and its interval where there is one."""
    row = _row(settings)
    scale = alt.Scale(zero=False, nice=True)
    points = _base().transform_filter("datum.kind == 'run'").mark_point(size=45, opacity=0.8).encode(
        y=row, x=alt.X("value:Q", title=None, scale=scale, axis=alt.Axis(tickCount=6)),
        color=_by_setting("colour", settings),
        tooltip=["setting:N", "seed:N", alt.Tooltip("value:Q", format=".3f")],
    )  # fmt: skip
    summary = _base().transform_filter("datum.kind == 'summary'")
    bars = summary.mark_rule(strokeWidth=2, color="var(--ink)", opacity=0.75).encode(
        y=row, x=alt.X("low:Q", scale=scale), x2="high:Q"
    )
    ticks = summary.mark_tick(thickness=3, size=18, color="var(--ink)").encode(
        y=row, x=alt.X("value:Q", scale=scale),
        tooltip=["setting:N", *(alt.Tooltip(f"{name}:Q", format=".3f") for name in ("value", "low", "high"))],
    )  # fmt: skip
    return alt.layer(*([bars] if intervals else []), ticks, points).properties(height=30 * len(settings))


def _overlay(axis: str, settings: list[Look], outside: bool) -> Any:
    """The truth of all settings, a mean line over seeds for each."""
    means = {"mean_truth": "mean(truth)", f"mean_{axis}": f"mean({axis})", "seeds": "count()"}
    kept = _base().transform_filter(f"isValid(datum.{axis}) && isValid(datum.truth)")
    base = kept.transform_aggregate(**means, groupby=["setting", "update"]).encode(
        x=_against(f"mean_{axis}", axis), y=_share("mean_truth:Q", "held-out accuracy", outside)
    )
    lines = base.mark_line(strokeWidth=2).encode(
        color=_by_setting("colour", settings), strokeDash=_by_setting("dash", settings), order="update:Q"
    )
    points = base.mark_point(filled=True, size=40, opacity=1).encode(
        color=_by_setting("colour", settings), shape=_by_setting("symbol", settings),
        tooltip=["setting:N", "update:Q", alt.Tooltip("mean_truth:Q", format=".3f", title="accuracy"), "seeds:Q"],
    )  # fmt: skip
    return alt.layer(lines, points).properties(height=320)


def _pair(axis: str, truth_outside: bool, proxy_outside: bool) -> Any:
    """One setting's truth (solid) and mean reward (dashed), a line per seed."""
    kept = _base().transform_filter(f"isValid(datum.{axis})")
    tips = ["seed:N", "update:Q", *(alt.Tooltip(f"{name}:Q", format=".3f") for name in ("truth", "proxy"))]
    truth, proxy = (
        kept.mark_line(
            point={"size": 22, "filled": True, "color": colour}, strokeWidth=1.8, color=colour, **dash
        ).encode(x=_against(axis, axis), y=y, detail="seed:N", order="update:Q", tooltip=tips)
        for colour, dash, y in (
            ("var(--truth)", {}, _share("truth:Q", "accuracy", truth_outside)),
            ("var(--proxy)", {"strokeDash": [5, 3]}, _share("proxy:Q", "reward", proxy_outside)),
        )
    )
    both = alt.layer(truth, proxy)
    return both.resolve_scale(y="independent") if truth_outside != proxy_outside else both


def _figure(settings: list[Look]) -> Any:
    """One figure of every update, a mean line over seeds for each setting. The page names the figure `value`."""
    kept = _base().transform_filter("isValid(datum.value)")
    lines = kept.mark_line(strokeWidth=1.5).encode(
        x=alt.X("update:Q", title="update", axis=alt.Axis(tickMinStep=1, format="d", tickCount=5)),
        y=alt.Y("mean(value):Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5, format="~g")),
        detail="setting:N", color=_by_setting("colour", settings), strokeDash=_by_setting("dash", settings),
        tooltip=["setting:N", "update:Q", alt.Tooltip("mean(value):Q", format=".4g", title="mean over seeds")],
    )  # fmt: skip
    return alt.layer(lines)


def _stages(settings: list[Look]) -> Any:
    """Seconds per update by stage, stacked, a bar for each setting."""
    return _base().mark_bar().encode(
        y=_row(settings),
        x=alt.X("sum(seconds):Q", title="seconds per update, start left out", axis=alt.Axis(tickCount=6)),
        color=alt.Color(
            "stage:N",
            scale=alt.Scale(range=[f"var(--c{number})" for number in range(COLOURS)]),
            legend=alt.Legend(orient="bottom", columns=4, title=None),
        ),
        tooltip=["setting:N", "stage:N", alt.Tooltip("seconds:Q", format=".2f")],
    ).properties(height=26 * len(settings))  # fmt: skip


def _prediction() -> Any:
    """One figure of each reward before training, against the truth after it."""
    points = _base().mark_point(size=60, filled=True, color="var(--truth)").encode(
        x=alt.X("before:Q", title="before training", scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=4)),
        y=alt.Y("after:Q", title="accuracy after", scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5)),
        tooltip=["reward:N", alt.Tooltip("before:Q", format=".3f"), alt.Tooltip("after:Q", format=".3f")],
    )  # fmt: skip
    names = points.mark_text(align="left", dx=7, fontSize=10, color="var(--muted)", limit=90).encode(text="reward:N")
    return alt.layer(points, names)


def _against(field: str, axis: str) -> alt.X:
    title, form = AXES[axis]
    return alt.X(f"{field}:Q", title=title, axis=alt.Axis(format=form, tickCount=5))


def _share(field: str, title: str, outside: bool) -> alt.Y:
    scale = alt.Scale(zero=False) if outside else alt.Scale(domain=[0, 1])
    return alt.Y(field, title=title, scale=scale, axis=alt.Axis(tickCount=5))
