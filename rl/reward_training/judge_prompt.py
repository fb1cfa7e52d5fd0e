"""The prompt that a judge is taught, and the file with it that goes along with the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rewards.training.examples import asked_otherwise
from rewards.training.token_rows import Lined
from rewards.verdicts import load_template
from rl.reward_training.recipes import JudgeModel

PROMPT_FILE = "compare.md"


def prompt_note(recipe: JudgeModel, rows: Sequence[Lined]) -> str | None:
    """What a person should know where rows bring whole conversations that the recipe would ask otherwise; else None."""
    prompt = load_template(recipe.template_file)
    found = [(one.line, what) for one in rows if (what := asked_otherwise(one.row, prompt, recipe.system))]
    if not found:
        return None
    line, what = found[0]
    return (
        f"warning: {len(found)} of {len(rows)} rows are conversations with another {what} (line {line} for one) than "
        "recipe.template_file and recipe.system make: the judge learns the rows' own, so set these keys to them. As "
        f"they are, model/{PROMPT_FILE} is not written, and who asks this judge must ask as the rows do"
    )


def write_prompt(recipe: JudgeModel, rows: Sequence[Lined], model: Path, report: Callable[[str], None]) -> None:
    """Write the prompt into the model's folder, by which the judge is to be asked as it was taught.

    Where the rows bring another one nothing is written, and that is reported once more.
    """
    note = prompt_note(recipe, rows)
    if note is not None:
        report(note)
        return
    (model / PROMPT_FILE).write_text(load_template(recipe.template_file), encoding="utf-8")
