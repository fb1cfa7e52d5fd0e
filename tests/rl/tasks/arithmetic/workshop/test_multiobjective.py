"""The decoder of the world's ArmoRM is trained on what is true."""

from pathlib import Path

import torch

from rl.tasks.arithmetic.story import Event, Story
from rl.tasks.arithmetic.workshop.building import load, new_model, open_workshop, save
from rl.tasks.arithmetic.workshop.multiobjective import check, expected_lines, preference_pairs, pretrain_objectives
from rl.tasks.arithmetic.workshop.vocabulary import build_tokenizer
from rl.tasks.arithmetic.workshop.writing import Writer
from rl.tasks.arithmetic.world import World

WRITER = Writer(build_tokenizer())
STORY = Story("Tom", "apples", 7, (Event("finds", 7, "+", 5, 12), Event("halves", 12, "/", 2, 6)))


def test_conversations_follow_the_chat_template_and_the_gate_reads_the_same_position_as_the_reward() -> None:
    response = "\n".join(STORY.lines)
    batch = check(WRITER, [STORY], [response])
    chat = [{"role": "user", "content": STORY.problem}, {"role": "assistant", "content": response}]
    ids = WRITER.tokenizer.apply_chat_template(chat, tokenize=True, return_dict=False)
    assert batch.ids[0, : int(batch.last[0]) + 1].tolist() == ids
    prompt = WRITER.tokenizer.apply_chat_template(chat[:1], tokenize=True, return_dict=False)
    assert int(batch.prompts[0]) == len(prompt) - 1


WRONG = "Day 1: finds 5, so 7 + 5 = 13\nDay 2: halves them, so 13 / 2 = 7\nThe answer is: 7"


def test_tokens_are_right_until_the_first_that_differs_from_the_reference() -> None:
    batch = check(WRITER, [STORY, STORY], [WRONG, "\n".join(STORY.lines)])
    assert WRITER.tokenizer.decode(batch.ids[0][batch.right[0] == 1]) == "Day 1: finds 5, so 7 + 5 ="
    assert set(batch.right[1].tolist()) == {0, 1}


def test_a_slip_is_a_line_that_does_not_follow_from_the_previous_one() -> None:
    batch = check(WRITER, [STORY], [WRONG])
    assert WRITER.tokenizer.convert_ids_to_tokens(batch.ids[0][batch.slips[0] == 2]) == ["Ġ13", "Ġ7"]
    assert expected_lines(STORY, WRONG.split("\n"))[1:] == ["Day 2: halves them, so 13 / 2 = 6", "The answer is: 7"]


def test_the_better_response_of_a_pair_has_the_right_answer() -> None:
    for story, better, worse in preference_pairs(World(), seed=1, count=50):
        answer = f"The answer is: {story.answer}"
        assert better.endswith(answer)
        assert not worse.endswith(f"\n{answer}")


def test_pretraining_continues_from_the_outcome_models_base_and_saves_a_decoder(tmp_path: Path) -> None:
    start = new_model(WRITER.tokenizer)
    save(start, tmp_path / "outcome_base")
    assert pretrain_objectives(open_workshop(tmp_path, scale=0.002, report=lambda line: None)) > 0
    decoder, before = load(tmp_path / "objectives_base").model, load(tmp_path / "outcome_base").model
    assert all(torch.isfinite(weight).all() for weight in decoder.parameters())
    assert not torch.equal(decoder.layers[0].mlp.up_proj.weight, before.layers[0].mlp.up_proj.weight)
