"""What all commands that write a file or folder have in common, on a command that does nothing."""

from __future__ import annotations

import pytest

from launch.command import Command

WORDS = ["reward=verifier", "input=rows.jsonl", "output=scores.jsonl"]


@pytest.fixture
def command(tmp_path):
    class Nothing(Command):
        """Raises `error` while it is checked or while it runs."""

        name, help = "score", "What nothing does."
        checking = running = None
        runs = 0

        def __init__(self, composed):
            self.composed, self.kept, self.log = composed, tmp_path / "kept", tmp_path / "logs" / "nothing.log"
            if self.checking:
                raise self.checking

        def run(self, console):
            type(self).runs += 1
            print("a library's noise")
            if self.running:
                raise self.running
            console.print("done")

    return Nothing


def test_library_output_goes_to_the_commands_log(command, tmp_path, capfd):
    assert command.main(WORDS) == 0
    assert capfd.readouterr().out == "done\n"
    assert (tmp_path / "logs" / "nothing.log").read_text() == "a library's noise\n"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ValueError("seed must be 1\na traceback"), 2, "error: seed must be 1\n"),
        (FileNotFoundError("no rows.jsonl"), 2, "error: no rows.jsonl\n"),
        (KeyboardInterrupt(), 130, "before anything was done\n"),
    ],
)
def test_an_invalid_setup_is_a_one_line_error_and_nothing_runs(command, capfd, tmp_path, error, code, said):
    command.checking = error
    assert command.main(WORDS) == code
    assert capfd.readouterr().err.endswith(said)
    assert command.runs == 0 and not list(tmp_path.iterdir())


@pytest.mark.parametrize(("error", "code"), [(RuntimeError("out of [red]memory"), 1), (KeyboardInterrupt(), 130)])
def test_a_stopped_command_says_why_and_how_to_resume(command, capfd, tmp_path, error, code):
    command.running = error
    assert command.main(WORDS) == code
    first, second = capfd.readouterr().out.splitlines()
    assert first.startswith("error: ") and str(error) in first
    assert second.strip() == f"progress is saved in {tmp_path / 'kept'}; run the same command to resume"


@pytest.mark.parametrize(("word", "shown"), [("--help", "What nothing does."), ("--cfg=job", "output: scores.jsonl")])
def test_flags_that_only_show_something_check_and_start_nothing(command, capfd, word, shown):
    command.checking = ValueError("checked")
    assert command.main([*WORDS, word]) == 0
    assert shown in capfd.readouterr().out


def test_finished_work_is_not_done_again(command, capfd):
    command.nothing_to_do = "it is finished already"
    assert command.main(WORDS) == 0
    assert capfd.readouterr().out == "it is finished already\n" and command.runs == 0


def test_a_sweep_is_refused(command, capfd):
    assert command.main([*WORDS, "-m", "batch=1,2"]) == 2
    assert "launch.score does not run sweeps" in capfd.readouterr().err
