"""GRPO and its relatives against naive versions, and what each must leave alone."""

import statistics

import pytest
import torch

from rewards.types import Score
from rl.algorithms.grpo import GRPO
from tests.rl.algorithms.scored import scored_batch

VALUES = [[1.0, 0.0, 0.5], [0.2, 0.8, 0.9]]
SCORES = [[Score.of(value) for value in group] for group in VALUES]
LINES = "ab\ncd\nef"
SPANS = [(0, 2), (3, 5), (6, 8)]


def stepped(*steps: float) -> Score:
    """A score of three steps, those of LINES."""
    return Score.of(min(steps), steps=steps, spans=SPANS)


def per_response(algorithm: GRPO, scores=SCORES) -> list[float]:
    """The advantage of each row, which must be the same on all its tokens and 0 on the prompt."""
    data = algorithm.prepare(scored_batch(scores)).data
    assert data.advantages[:, :2].abs().sum() == 0
    assert torch.equal(data.advantages[:, 2], data.advantages[:, 4])
    return data.advantages[:, 2].tolist()


def test_grpo_compares_with_mean_and_deviation_of_the_group() -> None:
    expected = [(v - statistics.fmean(group)) / statistics.stdev(group) for group in VALUES for v in group]
    assert per_response(GRPO()) == pytest.approx(expected, abs=1e-6)


def test_dr_grpo_compares_only_with_the_mean() -> None:
    expected = [v - statistics.fmean(group) for group in VALUES for v in group]
    assert per_response(GRPO(scale="none")) == pytest.approx(expected, abs=1e-6)


def test_rloo_compares_with_the_mean_of_the_others() -> None:
    expected = [v - (sum(group) - v) / (len(group) - 1) for group in VALUES for v in group]
    assert per_response(GRPO(baseline="leave_one_out", scale="none")) == pytest.approx(expected, abs=1e-6)


def test_reinforce_pp_subtracts_future_kl_and_whitens_over_all_tokens() -> None:
    scored = scored_batch(SCORES)
    generator = torch.Generator().manual_seed(1)
    scored.batch.old_logprobs = torch.randn(6, 5, generator=generator) * scored.batch.response_mask
    algorithm = GRPO(baseline="none", scale="batch", kl=0.1, kl_in="reward", kl_estimator="k1")
    given = algorithm.prepare(scored).data.advantages
    flat = [value for group in VALUES for value in group]
    raw = [
        [
            flat[row] - 0.1 * sum(float(scored.batch.old_logprobs[row, later]) for later in range(t, 5))
            for t in (2, 3, 4)
        ]
        for row in range(6)
    ]
    everything = [value for row in raw for value in row]
    mean, std = statistics.fmean(everything), statistics.pstdev(everything)
    assert torch.allclose(given[:, 2:], (torch.tensor(raw) - mean) / std, atol=1e-5)


def test_a_failed_score_leaves_out_its_row_and_changes_no_other() -> None:
    scores = [[Score.of(1.0), Score.failed("too long"), Score.of(0.0)]]
    data = GRPO().prepare(scored_batch(scores)).data
    assert data.input_ids[:, 1].tolist() == [0, 2]
    assert data.advantages[:, 2].tolist() == pytest.approx([0.5**0.5, -(0.5**0.5)])


def test_groups_without_a_learning_signal_are_counted() -> None:
    scores = [[Score.of(1.0), Score.of(1.0)], [Score.of(1.0), Score.failed("x")], [Score.failed("x")] * 2]
    metrics = GRPO().prepare(scored_batch(scores)).metrics
    assert (metrics["groups_equal"], metrics["groups_single"], metrics["groups_failed"]) == (1, 1, 1)


def test_with_process_supervision_a_group_with_equal_steps_has_no_signal() -> None:
    scores = [[stepped(0.9, 0.5, 0.2), stepped(0.2, 0.5, 0.9)], [stepped(0.5, 0.5, 0.5)] * 2]
    prepared = GRPO(credit="steps").prepare(scored_batch(scores, [[LINES, LINES]] * 2))
    assert prepared.metrics["groups_equal"] == 1
    assert prepared.data.advantages[:2].any() and not prepared.data.advantages[2:].any()


