"""Check the prompt a judge is trained on, and write it to a file next to the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rewards.training.examples import prompt_mismatch
from rewards.training.token_rows import TrainingRow
from rewards.verdicts import load_template
from rl.reward_training.recipes import JudgeModel

PROMPT_FILE = "compare.md"


def prompt_note(recipe: JudgeModel, rows: Sequence[TrainingRow]) -> str | None:
    """A warning if rows are whole conversations whose prompt or system turn differs from the recipe's, else None."""
    prompt = load_template(recipe.template_file)
    found = [(one.line, what) for one in rows if (what := prompt_mismatch(one.row, prompt, recipe.system))]
    if not found:
        return None
    line, what = found[0]
    return (
        f"warning: in {len(found)} of {len(rows)} rows (the first is in line {line}) the {what} differs from what "
        "recipe.template_file and recipe.system make. The judge learns the rows' own, so set these keys to match. "
        f"Until then model/{PROMPT_FILE} is not written: prompt this judge exactly as the training rows do"
    )


def write_prompt(recipe: JudgeModel, rows: Sequence[TrainingRow], model: Path, report: Callable[[str], None]) -> None:
    """Write the prompt into the model's folder, so that the judge is prompted as it was trained.

    If the rows have a different prompt, nothing is written and the warning is reported again.
    """
    note = prompt_note(recipe, rows)
    if note is not None:
        report(note)
        return
    (model / PROMPT_FILE).write_text(load_template(recipe.template_file), encoding="utf-8")
