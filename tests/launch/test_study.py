"""A study: which runs are left, how they are run, and what is said of them. Stand-ins for runs write a status."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from launch import study, study_runs
from launch.study_runs import Outcome, Point, Runner, name_of, points, require_free
from launch.train import Checked
from rewards.builder import ConfigurationError

CONFIG = {"seed": 1, "updates": 3, "run_dir": None}

STAND_IN = """
import json, pathlib, sys, time
words = sys.argv[1:]
keys = ("run_dir=", "resume=")
folder = pathlib.Path(next(word.split("=", 1)[1].strip("'") for word in words if word.startswith(keys)))
folder.mkdir(parents=True, exist_ok=True)
with open(folder.parent / "calls.txt", "a") as calls:
    calls.write(" ".join(words) + "\\n")
if "fails" in folder.name:
    (folder / "status.json").write_text(json.dumps({"state": "failed", "reason": "out of luck", "seconds": 1}))
    sys.exit(1)
if "refused" in folder.name:
    print("error: there is no such key")
    sys.exit(2)
if "slow" in folder.name:
    time.sleep(60)
ends = {"before": {"accuracy/held_out": 0.25}, "after": {"accuracy/held_out": 0.5}}
(folder / "status.json").write_text(json.dumps({"state": "finished", "seconds": 61, **ends}))
"""


@pytest.fixture(autouse=True)
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN)
    start = study_runs.subprocess.Popen

    def popen(command: list[str], **options: object) -> object:
        return start([sys.executable, str(script), *command[3:]], **options)  # type: ignore[call-overload]

    monkeypatch.setattr(study_runs.subprocess, "Popen", popen)


def checked_runs(*overrides: Sequence[str]) -> list[Checked]:
    return [Checked(tuple(words), {}, CONFIG, None, []) for words in overrides]  # type: ignore[arg-type]


def study_of(folder: Path, *names: str) -> list[Point]:
    return points(checked_runs(*([f"reward={name}"] for name in names)), folder, [])


def calls(folder: Path) -> list[str]:
    file = folder / "calls.txt"
    return file.read_text().splitlines() if file.exists() else []


def run(found: Sequence[Point], jobs: int = 1) -> tuple[list[Outcome], list[str]]:
    said: list[str] = []
    return Runner(found, jobs, said.append).run(), said


def test_runs_are_named_after_the_words_in_which_they_differ(tmp_path: Path) -> None:
    runs = checked_runs(["reward=orm", "updates=3", "seed=1"], ["reward=orm", "updates=3", "seed=2"])
    found = points(runs, tmp_path, ["-m", "--config-dir", "mine"])
    assert [point.name for point in found] == ["seed=1", "seed=2"]
    assert found[0].words[:2] == ("--config-dir", "mine")
    assert found[0].words[-1] == f"run_dir='{tmp_path / 'seed=1'}'"


@pytest.mark.parametrize("text", ["stop=['\n\n']", "a" * 300, "policy.path=/x/y z", "..", "run_dir=ü"])
def test_any_word_becomes_a_short_valid_name_of_its_own(text: str) -> None:
    name = name_of([text])
    assert name == Path(name).name and len(name) <= study_runs.LONGEST_NAME
    assert name != name_of([text + "!"])


def test_the_same_run_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the same: reward=orm"):
        study_of(tmp_path, "orm", "orm")


def test_a_failed_run_is_recorded_with_its_reason_and_the_others_go_on(tmp_path: Path) -> None:
    outcomes, said = run(study_of(tmp_path, "a", "fails", "refused", "b"), jobs=2)
    assert [outcome.state for outcome in outcomes] == ["finished", "failed", "failed", "finished"]
    assert outcomes[1].reason.startswith("out of luck (see ")
    assert outcomes[2].reason.startswith("there is no such key (see ")
    assert (outcomes[0].accuracy, outcomes[0].time) == ("0.250 -> 0.500", "1 min 01 s")
    assert len(said) == 4


def test_given_again_it_runs_only_what_has_not_finished(tmp_path: Path) -> None:
    run(study_of(tmp_path, "a", "fails"))
    before = len(calls(tmp_path))
    outcomes, said = run(study_of(tmp_path, "a", "fails", "b"))
    assert [call.split()[0] for call in calls(tmp_path)[before:]] == ["reward=fails", "reward=b"]
    assert said[0] == "1 of 3 runs have finished before"
    assert [outcome.reason for outcome in outcomes if outcome.finished] == ["before", ""]


def test_an_unfinished_run_is_resumed_from_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "reward=a").mkdir(parents=True)
    monkeypatch.setattr(study_runs, "latest", lambda folder: folder / "checkpoints")
    run(study_of(tmp_path, "a", "b"))
    assert calls(tmp_path)[0] == f"resume='{tmp_path / 'reward=a'}'"


def test_an_unfinished_run_without_a_checkpoint_is_set_aside_and_run_again(tmp_path: Path) -> None:
    for _ in range(3):
        run(study_of(tmp_path, "fails", "a"))
    assert sorted(folder.name for folder in (tmp_path / "set_aside").iterdir()) == ["reward=fails_1", "reward=fails_2"]
    assert (tmp_path / "set_aside" / "reward=fails_1" / "status.json").exists()


def test_a_folder_with_a_run_of_other_settings_is_refused(tmp_path: Path) -> None:
    (point, _) = study_of(tmp_path, "a", "b")
    point.folder.mkdir()
    (point.folder / "config.yaml").write_text(yaml.safe_dump({**CONFIG, "run_dir": "x"}))
    require_free(point)
    (point.folder / "config.yaml").write_text(yaml.safe_dump({**CONFIG, "updates": 4}))
    with pytest.raises(ValueError, match=r"other settings \(updates\)"):
        require_free(point)


def test_a_run_in_progress_is_left_alone(tmp_path: Path) -> None:
    from rl.run.origin import this_process

    (point, _) = study_of(tmp_path, "a", "b")
    point.folder.mkdir()
    (point.folder / "status.json").write_text(json.dumps({"state": "running", "process": this_process()}))
    with pytest.raises(ValueError, match="in progress"):
        require_free(point)


def test_an_interrupt_ends_the_runs_in_progress(tmp_path: Path) -> None:
    def tell(line: str) -> None:
        raise KeyboardInterrupt

    runner = Runner(study_of(tmp_path, "slow", "a"), 2, tell)
    with pytest.raises(KeyboardInterrupt):
        runner.run()
    assert not runner._processes or all(process.poll() is not None for process in runner._processes)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["reward=orm"], "folder is missing"),
        (["folder=x", "jobs=two"], "jobs: expected int"),
        (["folder=x", "jobs=0"], "jobs must be at least 1"),
        (["folder=x", "run_dir=y"], "run_dir=y: a study sets"),
        (["folder=x", "resume=y"], "resume=y: a study sets"),
    ],
)
def test_words_that_cannot_work_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        study.own_words(words)


def test_an_invalid_point_is_refused_before_any_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert study.main([f"folder={tmp_path / 'study'}", "algorithm.kl=0,high"]) == 2
    assert capsys.readouterr().err.startswith("error: run 2 of 2")
    assert not (tmp_path / "study").exists()