def test_with_process_supervision_a_step_affects_only_tokens_up_to_its_end() -> None:
    texts = [[LINES, LINES]]
    before = GRPO(credit="steps").prepare(scored_batch([[stepped(0.9, 0.5, 0.2), stepped(0.4, 0.6, 0.8)]], texts)).data
    mask = before.response_mask[0]
    first, last = mask.nonzero()[0], mask.nonzero()[-1]
    assert before.advantages[0, first] == pytest.approx(float(-before.advantages[1, first]), abs=1e-5)
    values = [0.9, 0.5, 0.2, 0.4, 0.6, 0.8]
    mean, std = statistics.fmean(values), statistics.stdev(values)
    assert float(before.advantages[0, last]) == pytest.approx((0.2 - mean) / std, abs=1e-5)
    assert float(before.advantages[0, first]) == pytest.approx((0.9 + 0.5 + 0.2 - 3 * mean) / std, abs=1e-5)


def test_min_form_blames_the_worst_step_and_what_leads_to_it() -> None:
    algorithm = GRPO(credit="min_form", baseline="leave_one_out", scale="none")
    scored = scored_batch([[stepped(0.9, 0.05, 0.9), stepped(0.9, 0.9, 0.9)]], [[LINES, LINES]])
    advantages = algorithm.prepare(scored).data.advantages
    first, last = scored.batch.response_mask[0].nonzero()[[0, -1], 0]
    assert advantages[0, first] < 0 < advantages[1, first]
    assert advantages[0, first] < advantages[0, last]


def test_each_objective_is_compared_separately() -> None:
    parts = [[(1.0, 100.0), (0.0, 100.0)], [(1.0, 0.0), (1.0, 300.0)]]
    scores = [[Score.of(0.0, parts={"right": r, "long": n}) for r, n in group] for group in parts]
    given = per_response(GRPO(objectives={"right": 1.0, "long": 1.0}), scores)
    assert given == pytest.approx([1.0, -1.0, -1.0, 1.0], abs=1e-5), "a scale of 100 counts no more than one of 1"


def test_the_length_penalty_of_up_to_one_is_applied_before_the_comparison() -> None:
    scores = [[Score.of(1.0), Score.of(1.0)]]
    prepared = GRPO(scale="none", overlong_limit=8, overlong_buffer=4).prepare(scored_batch(scores, [["ab", LINES]]))
    lengths = prepared.data.response_mask.sum(dim=1).tolist()
    penalties = [-min(max((length - 4) / 4, 0), 1) for length in lengths]
    assert penalties[0] > penalties[1]
    assert prepared.data.advantages[0, 2] == pytest.approx((penalties[0] - penalties[1]) / 2, abs=1e-6)
    assert prepared.metrics["overlong_penalty"] == pytest.approx(statistics.fmean(penalties))


def test_only_a_kl_needs_a_reference_and_only_a_baseline_needs_a_group() -> None:
    assert GRPO(kl=0.1).needs_reference and not GRPO(kl=0.0).needs_reference
    assert GRPO().group_relative and not GRPO(baseline="none", scale="batch").group_relative
    assert GRPO(credit="steps").needs_steps and not GRPO().needs_steps


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"clip_low": 1.5}, "clip_low"),
        ({"baseline": "none"}, "scale=group"),
        ({"credit": "steps", "scale": "none"}, "credit=steps"),
        ({"credit": "min_form"}, "credit=min_form"),
        ({"objectives": {"right": 1.0}, "scale": "none"}, "objectives"),
        ({"objectives": {}}, "objectives is empty"),
        ({"overlong_buffer": 4}, "overlong_buffer=4"),
        ({"overlong_buffer": 4, "overlong_limit": 8, "credit": "steps"}, "credit=outcome"),
        ({"kl_target": 6.0}, "kl_target"),
        ({"kl": -1.0}, "kl"),
        ({"dynamic_sampling": -1}, "dynamic_sampling"),
        ({"aggregation": "constant"}, "constant_length"),
        ({"kl_estimator": "k1"}, "kl_estimator"),
        ({"dual_clip": 0.5}, "dual_clip"),
    ],
)
def test_contradictory_options_are_refused_by_name(options, named) -> None:
    with pytest.raises(ValueError, match=named):
        GRPO(**options)
