"""The report of an evaluation: Markdown for people, LaTeX for papers, JSON for programs."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rewards.evaluation.intervals import Estimate

Cell = str | int | float | Estimate | None


@dataclass(frozen=True)
class Percent:
    """A share in [0, 1], shown in percent."""

    value: float | None


@dataclass(frozen=True)
class Table:
    """A table: an `Estimate` or `Percent` is shown in percent, other floats with three decimals, None as a dash."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell | Percent]]
    note: str = ""

    def markdown(self) -> str:
        """The table in Markdown, between its title and its note."""
        lines = [f"**{self.title}**", "", _row(self.columns), "|---" * len(self.columns) + "|"]
        lines += [_row([_shown(cell) for cell in row]) for row in self.rows]
        return "\n".join([*lines, *(["", self.note] if self.note else [])])

    def latex(self) -> str:
        """The table in LaTeX; needs the package booktabs."""
        body = [" & ".join(_latex(_shown(cell)) for cell in row) + r" \\" for row in self.rows]
        head = " & ".join(_latex(column) for column in self.columns) + r" \\"
        caption = _latex(f"{self.title}. {self.note}".strip(". ") + ".")
        return "\n".join(
            [
                r"\begin{table}",
                r"\centering",
                rf"\caption{{{caption}}}",
                rf"\begin{{tabular}}{{l{'r' * (len(self.columns) - 1)}}}",
                r"\toprule",
                head,
                r"\midrule",
                *body,
                r"\bottomrule",
                r"\end{tabular}",
                r"\end{table}",
            ]
        )


@dataclass
class Report:
    """The results of an evaluation: tables, notes (one line each), and every figure for report.json."""

    title: str
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    def markdown(self) -> str:
        """The whole report in Markdown."""
        notes = [f"- {note}" for note in self.notes]
        parts = [f"# {self.title}", *(table.markdown() for table in self.tables)]
        return "\n\n".join([*parts, *(["\n".join(notes)] if notes else [])]) + "\n"

    def write(self, folder: Path) -> list[Path]:
        """Write report.md, report.tex and report.json; returns their paths."""
        plain = {"title": self.title, **_plain(self.figures), "notes": self.notes}
        texts = {
            "report.md": self.markdown(),
            "report.tex": "% needs \\usepackage{booktabs}\n\n" + "\n\n".join(t.latex() for t in self.tables) + "\n",
            "report.json": json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False) + "\n",
        }
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        return [folder / name for name in texts]


def _shown(cell: Cell | Percent) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, Percent):
        return "-" if cell.value is None else f"{100 * cell.value:.1f}"
    if isinstance(cell, Estimate):
        if cell.value is None:
            return "-"
        if cell.low is None or cell.high is None:
            return f"{100 * cell.value:.1f} [-]"
        return f"{100 * cell.value:.1f} [{100 * cell.low:.1f}, {100 * cell.high:.1f}]"
    return f"{cell:.3f}" if isinstance(cell, float) else str(cell)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


_LATEX = {character: "\\" + character for character in "&%$#_{}"} | {"\\": r"\textbackslash{}", "<": "$<$", ">": "$>$"}


def _latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


def _plain(value: Any) -> Any:
    """Figures as plain JSON values: estimates and dataclasses become objects, NaN becomes null."""
    if isinstance(value, Estimate):
        return value._asdict()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
