"""A rubric that a problem lacks, or that cannot be used, is found before a run starts."""

from __future__ import annotations

import json

import pytest

from launch import configuration
from launch.composition import compose
from rewards.builder import ConfigurationError

URL = "http://127.0.0.1:1/v1/chat/completions"
GOOD = [{"name": "two", "text": "Does it say two?"}]


@pytest.fixture
def run(tmp_path, policy):
    def run(rubric, *words: str):
        for name in ("train", "test"):
            rows = [{"problem": f"{name} {n}?", "answer": str(n), "rubric": rubric} for n in range(40)]
            (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        task = ["task=jsonl", f"task.train={tmp_path / 'train.jsonl'}", f"task.held_out={tmp_path / 'test.jsonl'}"]
        more = [f"policy.path={policy}", "evaluate_problems=8", "rollout.problems=8", "rollout.max_model_len=512"]
        more += ["rollout.max_new_tokens=64"]
        [found] = compose([*task, *more, *words])
        configuration.check(configuration.plain(found.config), found.choices)

    return run


RUBRIC = [
    "reward=rubric_endpoint",
    f"reward.generator.url={URL}",
    "reward.generator.model=judge",
    "reward.criteria=null",
]


def test_problems_with_a_rubric_of_their_own_pass(run):
    run(GOOD, *RUBRIC)


@pytest.mark.parametrize(
    ("rubric", "reason"),
    [
        (None, "the problem has no field 'rubric' with a rubric, and criteria is null"),
        ([], "rubric has no criteria"),
        ([{**GOOD[0], "weight": "much"}], r"rubric\[0\].weight must be a finite number, not 'much'"),
        (GOOD * 2, "rubric names the criterion 'two' twice"),
    ],
)
def test_a_problem_without_a_usable_rubric_stops_the_run_with_its_id_and_the_reason(run, rubric, reason):
    with pytest.raises(ConfigurationError, match=f"reward: no response to problem test-1 can be scored: {reason}"):
        run(rubric, *RUBRIC)
