"""The comparison of runs: what it says, and which folders it leaves out aloud."""

import json
from pathlib import Path

import pytest
import yaml

from launch import report


def write_run(folder: Path, accuracies: list[float], choices: dict | None = None, config: dict | None = None) -> Path:
    """A made-up run; with `choices`, one that says what it was made with."""
    folder.mkdir()
    if choices is not None:
        (folder / "origin.json").write_text(json.dumps({"choices": choices}))
        (folder / "config.yaml").write_text(yaml.safe_dump({"run_dir": str(folder), "resume": None, **(config or {})}))
    rows = [
        {"update": 5 * index, "seconds": 61.0 * index, "accuracy/held_out": value, "reward/held_out": 1 - value}
        for index, value in enumerate(accuracies)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_the_table_shows_accuracy_and_reward_before_and_after(tmp_path: Path) -> None:
    write_run(tmp_path / "2026-01-01_00-00-00_grpo_prm_arithmetic_seed2", [0.4, 0.5, 0.75])
    runs, left_out = report.read_all(list(tmp_path.iterdir()))
    assert not left_out
    line = report.table(runs).splitlines()[-1]
    assert line.startswith("| grpo_prm_arithmetic | 2 | 10 | 0.400 -> 0.750 | +0.350 | 0.600 -> 0.250 |")
    assert "2 min 2 s" in line


def test_a_folder_without_two_evaluations_is_named_and_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "good", [0.1, 0.2])
    write_run(tmp_path / "short", [0.1])
    assert report.main([str(tmp_path / "good"), str(tmp_path / "short"), str(tmp_path / "missing")]) == 0
    errors = capsys.readouterr().err
    assert "short: fewer than two evaluations" in errors
    assert "missing" in errors


GOOD_ROW = '{"update": 1, "seconds": 1.0, "accuracy/held_out": 0.5}\n'
SPOILT = {
    "metrics.jsonl": {
        "": "fewer than two evaluations",
        "[]\n": "metrics.jsonl, line 1 is not a JSON object",
        "{\n" + 2 * GOOD_ROW: "metrics.jsonl, line 1 is not JSON",
        "[" * 100_000 + "\n": "metrics.jsonl, line 1 is not JSON",
        2 * GOOD_ROW + '{"seconds": 3.0}\n': "metrics.jsonl, line 3 does not give an update and seconds",
        2 * GOOD_ROW + '{"update": 3}\n': "metrics.jsonl, line 3 does not give an update and seconds",
        2 * GOOD_ROW.replace("1.0", '"now"'): "metrics.jsonl, line 1 does not give an update and seconds",
        2 * GOOD_ROW.replace("0.5", "null"): "fewer than two evaluations",
        2 * GOOD_ROW.replace("0.5", '"high"'): "fewer than two evaluations",
        b"\xff\xfe": "metrics.jsonl is not UTF-8 text",
        None: "metrics.jsonl is not a file",
    },
    "origin.json": {
        "": "origin.json is not JSON",
        "[]": "origin.json does not give the choices as a mapping of names",
        '{"choices": ["grpo"]}': "origin.json does not give the choices as a mapping of names",
        '{"choices": {"reward": {"a": 1}}}': "origin.json does not give the choices as a mapping of names",
        '{"choices"': "origin.json is not JSON",
        b"\xff": "origin.json is not UTF-8 text",
    },
    "config.yaml": {
        "- 1": "config.yaml is not a mapping",
        "": "config.yaml is not a mapping",
        "a: [": "config.yaml is not YAML",
        "a: !!python/object:os.system {}": "config.yaml is not YAML",
        b"\xff": "config.yaml is not UTF-8 text",
        None: "config.yaml is not a file",
    },
}


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [(name, content, reason) for name, contents in SPOILT.items() for content, reason in contents.items()],
)
def test_a_foreign_or_damaged_folder_is_left_out_with_a_one_line_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: str | bytes | None, reason: str
) -> None:
    good, bad = (write_run(tmp_path / one, [0.1, 0.2], {"reward": "prm"}) for one in ("good", "bad"))
    (bad / name).unlink()
    if content is None:
        (bad / name).mkdir()
    else:
        (bad / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    for words in ([], ["--matrix"]):
        assert report.main([str(good), str(bad), *words]) == 0
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith(f"left out: {bad}: ") and reason in line


def test_folders_that_are_not_runs_are_left_out_with_one_line_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, empty = tmp_path / "file", tmp_path / "empty"
    file.write_text("x")
    empty.mkdir()
    assert report.main([str(file), str(empty), str(tmp_path / "missing")]) == 2
    first, second, third, error = capsys.readouterr().err.splitlines()
    assert first == f"left out: {file}: there is no such folder"
    assert second.startswith(f"left out: {empty}: there is no metrics.jsonl")
    assert third == f"left out: {tmp_path / 'missing'}: there is no such folder"
    assert error.startswith("error: ")


def test_a_run_that_is_being_written_is_read_up_to_its_last_whole_line(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", [0.1, 0.2])
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"update": 99, "sec')
    [found], left_out = report.read_all([run])
    assert not left_out and [row["update"] for row in found.rows] == [0, 5]


def test_a_run_whose_kl_cannot_be_measured_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", [0.1, 0.2], {"reward": "prm"})
    assert report.main([str(run), "--matrix", "--kl"]) == 2
    first, last = capsys.readouterr().err.splitlines()
    assert first == f"left out: {run}: its KL cannot be measured: config.yaml lacks 'policy'"
    assert last.startswith("error: ")


def test_a_plot_that_cannot_be_written_is_a_one_line_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", [0.1, 0.2])
    assert report.main([str(run), "--plot", str(tmp_path / "no" / "curves.png")]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --plot ")


def test_no_run_at_all_is_an_error(tmp_path: Path) -> None:
    assert report.main([str(tmp_path)]) == 2


def test_the_plot_is_an_image_file(tmp_path: Path) -> None:
    run = write_run(tmp_path / "grpo_orm_seed1", [0.4, 0.6])
    assert report.main([str(run), "--plot", str(tmp_path / "curves.png")]) == 0
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def shown(tmp_path: Path, capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert report.main([*map(str, sorted(tmp_path.iterdir())), *words]) == 0
    return capsys.readouterr().out.splitlines()


def grpo(reward: str = "prm", task: str = "arithmetic", algorithm: str = "grpo") -> dict[str, str]:
    return {"algorithm": algorithm, "reward": reward, "task": task}


def config(seed: int, learning_rate: float = 5e-4, **more: object) -> dict:
    return {"seed": seed, "updates": 20, "learner": {"learning_rate": learning_rate}, **more}


def test_the_matrix_has_rewards_and_algorithms_and_separate_seeds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "a", [0.4, 0.8], grpo("verifier"), config(1))
    write_run(tmp_path / "b", [0.4, 0.7], grpo("verifier"), config(2))
    write_run(tmp_path / "c_ppo_orm_gsm8k_seed7", [0.4, 0.5], grpo("prm_steps", algorithm="dpo"), config(1))
    lines = shown(tmp_path, capsys, "--matrix")
    assert lines[0] == "| reward | grpo | dpo |"
    assert lines[2] == "| verifier | 0.400 -> 0.750 (+0.400, +0.300) | - |"
    assert lines[3] == "| prm_steps | - | 0.400 -> 0.500 (+0.100) |"
    (line,) = [line for line in lines if line.startswith("| verifier | grpo | 1, 2 |")]
    assert "0.600 -> 0.250" in line


def test_the_row_of_a_sweep_names_its_reward(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "a", [0.4, 0.8], grpo("prm") | {"experiment/row": "prm_steps"}, config(1))
    assert shown(tmp_path, capsys, "--matrix")[2].startswith("| prm_steps |")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"learning_rate": 1e-3}, "learner.learning_rate=0.001"),
        ({"algorithm": {"kl": 0.1}}, "algorithm.kl=0.1"),
        ({"reward": {"aggregation": "min"}}, "reward.aggregation=min"),
    ],
)
def test_runs_with_different_settings_are_never_averaged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: dict, said: str
) -> None:
    write_run(tmp_path / "a", [0.4, 0.5], grpo(), config(1))
    write_run(tmp_path / "b", [0.4, 0.9], grpo(), config(1, **more))
    lines = shown(tmp_path, capsys, "--matrix")
    assert any(said in line and "0.400 -> 0.900 (+0.500)" in line for line in lines)
    assert any(said not in line and "0.400 -> 0.500 (+0.100)" in line for line in lines)
    assert any(said in line for line in shown(tmp_path, capsys)), "the plain table tells them apart too"


