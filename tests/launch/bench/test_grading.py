from __future__ import annotations

import json

from launch.bench.grading import counts, main

PAIRS = [{"right": True}, {"right": True}, {"right": False}, {"right": False}, {"right": True}]


def test_verdicts_are_counted_as_right_wrongly_accepted_and_wrongly_rejected():
    assert counts(PAIRS, [True, False, True, False, None], range(5)) == "2 / 1 / 2"


def test_an_unknown_option_and_a_missing_file_are_refused(capsys):
    assert main(["pair=x"]) == 2
    assert "there is no option pair" in capsys.readouterr().err
    assert main(["pairs=nowhere.jsonl"]) == 2
    assert "there is no file nowhere.jsonl" in capsys.readouterr().err


def test_the_table_compares_this_grader_with_math_verify(tmp_path, capsys):
    file = tmp_path / "pairs.jsonl"
    pairs = [{"text": r"\boxed{2^{-98}}", "reference": "2^{-99}", "right": False}]
    file.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    assert main([f"pairs={file}"]) == 0
    shown = capsys.readouterr().out
    assert "1 / 0 / 0" in shown
    assert "0 / 1 / 0" in shown
