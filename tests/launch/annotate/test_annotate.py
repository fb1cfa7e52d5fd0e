from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

import configs
from launch.annotate import __main__ as annotate
from launch.annotate.__main__ import main
from launch.annotate.annotate_settings import AnnotateSettings, make_reward
from launch.composition import compose
from launch.configuration import plain
from rewards.builder import ConfigurationError
from rewards.types import Problem
from rewards.verifier import grade as equals
from rl.policy import prompt_ids
from rl.tasks.arithmetic import ArithmeticTask
from rl.types import AnswerGroup, Sample
from tests.tiny import make_tokenizer


class World:
    """A sampler whose responses to `N + 1?` are `so` and an answer: from a seed, the call and the beginning alone.

    A beginning with `lost` never comes right, one with `sure` always, another one by chance. `fails` names the seed of
    the call that is interrupted.
    """

    fails: int | None = None
    calls: list[tuple[str, int]] = []  # noqa: RUF012
    cached = 0

    def __init__(self, *_: object, **__: object) -> None:
        self.tokenizer = make_tokenizer()

    def sample(self, problems, n, *, seed, **_):
        self._count("sample", len(problems), seed)
        groups = []
        for problem in problems:
            rng = random.Random(f"{seed} {problem.id}")
            word = [rng.choice(["lost", "sure", "perhaps"]) for _ in range(n)]
            texts = [f"so {one}\nstep {one}\nA: {self._answer(problem.text, one, rng)}" for one in word]
            groups.append(AnswerGroup.drawn(problem, [self._sample(text) for text in texts]))
        return groups

    def continue_from(self, beginnings, n, *, seed, **_):
        self._count("continue", len(beginnings), seed)
        found = []
        for ids in beginnings:
            text = self.tokenizer.decode(list(ids), skip_special_tokens=True)
            rng = random.Random(f"{seed} {text}")
            word = "lost" if "lost" in text else "sure" if "sure" in text else "perhaps"
            found.append([self._sample(f"A: {self._answer(text, word, rng)}") for _ in range(n)])
        return found

    def wait(self) -> None:
        pass

    def shutdown(self) -> None:
        pass

    def forget_prefixes(self) -> None:
        World.cached += 1

    def _answer(self, text: str, word: str, rng: random.Random) -> int:
        right = int(text.split(" + ")[0].split()[-1].removeprefix("user")) + 1
        return {"lost": right + 1, "sure": right}.get(word, right + rng.randrange(2))

    def _count(self, what: str, size: int, seed: int) -> None:
        if seed == World.fails:
            raise KeyboardInterrupt
        World.calls.append((what, size))

    def _sample(self, text: str) -> Sample:
        return Sample((1,), (2,), (0.0,), text, "stop", 0)


@pytest.fixture
def world(monkeypatch):
    monkeypatch.setattr("rl.sample_file.SamplerGroup", World)
    monkeypatch.setattr("rl.sample_file.start_cluster", lambda *_: None)
    monkeypatch.setattr("rl.sample_file.stop_cluster", lambda: None)
    monkeypatch.setattr(World, "calls", [])
    monkeypatch.setattr(World, "fails", None)
    return World


def problems(tmp_path: Path, *rows: object) -> Path:
    file = tmp_path / "problems.jsonl"
    file.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return file


def many(tmp_path: Path) -> Path:
    return problems(tmp_path, *[{"id": f"p{n}", "problem": f"{n} + 1?", "answer": f"{n + 1}"} for n in range(10)])


def words(folder: Path, source: Path, policy: str, *more: str) -> list[str]:
    small = ["rollout.problems=3", "rollout.responses=4", "continuations=4"]
    return [f"folder={folder}", f"input={source}", f"policy.path={policy}", *small, *more]


def rows_of(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.open()]


