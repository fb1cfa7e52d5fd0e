"""The documents: their links lead somewhere, and the README's commands run."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import launch.train

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TRAIN = "python -m launch.train "


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and content of each fenced block."""
    return re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[str]:
    """Every command of a page's blocks on one line, without prompt and comment."""
    text = "\n".join(content for language, content in blocks(page) if not language).replace("\\\n", " ")
    lines = [re.split(r"\s#\s", line)[0].strip().removeprefix("$ ") for line in text.splitlines()]
    return [line for line in lines if line.startswith(("python -m", "bash launch"))]


def anchors(page: Path) -> set[str]:
    """What can stand behind a `#` in a link to this page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_has_an_existing_file_and_heading(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(file), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_and_module_named_in_a_document_exists(page: Path) -> None:
    text = page.read_text()
    for name in re.findall(r"`((?:rl|rewards|launch|configs|tests|docs)/[\w./]+)`", text):
        assert "NAME" in name or (ROOT / name).exists(), f"{page.name} names {name}"
    for name in re.findall(r"python -m (launch[\w.]*)", text):
        path = ROOT / name.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), f"{page.name} names {name}"


@pytest.mark.parametrize("command", [one for one in commands(ROOT / "README.md") if one.startswith(TRAIN)])
def test_a_training_command_of_the_readme_passes_every_check(
    command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Checked as a dry run in an empty folder; one command is there to show an error."""
    words = shlex.split(command.removeprefix(TRAIN).replace("...", "").replace("/models/my-policy", "my-policy"))
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "rl/tasks/arithmetic/models/policy", "my-policy")
    config = Path("my-policy/config.json")
    config.write_text(json.dumps(json.loads(config.read_text()) | {"max_position_embeddings": 8192}))
    for name in ("train.jsonl", "test.jsonl"):
        rows = [f'{{"question": "{name}: {n} + 1?", "answer": "#### {n + 1}"}}\n' for n in range(500)]
        (tmp_path / name).write_text("".join(rows))
    code = launch.train.main([*words, "dry_run=true"])
    output = "".join(capsys.readouterr())
    if "algorithm.kll=0.01" in words:
        assert code == 2 and "error: there is no key algorithm.kll; did you mean algorithm.kl?" in output
    else:
        assert code == 0, output
    assert not (tmp_path / "runs").exists(), "a dry run writes nothing"


@pytest.mark.e2e
def test_the_readmes_commands_for_rewards_run_when_shortened(tmp_path: Path) -> None:
    """The same words on less data, one command's output being the next one's input."""
    rows = tmp_path / "responses.jsonl"
    rows.write_text('{"problem": "Tom has 7 apples. Day 1: finds 5. How many?", "responses": ["The answer is: 12"]}\n')
    shorter = {
        "launch.score": [f"input={rows}", "reward=prm"],
        "launch.evaluate": ["problems=2", "rollout.responses=4"],
        "launch.annotate": ["problems=4", "rollout.responses=2", "continuations=2"],
        "launch.train_reward": ["recipe.training.epochs=1"],
        "launch.train": ["debug=tiny"],
    }
    ran = []
    for command in commands(ROOT / "README.md"):
        words = shlex.split(command)
        if words[:2] == ["python", "-m"] and words[2] in shorter and words[2] not in ran:
            ran.append(words[2])
            subprocess.run(
                [sys.executable, *words[1:], *shorter[words[2]]],
                cwd=tmp_path,
                check=True,
                timeout=600,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
    assert set(ran) == set(shorter)


def test_the_python_of_the_readme_runs() -> None:
    (code,) = [content for language, content in blocks(ROOT / "README.md") if language == "python"]
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    steps = eval(done.stdout)
    assert len(steps) == 3 and steps[0] > 0.9 and steps[1] < 0.1, "7 + 5 = 12 is right, 12 / 2 = 7 is wrong"
