"""A judge's prompt goes along with the model where it was taught, and only there."""

from __future__ import annotations

from pathlib import Path

from rewards.training.token_rows import read
from rewards.verdicts import SYSTEM, Comparison, fill, load_template
from rl.reward_training.judge_prompt import prompt_note, write_prompt
from rl.tasks.arithmetic.workshop.training_rows import draw_rows
from tests.launch.train_reward.test_train_reward import recipe_of, written


def conversation(row: dict, prompt: str, system: str | None) -> dict:
    user = fill(prompt, Comparison(row["question"], row["response_a"], row["response_b"]))
    turns = [("user", user), ("assistant", row["judgement"])]
    turns = turns if system is None else [("system", system), *turns]
    return {"conversations": [{"role": role, "content": content} for role, content in turns]}


def test_the_prompt_is_written_only_if_the_rows_were_made_with_it(tmp_path):
    recipe, rows, said = recipe_of("pairjudge_tiny"), draw_rows("judgements", 20), []
    prompt = load_template(recipe.template_file)
    same = [*rows[:10], *(conversation(row, prompt, None) for row in rows[10:])]
    found = read(recipe, Path(written(tmp_path / "same.jsonl", same)))
    write_prompt(recipe, found.rows.rows, tmp_path, said.append)
    assert (tmp_path / "compare.md").read_text() == prompt and not said
    (tmp_path / "compare.md").unlink()
    other = [*rows[:10], *(conversation(row, load_template(None), SYSTEM) for row in rows[10:])]
    found = read(recipe, Path(written(tmp_path / "other.jsonl", other)))
    write_prompt(recipe, found.rows.rows, tmp_path, said.append)
    assert said == [prompt_note(recipe, found.rows.rows)] and not (tmp_path / "compare.md").exists()
    assert said[0].startswith("warning: in 10 of 20 rows (the first is in line 11) the system turn differs")


def test_a_recipe_without_a_prompt_accepts_rows_made_with_the_projects_prompt(tmp_path):
    recipe = recipe_of("pairjudge_tiny", "recipe.template_file=null", f"recipe.system={SYSTEM}")
    rows = [conversation(row, load_template(None), SYSTEM) for row in draw_rows("judgements", 20)]
    found = read(recipe, Path(written(tmp_path / "rows.jsonl", rows)))
    assert prompt_note(recipe, found.rows.rows) is None