def test_one_command_labels_every_step_and_writes_all_forms(world, tmp_path, policy, capfd):
    folder = tmp_path / "found"
    assert main(words(folder, many(tmp_path), policy, "judge=verified", "keep_duplicates=true")) == 0
    records = rows_of(folder / "annotated.jsonl")
    assert len(records) == 10 and all(len(record["answers"]) == 4 for record in records)
    assert world.calls[::2] == [("sample", 3)] * 3 + [("sample", 1)]  # two calls a batch, whatever its number of steps
    assert len(world.calls) == 8
    for record in records:
        for text, values, label in zip(record["answers"], record["step_values"], record["label"], strict=True):
            assert len(values) == 3 and values[-1] == label
            if "perhaps" not in text:
                assert set(values) == ({0.0} if "lost" in text else {1.0})
    assert len(rows_of(folder / "prm.jsonl")) == len(rows_of(folder / "orm.jsonl")) == 40
    assert all(
        row["conversations"][-1]["content"].endswith("</resp_b_judge>") for row in rows_of(folder / "judge.jsonl")
    )
    out = capfd.readouterr().out
    assert "annotated: 10/10 problems" in out and "problems/min" in out and "s left" in out
    assert json.loads((folder / "report.json").read_text())["steps"] == 120


def test_identical_beginnings_of_a_problem_are_continued_only_once(world, tmp_path, policy):
    main(words(tmp_path / "found", many(tmp_path), policy, "keep_duplicates=true", "rollout.responses=40"))
    continued = [size for what, size in world.calls if what == "continue"]
    assert max(continued) <= 3 * 3 * 2  # problems, kinds of solution, steps but the last


