"""The arithmetic world: its problems are right, its splits apart, its verifier strict, its tokenizer ordinary."""

import random
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from rl.tasks.arithmetic import ArithmeticTask
from rl.tasks.arithmetic.story import draw_story
from rl.tasks.arithmetic.verify import right_steps
from rl.tasks.arithmetic.workshop.mistakes import break_form, solve_with_slips
from rl.tasks.arithmetic.workshop.vocabulary import build_tokenizer, save_tokenizer

seeds = st.integers(0, 10_000)


@given(seeds, st.integers(1, 9), st.integers(12, 99))
def test_every_equation_of_a_story_holds_and_stays_in_range(seed: int, days: int, largest: int) -> None:
    story = draw_story(random.Random(seed), days, largest)
    value = story.start
    for event in story.events:
        assert event.before == value
        assert eval(f"{event.before} {event.sign} {event.operand}") == event.after
        assert 0 <= event.after <= largest
        value = event.after
    assert story.lines[-1] == f"The answer is: {value}"


def test_the_same_seed_gives_the_same_problems_and_another_seed_others() -> None:
    task = ArithmeticTask()
    first = [problem.text for problem in islice(task.train_problems(1), 50)]
    assert first == [problem.text for problem in islice(task.train_problems(1), 50)]
    assert first != [problem.text for problem in islice(task.train_problems(2), 50)]


def test_train_and_held_out_problems_never_overlap() -> None:
    task = ArithmeticTask()
    held_out = {problem.text for problem in task.held_out_problems(2000)}
    assert len(held_out) == 2000
    assert not held_out & {problem.text for problem in islice(task.train_problems(1), 20_000)}


def test_days_and_counts_set_the_difficulty() -> None:
    problems = list(islice(ArithmeticTask(min_days=5, max_days=6, largest=50).train_problems(1), 200))
    assert {problem.metadata["days"] for problem in problems} == {5, 6}
    assert max(int(problem.answer or 0) for problem in problems) > 20


@pytest.mark.parametrize("wrong", [{"min_days": 0}, {"min_days": 4, "max_days": 3}, {"largest": 5}])
def test_impossible_difficulties_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"min_days|largest"):
        ArithmeticTask(**wrong)


@given(seeds)
def test_the_reference_solution_is_right_in_every_step(seed: int) -> None:
    task = ArithmeticTask()
    problem = next(task.train_problems(seed))
    text = "\n".join(problem.metadata["lines"])
    assert task.grade(problem, text)
    assert all(task.grade_steps(problem, text))


@given(seeds)
def test_a_step_is_right_only_if_all_before_it_are(seed: int) -> None:
    generator = random.Random(seed)
    story = draw_story(generator, 3, 20)
    lines = break_form(generator, story, solve_with_slips(generator, story, 0.5))
    verdicts = right_steps(story.lines, lines)
    assert verdicts == sorted(verdicts, reverse=True)
    assert all(
        line == reference
        for line, reference, right in zip(lines, story.lines, verdicts, strict=False)
        if right and "+" not in line and "*" not in line
    )


def test_commuted_operands_are_right_but_not_for_minus() -> None:
    reference = ["Day 1: finds 5, so 7 + 5 = 12", "Day 2: loses 2, so 12 - 2 = 10"]
    assert right_steps(reference, ["Day 1: finds 5, so 5 + 7 = 12"]) == [True]
    assert right_steps(reference, [reference[0], "Day 2: loses 2, so 2 - 12 = 10"]) == [True, False]


@pytest.mark.parametrize("text", ["", "\n\n", "The answer is: ", "The answer is: 12 12", "12"])
def test_an_answer_that_is_not_stated_is_wrong(text: str) -> None:
    task = ArithmeticTask()
    problem = next(problem for problem in task.train_problems(1) if problem.answer == "12")
    assert not task.grade(problem, text)


def test_the_tokenizer_can_be_saved_and_has_one_token_per_number_and_sign(tmp_path: Path) -> None:
    save_tokenizer(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert all(len(tokenizer(text)["input_ids"]) == 1 for text in ["+", "-", *[f" {number}" for number in range(100)]])
    chat = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "+"}]
    assert tokenizer.apply_chat_template(chat, tokenize=False) == "<|bos|><|user|>hi<|end|><|assistant|>+<|end|>"
    assert tokenizer.get_vocab() == build_tokenizer().get_vocab()


@given(st.text(max_size=60))
def test_any_text_survives_encoding_and_decoding(text: str) -> None:
    assert TOKENIZER.decode(TOKENIZER(text, add_special_tokens=False)["input_ids"]) == text or "<|" in text


TOKENIZER = build_tokenizer()
