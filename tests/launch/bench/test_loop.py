"""The benchmark of the whole loop: what it asks of both sides, how they take turns, and how it reports."""

import json
from pathlib import Path

import pytest

from launch.bench import loop, our_loop, trl_loop
from rl.tasks.arithmetic import ArithmeticTask


def job(*words: str, algorithm: str = "grpo") -> dict:
    return loop.job_of(loop.parse(words), "tiny", algorithm)


def test_both_sides_get_the_same_problems_in_the_same_order() -> None:
    asked = job("--problems=4", "--updates=3", "--seed=7")
    stream = ArithmeticTask().train_problems(7)
    assert [row["messages"] for row in asked["prompts"]] == [next(stream).messages for _ in range(12)]
    assert len(trl_loop.prompts(asked)) == 12


def test_dpo_draws_two_responses_per_prompt_and_the_same_number_of_samples() -> None:
    assert (job()["problems"], job()["responses"]) == (32, 8)
    pairs = job(algorithm="dpo")
    assert (pairs["problems"], pairs["responses"]) == (128, 2)
    with pytest.raises(ValueError, match="--responses"):
        job("--responses=4", algorithm="dpo")


@pytest.mark.parametrize("words", [["--updates=1"], ["--repetitions=0"], ["--models=other"], ["--micro-batches=0"]])
def test_options_that_cannot_work_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        loop.parse(words)
    assert words[0].split("=")[0] in capsys.readouterr().err


def test_trl_uses_this_projects_verifier() -> None:
    said = [[{"role": "assistant", "content": "so 3\nThe answer is: 3"}], [{"role": "assistant", "content": "3"}]]
    assert trl_loop.correct([], said, ["3", "3"]) == [1.0, 0.0]
    assert trl_loop.correct([], ["The answer is: 4"], ["3"]) == [0.0]


@pytest.mark.parametrize(("algorithm", "micro_batch", "steps"), [("grpo", 4, 2), ("grpo", 8, 1), ("dpo", 2, 4)])
def test_one_optimizer_step_uses_all_samples(algorithm: str, micro_batch: int, steps: int) -> None:
    asked = {**job("--problems=4", "--responses=2"), "algorithm": algorithm, "micro_batch": micro_batch}
    rows = 8
    assert trl_loop.common(asked, "folder", rows)["gradient_accumulation_steps"] == steps


def test_both_sides_take_turns_after_the_best_micro_batch_size_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    pace = {2: 3.0, 4: 1.0, 8: 2.0}

    def ours(job: dict, words: tuple[str, ...], folder: Path) -> list[float]:
        asked.append(f"ours {words[-1]}")
        return [0.5, 0.25, 0.5]

    def trl(job: dict, folder: Path) -> list[float]:
        asked.append(f"trl {job['micro_batch']}{' bf16' if job['bf16'] else ''}")
        return [pace[job["micro_batch"]]] * (job["updates"] - 1)

    monkeypatch.setattr(loop, "our_seconds", ours)
    monkeypatch.setattr(loop, "trl_seconds", trl)
    words = ["--problems=4", "--responses=2", "--updates=4", "--bf16", "--ours=cluster.threads=2"]
    words += ["--micro-batches", "2", "3", "4", "8"]
    found = loop.compare(loop.parse(words), "tiny", "grpo")
    turn = ["ours task=arithmetic", "ours cluster.threads=2", "trl 4", "trl 4 bf16"]
    assert asked == ["trl 2", "trl 4", "trl 8", *turn, *turn], "a micro-batch must divide the eight samples"
    assert found.micro_batch == 4
    text = loop.markdown([found], {"machine": "two cores"})
    assert "| TRL fp32 | 1.00 (1.00 to 1.00) | 6 | 8.0 | 1.00 |" in text
    assert "| this project cluster.threads=2 | 0.50 (0.25 to 0.50) | 6 | 16.0 | 2.00 |" in text


def test_seconds_per_update_are_the_time_between_ends_of_updates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], variables: dict[str, str]) -> None:
        commands.append(command)
        folder = next(Path(word.split("=")[1]) for word in command if word.startswith("run_dir="))
        folder.mkdir()
        rows = [{"update": 0, "seconds": 9.0}] + [
            {"update": n, "seconds": 10.0 + n * n, "time/learn": 1.0} for n in (1, 2, 3)
        ]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    monkeypatch.setattr(our_loop, "finished", run)
    assert loop.our_seconds(job("--problems=2"), ("policy=tiny", "algorithm.kl=0"), tmp_path) == [3.0, 5.0]
    words = commands[0]
    assert "rollout.problems=2" in words and "reward=verifier" in words
    assert [word for word in words if word.startswith("algorithm.kl")] == ["algorithm.kl=0"], "a given word wins"


def test_a_failed_process_is_reported_in_one_line() -> None:
    import sys

    with pytest.raises(RuntimeError, match=r"-c .* ended with exit code 3: because"):
        loop.finished([sys.executable, "-c", "import sys; print('because', file=sys.stderr); sys.exit(3)"], {})
