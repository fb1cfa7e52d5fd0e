from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest

import configs
from launch.composition import compose
from launch.configuration import plain
from launch.train_reward import __main__ as train_reward
from launch.train_reward.train_reward_settings import TrainRewardSettings, parts_of
from rewards.builder import ConfigurationError, build, verify
from rewards.training.token_rows import read
from rl.tasks.arithmetic.workshop.training_rows import KINDS, draw_rows

RECIPES = sorted(path.stem for path in (Path(configs.__file__).parent / "recipe").glob("*.yaml"))
TINY = {"prm_tiny": "prm", "orm_tiny": "orm", "bradley_terry_tiny": "pairs", "pairjudge_tiny": "judgements"}


def written(path: Path, rows: list) -> str:
    path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows))
    return str(path)


def recipe_of(name: str, *more: str):
    (run,) = compose([f"recipe={name}", "data=d", "folder=f", *more], "train_reward")
    return build(plain(run.config)["recipe"], "recipe")


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_composes_and_its_keys_fit_its_class(name):
    (run,) = compose([f"recipe={name}", "data=d", "folder=f"], "train_reward")
    config = plain(run.config)
    verify(config["recipe"], "recipe")
    assert {field.name for field in fields(TrainRewardSettings)} == set(config) - {"recipe", "cluster"}
    assert recipe_of(name).model == config["recipe"]["model"]


@pytest.mark.parametrize(("name", "kind"), TINY.items())
def test_no_row_of_the_arithmetic_world_is_rejected(tmp_path, name, kind):
    found = read(recipe_of(name), Path(written(tmp_path / "rows.jsonl", draw_rows(kind, 40))))
    assert found.used == 40 and not list(found.notes())


def test_the_world_s_rows_are_the_same_for_the_same_seed():
    for kind in KINDS:
        assert draw_rows(kind, 3) == draw_rows(kind, 3) != draw_rows(kind, 3, seed=2)


def test_bad_rows_are_rejected_with_line_and_reason(tmp_path):
    good = draw_rows("prm", 6)
    empty = {"conversations": [{"role": "user", "content": " "}, {"role": "assistant", "content": "+"}]}
    long = {"conversations": [{"role": "user", "content": "1 " * 2000}, {"role": "assistant", "content": "+"}]}
    rows = [good[0], "{broken\n", good[1], {**good[2], "source": "x"}, empty, long, *good[3:]]
    found = read(recipe_of("prm_tiny"), Path(written(tmp_path / "rows.jsonl", rows)))
    assert found.used == 6
    assert [reject.line for reject in found.rows.rejects] == [2, 5, 6]
    notes = "\n".join(found.notes())
    assert "not valid JSON" in notes and "step 0 is empty" in notes and "longer than 1024 tokens" in notes
    assert "source (1 rows)" in notes
    assert [reject.row for reject in found.rows.rejects[1:]] == [empty, long]


@pytest.mark.parametrize(("name", "kind", "said"), [("prm", "prm", '"-"'), ("pairjudge", "judgements", ">Incorrect<")])
def test_a_class_counts_as_missing_if_all_its_rows_are_too_long(tmp_path, name, kind, said):
    rows = [json.dumps(row) + "\n" for row in draw_rows(kind, 60)]
    wrong = next(row for row in rows if said in row)
    long = wrong.replace("How many", "1 " * 1024 + "How many", 1)
    data = Path(written(tmp_path / "rows.jsonl", [long, *(row for row in rows if said not in row)]))
    with pytest.raises(ConfigurationError, match=r"rows\.jsonl: no .* nothing to tell apart \(1 rows were set aside"):
        read(recipe_of(f"{name}_tiny"), data)


def test_soft_targets_need_values_that_differ(tmp_path):
    rows = [{**row, "values": [1.0] * (len(row["conversations"]) // 2)} for row in draw_rows("prm", 4)]
    path, soft = tmp_path / "rows.jsonl", recipe_of("prm_tiny", "recipe.targets=soft")
    written(path, draw_rows("prm", 4))
    with pytest.raises(ConfigurationError, match="line 1: there are no values"):
        read(soft, path)
    written(path, rows)
    assert "fields that nothing reads: values (4 rows)" in "".join(read(recipe_of("prm_tiny"), path).notes())
    with pytest.raises(ConfigurationError, match="every step has the value 1: there is nothing to tell apart"):
        read(soft, path)
    rows[0]["values"][0] = 0.5
    written(path, rows)
    assert read(soft, path).used == 4 and not list(read(soft, path).notes())


def test_a_file_with_nothing_to_learn_from_is_refused_before_anything_starts(tmp_path, capsys):
    turns = [{"role": "user", "content": "1 + 1 = 2"}, {"role": "assistant", "content": "+"}]
    data = written(tmp_path / "one.jsonl", [{"conversations": turns}] * 5)
    assert train_reward.main(["recipe=prm_tiny", f"data={data}", f"folder={tmp_path / 'out'}"]) == 2
    assert "one.jsonl: no step is labelled '-'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()  # a corrected file finds its folder free
    bad = written(tmp_path / "bad.jsonl", [{"conversations": turns[:1]}])
    assert train_reward.main(["recipe=prm_tiny", f"data={bad}", f"folder={tmp_path / 'bad'}"]) == 2
    assert "bad.jsonl has no row that can be used; line 1: " in capsys.readouterr().err


def test_files_and_recipes_that_do_not_fit_are_refused(tmp_path):
    data = written(tmp_path / "rows.jsonl", draw_rows("prm", 4))

    def parts(*words: str):
        (run,) = compose([*words, f"folder={tmp_path / 'out'}"], "train_reward")
        return parts_of(plain(run.config), run.choices)

    with pytest.raises(ConfigurationError, match="pairs=FILE is missing"):
        parts("recipe=armorm_tiny", f"data={data}")
    with pytest.raises(ConfigurationError, match="pairs is only for ArmoRM"):
        parts("recipe=prm_tiny", f"data={data}", f"pairs={data}")
    with pytest.raises(ConfigurationError, match="states is only for ArmoRM"):
        parts("recipe=prm_tiny", f"data={data}", "states=s")
    with pytest.raises(FileNotFoundError, match=r"data nowhere\.jsonl: there is no such file"):
        parts("recipe=prm_tiny", "data=nowhere.jsonl")
    with pytest.raises(ConfigurationError, match="only one of them"):
        parts("recipe=prm_tiny", f"data={data}", "recipe.training.batch_tokens=9")
