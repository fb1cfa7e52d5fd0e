"""On which token each step's value lands, for any tokenizer; and that moving one value moves what it should."""

from __future__ import annotations

import pytest
import torch

from rewards.types import Score
from rl.credit.returns import discounted_returns, gae
from rl.credit.steps import StepRewards, delta, min_form_advantages, on_step_tokens, process_normalised
from rl.policy import decode
from rl.types import Scored
from tests.rl.credit.rollouts import byte_tokenizer, lines, sample, scored, stepped
from tests.tiny import make_tokenizer

TEXTS = ["Step 1: 3 * 4 = 12 apples\nStep 2: 12 + 5 = 17", "Tom: 12 ки\n\n12 + 5 = 17\nThe answer is: 17"]
VALUES = [[0.9, 0.3], [0.8, 0.7, 0.2, 0.6]]
POLICIES = {"merges": make_tokenizer("simple"), "bytes": byte_tokenizer()}


def group_of(policy: str, values: list[list[float]] = VALUES) -> Scored:
    """One group: the same texts and step values, as this policy's tokens."""
    tokenizer = POLICIES[policy]
    scores = [stepped(text, row) for text, row in zip(TEXTS, values, strict=True)]
    return scored(tokenizer, [[sample(tokenizer, text, prompt=2 + row) for row, text in enumerate(TEXTS)]], [scores])


def text_until(policy: str, rollout: Scored, row: int, column: int) -> str:
    """The response of a row up to and with the token in `column`."""
    drawn = rollout.groups[0].samples[row]
    return decode(POLICIES[policy], drawn.response_ids[: column - len(drawn.prompt_ids) + 1])


@pytest.mark.parametrize("policy", POLICIES)
def test_a_value_lands_on_the_policys_token_that_completes_the_step(policy: str) -> None:
    rollout = group_of(policy)
    steps = rollout.placed_steps()
    for row, text in enumerate(TEXTS):
        for place, (_, end) in enumerate(lines(text)):
            column = int(steps.columns[row, place])
            assert text_until(policy, rollout, row, column).startswith(text[:end])
            assert not text_until(policy, rollout, row, column - 1).startswith(text[:end])
    assert torch.equal(steps.values[:, :4][steps.mask], torch.tensor([*VALUES[0], *VALUES[1]]))


def test_two_tokenizers_place_the_same_steps_at_the_same_text() -> None:
    merged, bytes_ = group_of("merges"), group_of("bytes")
    columns = merged.placed_steps().columns, bytes_.placed_steps().columns
    assert not torch.equal(*columns)
    assert (columns[0] <= columns[1]).all()
    assert merged.batch.input_ids.shape[1] < bytes_.batch.input_ids.shape[1]


def spans_of(steps: StepRewards, rollout: Scored, row: int, first: int, last: int) -> torch.Tensor:
    """The columns from after step `first - 1` up to the end of step `last`, as a mask (B, L)."""
    start = len(rollout.groups[0].samples[row].prompt_ids) if first == 0 else int(steps.columns[row, first - 1]) + 1
    mask = torch.zeros_like(rollout.batch.response_mask)
    mask[row, start : int(steps.columns[row, last]) + 1] = True
    return mask


def moved(policy: str, advantages_of) -> tuple[Scored, torch.Tensor]:
    """The group, and where its advantages change when the last but one step of its second response is scored anew."""
    other = [VALUES[0], [0.8, 0.7, 0.45, 0.6]]
    before, after = (advantages_of(group) for group in (group_of(policy), group_of(policy, other)))
    return group_of(policy), before != after


@pytest.mark.parametrize("policy", POLICIES)
def test_changing_a_step_changes_the_returns_up_to_its_end(policy: str) -> None:
    def returns(rollout: Scored) -> torch.Tensor:
        mask = rollout.batch.response_mask
        return discounted_returns(on_step_tokens(rollout.placed_steps(), mask.shape), mask, gamma=1.0)

    rollout, changed = moved(policy, returns)
    assert torch.equal(changed, spans_of(rollout.placed_steps(), rollout, 1, 0, 2))


@pytest.mark.parametrize("policy", POLICIES)
def test_with_delta_changing_a_step_changes_only_its_own_tokens(policy: str) -> None:
    def returns(rollout: Scored) -> torch.Tensor:
        mask = rollout.batch.response_mask
        return discounted_returns(on_step_tokens(delta(rollout.placed_steps()), mask.shape), mask, gamma=1.0).round(
            decimals=5
        )

    rollout, changed = moved(policy, returns)
    assert torch.equal(changed, spans_of(rollout.placed_steps(), rollout, 1, 2, 2))


@pytest.mark.parametrize("policy", POLICIES)
def test_with_gae_and_lambda_zero_changing_a_step_changes_one_token(policy: str) -> None:
    def advantages(rollout: Scored) -> torch.Tensor:
        mask = rollout.batch.response_mask
        rewards = on_step_tokens(rollout.placed_steps(), mask.shape)
        return gae(rewards, torch.zeros_like(rewards), mask, gamma=1.0, lam=0.0)[0]

    rollout, changed = moved(policy, advantages)
    assert changed.nonzero().tolist() == [[1, int(rollout.placed_steps().columns[1, 2])]]