def test_labels_equal_those_of_a_loop_over_every_step_and_continuation(world, tmp_path, policy):
    main(words(tmp_path / "found", many(tmp_path), policy))
    sampler, checked = World(), 0
    for place, record in enumerate(rows_of(tmp_path / "found" / "annotated.jsonl")):
        prompt = prompt_ids(sampler.tokenizer, Problem(record["id"], record["prompt"]))
        for text, values in zip(record["answers"], record["step_values"], strict=True):
            pieces = text.split("\n")
            for step, value in enumerate(values[:-1], start=1):
                start = "\n".join(pieces[:step]) + "\n"
                ids = prompt + tuple(sampler.tokenizer(start, add_special_tokens=False)["input_ids"])
                [drawn] = sampler.continue_from([ids], 4, seed=1_000_003 + 2 * (place // 3) + 1)
                right = [equals(start + one.text, record["answer"]) for one in drawn]
                assert value == sum(right) / 4
                checked += 0 < value < 1
    assert checked > 3


def test_duplicate_solutions_are_kept_only_on_request(world, tmp_path, policy):
    main(words(tmp_path / "found", many(tmp_path), policy, "rollout.responses=9"))
    for record in rows_of(tmp_path / "found" / "annotated.jsonl"):
        assert len(set(record["answers"])) == len(record["answers"])
        assert len(record["answers"]) + len(record["left_out"]) == 9


@pytest.mark.parametrize("fails", [2, 4, 5])
def test_an_interruption_loses_only_one_batch_and_does_not_change_the_result(
    world, tmp_path, policy, monkeypatch, fails
):
    source = many(tmp_path)
    assert main(words(tmp_path / "whole", source, policy, "judge=verified")) == 0
    monkeypatch.setattr(world, "fails", 1_000_003 + fails)
    folder = tmp_path / "stopped"
    assert main(words(folder, source, policy, "judge=verified")) == 130
    assert len(rows_of(folder / "annotated.jsonl")) == 3 * (fails // 2)
    with (folder / "annotated.jsonl").open("a") as file:
        file.write('{"id": "cut sho')
    monkeypatch.setattr(world, "fails", None)
    world.calls.clear()
    assert main(words(folder, source, policy, "judge=verified")) == 0
    assert len(world.calls) == 2 * (4 - fails // 2)
    for name in ("annotated.jsonl", "prm.jsonl", "orm.jsonl", "judge.jsonl", "report.json"):
        assert (folder / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_labels_and_judge_can_change_without_sampling_again(world, tmp_path, policy):
    source, folder = many(tmp_path), tmp_path / "found"
    main(words(folder, source, policy))
    world.calls.clear()
    assert main(words(folder, source, policy, "labels=soft", "judge=verified")) == 0
    assert world.calls == []
    assert all(len(row["values"]) == 3 for row in rows_of(folder / "prm.jsonl"))


def test_a_folder_with_another_annotation_is_refused(world, tmp_path, policy, capsys):
    source, folder = many(tmp_path), tmp_path / "found"
    main(words(folder, source, policy))
    assert main(words(folder, source, policy, "seed=2", "rollout.top_p=0.5")) == 2
    assert "contains an annotation that differs in seed, rollout" in capsys.readouterr().err


def test_solutions_in_a_file_are_labelled_and_no_others_are_drawn(world, tmp_path, policy):
    row = {"prompt": "4 + 1?", "answers": ["so sure\n\nA: 5", "so lost\n\nA: 6"], "answer": "#### 5", "label": [1, 0]}
    folder = tmp_path / "found"
    assert main(words(folder, problems(tmp_path, row), policy, "splitter=blank_line")) == 0
    [record] = rows_of(folder / "annotated.jsonl")
    assert record["step_values"] == [[1.0, 1.0], [0.0, 0.0]]
    assert world.calls == [("continue", 2)]


def test_bad_rows_are_reported_and_rejected_and_the_others_are_annotated(world, tmp_path, policy, capfd):
    good = {"problem": "4 + 1?", "answers": ["so sure\n\nA: 5"], "answer": "5"}
    source = problems(
        tmp_path,
        good,
        "{broken",
        {"problem": "1 + 1?"},
        {"problem": "1 + 1?", "steps": ["so", " "], "answer": 2},
        good | {"answers": ["so sure\n\n\n\nA: 5", "", 7]},
        good | {"answers": ["so sure\n\n\n\nA: 5", ""]},
        good | {"problem": "words " * 400},
        good | {"problem": " "},
        good | {"answers": []},
        good | {"answer": [5]},
        good | {"colour": "red"},
        good | {"answers": ["so sure " * 900 + "\n\nA: 5"]},
        good | {"label": [1, 0]},
        {"problem": "4 + 1?", "steps": ["so sure", "A: 5"], "labels": [1, 1], "answer": "5"},  # of the steps
    )
    folder = tmp_path / "found"
    assert main(words(folder, source, policy, "splitter=blank_line")) == 0
    rejects = {(row["line"], row["reason"]) for row in rows_of(folder / "rejects.jsonl")}
    reasons = dict(sorted(rejects))
    assert "not valid JSON" in reasons[2]
    assert "no reference answer" in reasons[3]
    assert reasons[4] == "step 1 is empty"
    assert reasons[5] == "every response must be a text: response 2 is not"
    assert {reason for line, reason in rejects if line == 6} == {
        "answer 0: step 1 is empty: 1 empty steps were left out",
        "answer 1: it has no steps",
    }
    assert "the prompt has" in reasons[7]
    assert reasons[8] == "the prompt is empty"
    assert reasons[9] == "the list of answers is empty"
    assert "answer must be text or a number" in reasons[10]
    assert "do not fit into rollout.max_model_len" in reasons[12]
    assert reasons[13] == "1 answers but 2 labels"
    assert [record["line"] for record in rows_of(folder / "annotated.jsonl")] == [1, 6, 11, 12, 14]
    assert len(rows_of(folder / "prm.jsonl")) == 4
    out = capfd.readouterr().out
    assert "9 rows could not be used: see rejects.jsonl" in out
    assert "3 given solutions, or parts of them, were left out: see rejects.jsonl" in out
    assert json.loads((folder / "report.json").read_text())["rejects"] == {"rows": 9, "solutions": 3}
    assert f"{source}, line 2: not valid JSON" in out
    for name, line in (("colour", 11), ("label", 13), ("labels", 14)):
        assert f"{name} (1 rows) first in line {line}" in out


def test_rows_of_a_list_on_one_line_keep_their_own_solutions(world, tmp_path, policy):
    row = {"problem": "4 + 1?", "answers": ["so sure\n\nA: 5", ""], "answer": "5"}
    source = tmp_path / "list.json"
    source.write_text(json.dumps([row, {**row, "answers": ["A: 5"]}, {**row, "answers": ["A: 6", " "]}]))
    folder = tmp_path / "found"
    assert main(words(folder, source, policy, "splitter=blank_line")) == 0
    assert [(one["line"], one["row"]) for one in rows_of(folder / "rejects.jsonl")] == [(1, ""), (1, " ")]


def test_all_rows_of_a_file_are_annotated_by_default_and_rows_left_out_are_reported(world, tmp_path, policy, capfd):
    assert main(words(tmp_path / "few", many(tmp_path), policy, "problems=4")) == 0
    out = capfd.readouterr().out
    assert "annotated: 4/4 problems" in out
    cut = "problems=4: 4 of the 10 usable problems of"
    assert out.index(cut) < out.index("annotated: 3/4") < out.rindex(cut)
    assert main(words(tmp_path / "all", many(tmp_path), policy)) == 0
    out = capfd.readouterr().out
    assert "annotated: 10/10 problems" in out and "problems=" not in out


def test_problems_may_change_if_that_selects_the_same_problems_and_otherwise_is_refused(
    world, tmp_path, policy, capsys
):
    source, folder = many(tmp_path), tmp_path / "found"
    assert main(words(folder, source, policy)) == 0
    world.calls.clear()
    assert main(words(folder, source, policy, "problems=200")) == 0 and world.calls == []
    assert main(words(folder, source, policy, "problems=4")) == 2
    assert "contains an annotation that differs in problems" in capsys.readouterr().err


def test_an_input_without_a_usable_row_is_refused(world, tmp_path, policy, capsys):
    assert main(words(tmp_path / "found", problems(tmp_path, {"problem": "1 + 1?"}), policy)) == 2
    assert "no usable problem: line 1: no reference answer" in capsys.readouterr().err
    assert not (tmp_path / "found").exists()  # so that the same command works when the file does


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("continuations=0", "continuations must be at least 1, not 0"),
        ("continuations=many", "continuations: expected int, got 'many'"),
        ("labels=harsh", "labels: expected one of hard, soft"),
        ("splitter=regex", "splitter=regex needs pattern"),
        ("continuation=3", "there is no key continuation; did you mean continuations?"),
        ("+colour=red", "unknown key colour"),
        ("input=nowhere.jsonl", "input nowhere.jsonl: there is no such file"),
        ("judge_template=x.md", "judge_template is only for judge=verified"),
        ("policy.path=nowhere", "policy.path: there is no model folder nowhere"),
    ],
)
def test_a_wrong_key_is_a_one_line_error_before_anything_starts(tmp_path, policy, word, message, capsys):
    assert main([f"folder={tmp_path / 'found'}", f"policy.path={policy}", word]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "found").exists()


def test_every_key_is_in_the_root_file_with_its_default_and_a_comment():
    text = (Path(configs.__file__).parent / "annotate.yaml").read_text()
    [run] = compose(["folder=x"], "annotate")
    config = plain(run.config)
    for name, value in vars(AnnotateSettings(folder="x")).items():
        assert config[name] == value
        assert any(line.startswith(f"{name}:") and " # " in line for line in text.splitlines())


@pytest.mark.e2e
def test_the_shipped_policy_labels_steps_as_the_worlds_own_verifier_does(tmp_path):
    small = ["problems=24", "rollout.problems=24", "rollout.responses=4", "continuations=8"]
    assert main([f"folder={tmp_path / 'a'}", *small, "judge=verified"]) == 0
    found = json.loads((tmp_path / "a" / "report.json").read_text())
    assert found["problems"] == 24 and found["agreement"]["steps"] == found["steps"] > 200
    assert found["agreement"]["agree"] > 0.8
    assert found["agreement"]["right_step_called_wrong"] < 0.1
    grade = ArithmeticTask().grade
    stream = ArithmeticTask().train_problems(1)
    for record, problem in zip(rows_of(tmp_path / "a" / "annotated.jsonl"), stream, strict=False):
        assert record["label"] == [grade(problem, text) for text in record["answers"]]
    assert annotate.figures(rows_of(tmp_path / "a" / "annotated.jsonl"))["agreement"] == found["agreement"]


def test_a_reward_that_does_not_compare_responses_cannot_be_the_judge():
    with pytest.raises(ConfigurationError, match="judge=verifier does not compare responses"):
        make_reward(AnnotateSettings(folder="unused", judge="verifier"), [])
    with pytest.raises(ConfigurationError, match="there is no reward 'pairjuge'"):
        make_reward(AnnotateSettings(folder="unused", judge="pairjuge"), [])
