from __future__ import annotations

import json

import pytest

from rl import sample_file
from rl.settings import ClusterSettings, PolicySettings, RolloutSettings
from rl.tasks.arithmetic import ArithmeticTask
from rl.types import AnswerGroup, Sample


class FakeSampler:
    """Answers with the seed of the call; stops in the call whose number is `fails`."""

    fails: int | None = None
    calls: list[int] = []  # noqa: RUF012

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def sample(self, problems, n, *, seed, **_):
        if seed % 1_000_003 == FakeSampler.fails:
            raise KeyboardInterrupt
        FakeSampler.calls.append(seed)
        texts = [f"The answer is: {seed + place}" for place in range(n)]
        drawn = [Sample((1,), (2,), (0.0,), text, "stop", 0) for text in texts]
        return [AnswerGroup.drawn(problem, drawn) for problem in problems]

    def shutdown(self) -> None:
        pass


@pytest.fixture
def sampler(monkeypatch):
    monkeypatch.setattr(sample_file, "SamplerGroup", FakeSampler)
    monkeypatch.setattr(sample_file, "start_cluster", lambda *_: None)
    monkeypatch.setattr(sample_file, "stop_cluster", lambda: None)
    monkeypatch.setattr(FakeSampler, "calls", [])
    monkeypatch.setattr(FakeSampler, "fails", None)
    return FakeSampler


def draw(output) -> list[dict]:
    rollout = RolloutSettings(problems=2, responses=3)
    policy, cluster = PolicySettings("?"), ClusterSettings()
    sample_file.sample_to_file(policy, ArithmeticTask(), rollout, cluster, output, lambda _: None, problems=5, seed=1)
    return [json.loads(line) for line in output.read_text().splitlines()]


def test_samples_get_grades_and_step_labels(sampler, tmp_path):
    rows = draw(tmp_path / "responses.jsonl")
    assert len(rows) == 5
    assert all(len(row["answers"]) == len(row["label"]) == len(row["step_labels"]) == 3 for row in rows)
    assert all(
        label == (text == f"The answer is: {row['answer']}")
        for row in rows
        for text, label in zip(row["answers"], row["label"], strict=True)
    )


def test_an_interrupted_file_loses_only_the_current_batch_and_is_the_same_in_the_end(sampler, tmp_path, monkeypatch):
    whole = draw(tmp_path / "whole.jsonl")
    monkeypatch.setattr(sampler, "fails", 2)
    output = tmp_path / "responses.jsonl"
    with pytest.raises(KeyboardInterrupt):
        draw(output)
    output.write_text(output.read_text()[:-9])  # the last line of the second batch is cut
    monkeypatch.setattr(sampler, "fails", None)
    sampler.calls.clear()
    assert draw(output) == whole
    assert [seed % 1_000_003 for seed in sampler.calls] == [1, 2]


def test_existing_samples_are_not_drawn_again(sampler, tmp_path):
    output = tmp_path / "responses.jsonl"
    first = draw(output)
    sampler.calls.clear()
    assert draw(output) == first
    assert sampler.calls == []
