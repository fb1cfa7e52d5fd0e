"""ProcessBench's two protocols against a naive loop over the prefixes of each solution, as in its own script."""

from __future__ import annotations

from pathlib import Path

import pytest

from launch.evaluate.evaluate_settings import EvaluateSettings
from launch.evaluate.scores import Entry, entries
from rewards.evaluation.benchmark_rows import parse_steps
from rewards.evaluation.options import Protocol
from rewards.evaluation.process_bench import first_error
from rewards.evaluation.process_bench_report import group_of_steps
from tests.rewards.published import PublishedModel
from tests.tiny import make_llama, make_tokenizer

ROWS = [
    {"problem": "1 + 2?", "steps": ["1 + 2 = 3", "The answer is: 3"], "label": -1},
    {"problem": "What is 2 * 3?\n", "steps": [" 2 * 3 = 7", "So 7.\n\nThat is 7 ", "\tThe answer is: 7"], "label": 0},
    {"problem": " 9 - 4 ", "steps": ["Take 9.\n", "\n9 - 4 = 5", "5 + ки\n", "The answer is: + 5 "], "label": -1},
    *(
        {
            "problem": f"{n} * {n}?",
            "steps": [f"{' ' * (n % 3)}{n} * {n} = {n * n + k} \n" for k in range(3)],
            "label": 1,
        }
        for n in range(8)
    ),
]


@pytest.fixture(scope="module", params=["simple", "llama31"])
def model(request, tmp_path_factory) -> Path:
    """A tiny random Llama; the template of the first kind keeps white space, that of the second trims it."""
    return make_llama(tmp_path_factory.mktemp(request.param), make_tokenizer(request.param))


@pytest.fixture
def entry(model) -> Entry:
    [found] = entries([f"prm: prm model={model}"])
    return found


def published(model: PublishedModel, row: dict) -> list[float]:
    """P(+) of every step as the benchmark's script asks for it: nothing is stripped, a blank line after the problem."""
    messages, scores = [], []
    for number, step in enumerate(row["steps"]):
        content = row["problem"] + "\n\n" + step if number == 0 else step
        messages += [{"role": "user", "content": content}, {"role": "assistant", "content": "+"}]
        scores.append(model.plus(messages))
    return scores


def scored(entry: Entry, protocol: Protocol) -> list[tuple[float, ...]]:
    reward = entry.for_given_steps(protocol).make()
    groups = [group_of_steps(parse_steps(row, 1), entry.process) for row in ROWS]
    return [row[0].steps for row in reward.score(groups)]


def test_the_published_protocol_equals_the_benchmarks_script(model, entry):
    naive = [published(PublishedModel(model), row) for row in ROWS]
    found = scored(entry, "published")
    for steps, expected in zip(found, naive, strict=True):
        assert steps == pytest.approx(expected, abs=1e-5)
    assert [first_error(steps) for steps in found] == [first_error(steps) for steps in naive]


def test_the_stripped_protocol_equals_rlhflows_evaluation(model, entry):
    own = PublishedModel(model)
    for steps, row in zip(scored(entry, "stripped"), ROWS, strict=True):
        assert steps == pytest.approx(own.process(row["problem"], [step.strip() for step in row["steps"]]), abs=1e-5)


def test_the_protocols_read_different_texts(entry):
    assert scored(entry, "published") != scored(entry, "stripped")


def test_the_default_is_the_published_protocol():
    assert EvaluateSettings(folder="build/any").protocol == "published"