def test_runs_of_different_lengths_are_never_averaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "a", [0.4, 0.5], grpo(), config(1))
    write_run(tmp_path / "b", [0.4, 0.5, 0.9], grpo(), config(2))
    assert sum("prm updates=" in line for line in shown(tmp_path, capsys, "--matrix")) == 4


def test_runs_of_different_tasks_are_separate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "a", [0.4, 0.5], grpo(), config(1))
    write_run(tmp_path / "b", [0.4, 0.9], grpo(task="gsm8k"), config(2))
    lines = shown(tmp_path, capsys, "--matrix")
    assert lines[2].startswith("| prm arithmetic | 0.400 -> 0.500") and lines[3].startswith("| prm gsm8k |")


def test_seeds_and_irrelevant_keys_do_not_make_another_setting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "a", [0.4, 0.5], grpo(), config(1, logger={"progress": "live"}, cluster={"num_cpus": 2}))
    write_run(tmp_path / "b", [0.4, 0.7], grpo(), config(10, logger={"progress": "none"}, cluster={"num_cpus": 8}))
    write_run(tmp_path / "c", [0.4, 0.6], grpo(), config(2))
    assert shown(tmp_path, capsys, "--matrix")[2] == "| prm | 0.400 -> 0.600 (+0.100, +0.200, +0.300) |"


def test_a_run_that_repeats_another_is_counted_once_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        write_run(tmp_path / name, [0.4, 0.5], grpo(), config(1))
    lines = shown(tmp_path, capsys, "--matrix")
    assert lines[2] == "| prm | 0.400 -> 0.500 (+0.100) |"
    assert lines[-1] == f"left out: {tmp_path / 'b'} repeats the settings and the seed of {tmp_path / 'a'}"


def test_a_run_that_does_not_say_what_was_chosen_is_named_and_left_out_of_the_matrix(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "grpo_prm_arithmetic_seed1", [0.4, 0.5])
    assert report.main([str(tmp_path / "grpo_prm_arithmetic_seed1"), "--matrix"]) == 2
    assert "seed1: its files do not say which options were chosen" in capsys.readouterr().err


def test_the_matrix_includes_the_kl() -> None:
    with pytest.raises(SystemExit):
        report.main(["folder", "--kl"])
