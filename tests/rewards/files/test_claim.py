from __future__ import annotations

import pytest

from rewards.files.claim import Claim


def claim(folder, **made_from) -> Claim:
    return Claim(folder, made_from, "made_from.json", "training")


def test_the_same_work_may_continue_in_its_folder(tmp_path):
    claim(tmp_path / "new", seed=1, steps=(1, 2)).take()
    claim(tmp_path / "new", seed=1, steps=(1, 2)).take()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["made_from.json"]


def test_other_work_is_refused_with_every_key_that_differs_and_the_mark_stays(tmp_path):
    claim(tmp_path, seed=1, old=2, same=3).take()
    before = (tmp_path / "made_from.json").read_text()
    with pytest.raises(ValueError, match="contains a training that differs in seed, old, new: choose another name, or"):
        claim(tmp_path, seed=2, new=1, same=3).take()
    assert (tmp_path / "made_from.json").read_text() == before


def test_a_folder_that_contains_something_else_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not empty and does not contain a training"):
        claim(tmp_path, seed=1).take()


def test_an_empty_folder_is_a_new_one(tmp_path):
    assert claim(tmp_path, seed=1).differences() == []
