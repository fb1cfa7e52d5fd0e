from __future__ import annotations

import pytest
import torch

from rewards.outcome import OutcomeReward
from tests.rewards.published import PublishedModel
from tests.rewards.solutions import PROBLEMS, SOLUTIONS, group, rollout

HARMLESS = SOLUTIONS[:3]


def values(reward: OutcomeReward, groups) -> list[list[float]]:
    return [[score.value for score in scores] for scores in reward.score(groups)]


@pytest.mark.parametrize("system", [None, "You are a helpful assistant."])
def test_scores_are_the_published_procedures(checkpoint, system):
    reward = OutcomeReward(checkpoint, device="cpu", system=system)
    published = PublishedModel(checkpoint, system)
    groups = [group(*HARMLESS, problem=problem) for problem in PROBLEMS]
    expected = [[published.outcome(problem, "\n".join(steps)) for steps in HARMLESS] for problem in PROBLEMS]
    for found, wanted in zip(values(reward, groups), expected, strict=True):
        assert found == pytest.approx(wanted, abs=1e-5)


def test_the_step_marker_is_removed_where_asked_as_for_mistral_data(llama31):
    marked = group(["Step 1: 3 * 4 = 12 ки", "The answer is: 12 ки"])
    bare = group(["Step 1: 3 * 4 = 12", "The answer is: 12"])
    assert values(OutcomeReward(llama31, remove=" ки"), [marked]) == values(OutcomeReward(llama31), [bare])


@pytest.mark.parametrize("batch_tokens", [1, 300, 100000])
def test_scores_do_not_depend_on_batch_size_padding_or_order(llama31, batch_tokens):
    groups = rollout()
    expected = values(OutcomeReward(llama31), groups)
    backwards = values(OutcomeReward(llama31, batch_tokens=batch_tokens), groups[::-1])[::-1]
    for found, wanted in zip(backwards, expected, strict=True):
        assert found == pytest.approx(wanted, abs=1e-5)


def test_equal_responses_are_scored_once(llama31, monkeypatch):
    reward = OutcomeReward(llama31)
    seen = []

    def count(sequences, positions, head):
        seen.extend(sequences)
        return [torch.tensor([0.5]) for _ in sequences]

    monkeypatch.setattr(reward.runner, "read", count)
    assert values(reward, [group(["a"], ["b"], ["a"]), group(["a"])]) == [[0.5] * 3, [0.5]]
    assert len(seen) == 2


def test_an_empty_response_fails_and_the_others_are_scored(llama31):
    empty, good = OutcomeReward(llama31).score([group([" "], ["12"])])[0]
    assert empty.failure == "the response is empty"
    assert good.ok


def test_an_over_long_response_fails_by_default(llama31):
    [score] = OutcomeReward(llama31, max_tokens=200).score([group(["1 + 2 = 3 " * 40])])[0]
    assert score.failure == "longer than 200 tokens (max_tokens)"


def test_an_over_long_response_may_be_cut_and_says_so(llama31, caplog):
    reward = OutcomeReward(llama31, max_tokens=200, overlong="cut")
    long, short = reward.score([group(["1 + 2 = 3 " * 40], ["3"])])[0]
    assert long.parts == {"cut": 1.0}
    assert short.parts == {}
    assert "1 of 2 responses were cut to 200 tokens" in caplog.text


def test_a_problem_that_alone_is_too_long_fails_even_where_cutting_is_allowed(llama31):
    reward = OutcomeReward(llama31, max_tokens=100, overlong="cut")
    [score] = reward.score([group(["3"], problem="1 + 2 = 3 " * 40)])[0]
    assert not score.ok


def test_a_number_that_is_not_finite_becomes_a_failure(llama31, monkeypatch):
    reward = OutcomeReward(llama31)
    monkeypatch.setattr(reward.runner, "read", lambda *_: [torch.tensor([torch.nan])])
    [score] = reward.score([group(["3"])])[0]
    assert "not finite" in (score.failure or "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": ["+"]}, "labels must be two texts"),
        ({"labels": ["yes or", "no"]}, "not exactly one token"),
        ({"overlong": "ignore"}, "overlong must be fail or cut"),
        ({"engine": "tpu"}, "engine must be transformers or vllm"),
        ({"dtype": "fp16"}, "dtype must be one of fp32, bf16"),
        ({"batch_tokens": 0}, "batch_tokens must be at least 1"),
        ({"max_tokens": 4096}, "max_tokens must be between 1 and the model's 2048"),
        ({"gpu_memory": 40.0}, "gpu_memory is a share"),
    ],
)
def test_options_that_cannot_work_are_refused_before_the_weights_are_read(llama31, options, message):
    with pytest.raises(ValueError, match=message):
        OutcomeReward(llama31, **options)


def test_a_response_that_cannot_be_tokenised_fails_and_the_others_are_scored(llama31):
    failed, good = OutcomeReward(llama31).score([group(["half \ud800"], ["12"])])[0]
    assert "half a character" in failed.failure and good.ok
