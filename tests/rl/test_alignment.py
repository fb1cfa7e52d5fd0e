"""Characters to tokens, and rollouts to batches."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rewards.types import Problem, Score
from rl import alignment
from rl.alignment import last_token_of_spans, pad_rollout, place_steps, token_ends
from rl.policy import decode
from rl.types import AnswerGroup, Sample
from tests.rl.credit.rollouts import byte_tokenizer
from tests.tiny import make_tokenizer

TOKENIZER = make_tokenizer()


def ids_of(text: str) -> list[int]:
    return TOKENIZER.encode(text, add_special_tokens=False)


@given(st.text(max_size=40))
def test_a_tokens_end_is_the_length_of_the_text_decoded_so_far(text: str) -> None:
    ids = ids_of(text)
    ends = token_ends(TOKENIZER, ids)
    assert len(ends) == len(ids)
    assert ends == sorted(ends)
    whole = decode(TOKENIZER, ids)
    for count, end in enumerate(ends, start=1):
        assert decode(TOKENIZER, ids[:count]).startswith(whole[:end])


def test_a_character_of_several_tokens_ends_at_the_last_of_them() -> None:
    ids = ids_of("🦊a")
    assert len(ids) == 5  # four bytes and the letter
    assert token_ends(TOKENIZER, ids) == [0, 0, 0, 1, 2]


def test_special_tokens_do_not_end_a_character() -> None:
    ids = [*ids_of("a"), TOKENIZER.eos_token_id]
    assert token_ends(TOKENIZER, ids) == [1, 1]


def test_half_a_character_at_the_end_still_belongs_to_the_last_token() -> None:
    ids = ids_of("a🦊")[:3]
    assert token_ends(TOKENIZER, ids)[-1] == len(decode(TOKENIZER, ids))


def test_no_tokens_have_no_ends() -> None:
    assert token_ends(TOKENIZER, []) == []


@given(st.text(max_size=30))
def test_the_slow_method_agrees_with_the_stream_decoder(text: str) -> None:
    ids = ids_of(text)
    whole = decode(TOKENIZER, ids)
    assert alignment._cumulative_ends(TOKENIZER, ids, whole) == alignment._streamed_ends(TOKENIZER, ids, whole)


@pytest.mark.parametrize("kind", ["simple", "llama31"])
def test_a_step_is_placed_on_the_policys_token_that_completes_it(kind: str) -> None:
    tokenizer = make_tokenizer(kind)  # type: ignore[arg-type]
    text = "Step 1: 3 * 4 = 12 apples\nStep 2: 12 + 5 = 17"
    ids = tokenizer.encode(text, add_special_tokens=False)
    first = text.index("\n")
    places = last_token_of_spans(token_ends(tokenizer, ids), [(0, first), (first + 1, len(text))])
    assert text[:first] in decode(tokenizer, ids[: places[0] + 1])
    assert text[:first] not in decode(tokenizer, ids[: places[0]])
    assert places[1] == len(ids) - 1


def test_the_first_token_that_reaches_a_spans_end_gets_it() -> None:
    assert last_token_of_spans([2, 2, 5, 5, 9], [(0, 2), (2, 3), (3, 5), (5, 9)]) == [0, 2, 2, 4]


def test_an_empty_span_counts_as_the_character_before_it() -> None:
    assert last_token_of_spans([2, 5], [(0, 0), (2, 2), (5, 5)]) == [0, 0, 1]


def test_a_span_beyond_the_text_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(0, 6\) is outside the text of 5"):
        last_token_of_spans([2, 5], [(0, 6)])


def test_a_response_without_tokens_gets_no_reward() -> None:
    with pytest.raises(ValueError, match="without tokens"):
        last_token_of_spans([], [(0, 0)])


def test_a_rollout_becomes_right_padded_token_aligned_rows() -> None:
    samples = [
        Sample((1, 2, 3), (4, 5), (-0.5, -0.25), "ab", "stop", 0),
        Sample((1, 2, 3), (), (), "", "abort", 0),
        Sample((1,), (7,), (-1.0,), "c", "length", 0),
    ]
    groups = [AnswerGroup.drawn(Problem("p", "p"), samples[:2]), AnswerGroup.drawn(Problem("q", "q"), samples[2:])]
    batch = pad_rollout(groups, pad_id=9)
    assert batch.input_ids.tolist() == [[1, 2, 3, 4, 5], [1, 2, 3, 9, 9], [1, 7, 9, 9, 9]]
    assert batch.attention_mask.sum(dim=1).tolist() == [5, 3, 2]
    assert batch.response_mask.nonzero().tolist() == [[0, 3], [0, 4], [2, 1]]
    assert torch.equal(batch.behaviour_logprobs[0], torch.tensor([0.0, 0.0, 0.0, -0.5, -0.25]))
    assert batch.advantages is None


def test_tokens_the_policy_did_not_draw_are_masked_and_have_no_log_probability() -> None:
    mask = (True, False, False, True)
    drawn = Sample((1, 2), (3, 4, 5, 6), (-1.0, -2.0, -3.0, -4.0), "abcd", "stop", 0, loss_mask=mask)
    batch = pad_rollout([AnswerGroup.drawn(Problem("p", "p"), [drawn])], pad_id=0)
    assert batch.response_mask.tolist() == [[False, False, *mask]]
    assert batch.behaviour_logprobs.tolist() == [[0, 0, -1, 0, 0, -4]]
    assert batch.attention_mask.all()


def test_a_step_that_ends_on_a_masked_token_is_placed_on_the_last_drawn_one_before_it() -> None:
    tokenizer = byte_tokenizer()
    ids = tuple(tokenizer.encode("abcd", add_special_tokens=False))
    score = Score.of(0.0, steps=[1.0, 2.0, 3.0], spans=[(0, 1), (1, 3), (3, 4)])
    for mask, columns in {
        (True, False, False, True): [2, 2, 5],
        (False, True, False, True): [3, 3, 5],
        (True, True, True, True): [2, 4, 5],
    }.items():
        drawn = Sample((1, 2), ids, (0.0,) * 4, "abcd", "stop", 0, loss_mask=mask)
        group = AnswerGroup.drawn(Problem("p", "p"), [drawn]).with_scores([score])
        assert place_steps([group], tokenizer).columns.tolist() == [columns]


def test_a_rollout_without_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="no samples"):
        pad_rollout([], pad_id=0)