@pytest.mark.parametrize("credit", [process_normalised, min_form_advantages])
def test_changing_a_step_changes_no_other_group(credit) -> None:
    tokenizer = POLICIES["merges"]
    samples = [[sample(tokenizer, text) for text in TEXTS]] * 2

    def advantages(value: float) -> torch.Tensor:
        scores = [
            [stepped(t, v) for t, v in zip(TEXTS, [[0.9, value], VALUES[1]], strict=True)] for value in (value, 0.3)
        ]
        rollout = scored(tokenizer, samples, scores)
        return credit(rollout.placed_steps(), 2, rollout.batch.response_mask)

    before, after = advantages(0.3), advantages(0.6)
    assert torch.equal(before[2:], after[2:])
    assert not torch.equal(before[0], after[0]) and not torch.equal(before[1], after[1])


def test_an_empty_step_shares_the_token_before_and_adds_to_it() -> None:
    rollout = group_of("bytes")
    steps = rollout.placed_steps()
    assert steps.columns[1, 1] > steps.columns[1, 0]  # the line break before it is a token of its own
    text, tokenizer = "a = 1\nb = 2", POLICIES["bytes"]
    score = Score.of(0.0, steps=[0.5, 0.25, 1.0], spans=[(0, 5), (5, 5), (6, 11)])
    rollout = scored(tokenizer, [[sample(tokenizer, text)]], [[score]])
    steps = rollout.placed_steps()
    assert steps.columns.tolist() == [[6, 6, 12]]
    assert on_step_tokens(steps, rollout.batch.input_ids.shape)[0].nonzero().tolist() == [[6], [12]]
    assert on_step_tokens(steps, rollout.batch.input_ids.shape)[0, 6] == 0.75
    assert steps.counts() == {"steps_mean": 3.0, "steps_none": 0.0, "steps_sharing_a_token": 1.0}


def test_a_zero_length_step_at_the_start_lands_on_the_first_token() -> None:
    tokenizer = POLICIES["merges"]
    score = Score.of(0.5, steps=[0.5], spans=[(0, 0)])
    steps = scored(tokenizer, [[sample(tokenizer, "abc", prompt=3)]], [[score]]).placed_steps()
    assert steps.columns.tolist() == [[3]]


def test_the_last_step_of_a_truncated_response_ends_on_its_last_token() -> None:
    tokenizer = POLICIES["bytes"]
    drawn = sample(tokenizer, "a = 1\n🦊", reason="length", keep=8)  # half a fox: a replacement character
    rollout = scored(tokenizer, [[drawn]], [[stepped(drawn.text, [0.5, 0.25])]])
    steps = rollout.placed_steps()
    assert steps.columns[0].tolist() == [6, 9]
    assert rollout.batch.response_mask[0].nonzero().max() == 9


def test_the_end_of_turn_token_comes_after_the_last_step() -> None:
    rollout = group_of("bytes")
    steps = rollout.placed_steps()
    ends = [int(rollout.batch.response_mask[row].nonzero().max()) for row in range(2)]
    assert [int(steps.columns[0, 1]), int(steps.columns[1, 3])] == [end - 1 for end in ends]


def test_failed_scores_and_empty_lists_have_no_steps() -> None:
    tokenizer = POLICIES["merges"]
    samples = [[sample(tokenizer, "a\nb"), sample(tokenizer, "c"), sample(tokenizer, "d")]]
    scores = [[stepped("a\nb", [0.1, 0.2]), Score.failed("x"), Score.of(0.0, steps=[], spans=[])]]
    steps = scored(tokenizer, samples, scores).placed_steps()
    assert steps.per_response.tolist() == [2, 0, 0]
    assert steps.counts()["steps_none"] == 2
    values, mask = steps.in_groups(3)
    assert values.shape == (1, 6) and values[mask].tolist() == pytest.approx([0.1, 0.2])


@pytest.mark.parametrize(
    "score, message",
    [
        (Score.of(1.0), "p0: the reward gives no step values.*choose a process reward"),
        (Score.of(1.0, steps=[1.0], spans=[(0, 99)]), r"p0: the steps do not fit the response: span \(0, 99\)"),
        (Score.of(1.0, steps=[1.0, 0.5], spans=[(2, 3), (0, 1)]), "p0: the reward's steps are not in the order"),
    ],
    ids=["no steps", "beyond the text", "out of order"],
)
def test_steps_that_cannot_be_placed_are_refused_with_the_problems_name(score: Score, message: str) -> None:
    tokenizer = POLICIES["merges"]
    with pytest.raises(ValueError, match=message):
        scored(tokenizer, [[sample(tokenizer, "a\nb")]], [[score]])
