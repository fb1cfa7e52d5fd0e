"""Summarize an annotation in figures and sentences, and write training data from its records."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rewards.files.rows import Reject
from rewards.training.annotated import POSITIVE, Record, outcome_rows, process_rows, sign
from rl.annotation.sources import Sources


def write_data(folder: Path, records: Sequence[Record], *, soft: bool, remove: str) -> dict[str, int]:
    """Write prm.jsonl and orm.jsonl; return the number of conversations in each. See `process_rows` for the options."""
    process = (row for one in records for row in process_rows(one, soft=soft, remove=remove))
    outcome = (row for one in records for row in outcome_rows(one, remove=remove))
    return {
        "prm.jsonl": write_rows(folder / "prm.jsonl", process),
        "orm.jsonl": write_rows(folder / "orm.jsonl", outcome),
    }


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows to a JSONL file, which appears only when complete; return their number."""
    part = path.with_name(path.name + ".part")
    count = 0
    with part.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    part.replace(path)
    return count


def add_left_out(found: Sources, records: Sequence[Record]) -> None:
    """Add the file's solutions that could not be labelled to the rejects.

    The records are those of `found.rows`, in the same order (line numbers may repeat in a JSON list).
    """
    for source, record in zip(found.rows, records, strict=True):
        for one in record["left_out"] if source.solutions is not None else ():
            assert source.solutions is not None
            reason = f"answer {one['answer']}: {one['reason']}"
            found.rejects.append(Reject(source.line, reason, source.solutions[one["answer"]]))
    found.rejects.sort(key=lambda reject: reject.line)


def rejected(rows: int, solutions: int) -> Iterator[str]:
    """Messages about the number of rows, and of solutions of used rows, in rejects.jsonl."""
    if rows:
        yield f"{rows} {'row' if rows == 1 else 'rows'} could not be used: see rejects.jsonl"
    if solutions:
        yield f"{solutions} given solutions, or parts of them, were left out: see rejects.jsonl"


def figures(records: Sequence[Record]) -> dict[str, Any]:
    """Counts and shares of the labels; `agreement` with the task's verdicts on steps, if it has them."""
    labels = [label for record in records for label in record["label"]]
    values = [value for record in records for solution in record["step_values"] for value in solution]
    found: dict[str, Any] = {
        "problems": len(records),
        "problems_without_solution": sum(not record["answers"] for record in records),
        "solutions": len(labels),
        "solutions_right": _share(map(bool, labels)),
        "steps": len(values),
        "steps_positive": _share(sign(value) == POSITIVE for value in values),
        "steps_undecided": _share(0 < value < 1 for value in values),
        "left_out": dict(Counter(one["reason"] for record in records for one in record["left_out"]).most_common()),
        "undecided": sum(record["undecided"] for record in records),
    }
    pairs = list(_against_truth(records))
    if pairs:
        found["agreement"] = {
            "steps": len(pairs),
            "agree": _share(label == truth for label, truth in pairs),
            "right_step_called_wrong": _share(not label for label, truth in pairs if truth),
            "wrong_step_called_right": _share(label for label, truth in pairs if not truth),
        }
    return found


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The figures as sentences."""
    yield (
        f"{found['problems']} problems, {found['solutions']} solutions ({_percent(found['solutions_right'])} right), "
        f"{found['steps']} steps: {_percent(found['steps_positive'])} +, "
        f"{_percent(found['steps_undecided'])} with right and wrong continuations"
    )
    for reason, count in found["left_out"].items():
        yield f"  {count} left out: {reason}"
    if found["problems_without_solution"]:
        yield f"  {found['problems_without_solution']} problems have no solution left"
    if found["undecided"]:
        yield f"  {found['undecided']} answers could not be graded and count as wrong"
    if agreement := found.get("agreement"):
        yield (
            f"labels against the task's own verdicts on {agreement['steps']} steps: "
            f"{_percent(agreement['agree'])} agree; "
            f"right steps called wrong {_percent(agreement['right_step_called_wrong'])}, "
            f"wrong steps called right {_percent(agreement['wrong_step_called_right'])}"
        )


def _against_truth(records: Sequence[Record]) -> Iterator[tuple[bool, bool]]:
    """The hard label and the task's verdict for every step; skips solutions that the task splits differently."""
    for record in records:
        for values, truth in zip(record["step_values"], record.get("step_labels", ()), strict=False):
            if len(values) == len(truth):
                yield from ((sign(value) == POSITIVE, bool(right)) for value, right in zip(values, truth, strict=True))


def _share(flags: Iterable[bool]) -> float | None:
    found = list(flags)
    return sum(found) / len(found) if found else None


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{100 * share:.1f}%"
