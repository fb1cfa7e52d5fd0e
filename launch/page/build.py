"""Write the page: one HTML file with its style, its script, the charting library and all data; it needs no network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import vl_convert

from launch.page.content import context_of
from rl.study.browser import collect
from rl.study.record import record_of
from rl.study.results import Result, best_first
from rl.study.settings import Study

TEMPLATE = Path(__file__).parent / "template"


def write_page(path: Path, study: Study, results: Sequence[Result], most_samples: int) -> None:
    """Write the page of a study with at most `most_samples` samples. Raises OSError if it cannot be written."""
    study = best_first(study, results)
    records = {run.folder: record_of(run.folder) for run in study.runs}
    samples = collect(study.settings, most_samples)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(context_of(study, results, records, samples)), encoding="utf-8")


def page(context: Mapping[str, Any]) -> str:
    """The HTML text. The library, style, script and data are inserted as they are, everything else is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATE), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    parts = {
        "css": (TEMPLATE / "page.css").read_text(encoding="utf-8"),
        "script": (TEMPLATE / "page.js").read_text(encoding="utf-8"),
        "library": vl_convert.javascript_bundle().replace("</script", "<\\/script"),  # type: ignore[call-arg]
        "payload": json.dumps(context["data"], ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace(
            "<", "\\u003c"
        ),
    }
    return environment.get_template("page.html.jinja").render(**context, **parts)
