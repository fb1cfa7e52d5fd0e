"""Training data: the conversations are those that scoring uses, and the labels are the verifier's."""

import random
from itertools import islice

import pytest

from rewards.chat import ChatTemplate, Turn
from rl.tasks.arithmetic.verify import lines_of, right_steps
from rl.tasks.arithmetic.workshop import exercises
from rl.tasks.arithmetic.workshop.batches import (
    Curriculum,
    draw_solution,
    exercise_batches,
    marks_of,
    outcome_batches,
    policy_batches,
    process_batches,
)
from rl.tasks.arithmetic.workshop.vocabulary import build_tokenizer
from rl.tasks.arithmetic.workshop.writing import OUTCOME_MARK, Writer
from rl.tasks.arithmetic.world import World

WRITER = Writer(build_tokenizer())
WORLD = World()


def drawn_like(seed: int, count: int) -> list[tuple]:
    generator = random.Random(seed)
    stories = [WORLD.story(generator) for _ in range(count)]
    return [(story, draw_solution(generator, story)) for story in stories]


def test_a_process_example_equals_the_scored_conversation_with_the_labels_as_targets() -> None:
    examples = next(process_batches(WRITER, WORLD, seed=5, batch=20, marked=0.5))
    template = ChatTemplate(WRITER.tokenizer)
    for (story, solution), example in zip(drawn_like(5, 20), examples, strict=True):
        lines = lines_of("\n".join(solution))
        turns = []
        for index, line in enumerate(lines):
            text = f"{story.problem} {line}" if index == 0 else line
            turns += [Turn("user", text), Turn("assistant", "+", scored=True)]
        (rendered,) = template.render([turns])
        assert list(example.ids) == list(rendered.ids)
        signs = [example.targets[position] for position in rendered.positions]
        assert signs == [WRITER.signs[not right] for right in right_steps(story.lines, lines)]
        assert all(example.weights[position] == 1.0 for position in rendered.positions)


def test_an_outcome_example_equals_the_scored_conversation() -> None:
    examples = next(outcome_batches(WRITER, WORLD, seed=6, batch=20))
    template = ChatTemplate(WRITER.tokenizer)
    for (story, lines), example in zip(drawn_like(6, 20), examples, strict=True):
        text = f"{story.problem} " + "\n".join(lines)
        (rendered,) = template.render([[Turn("user", text), Turn("assistant", "+", scored=True)]])
        assert list(example.ids) == list(rendered.ids)
        (position,) = rendered.positions
        assert example.targets[position] == WRITER.signs[lines[-1] != story.lines[-1]]
        assert example.weights[position] == 1.0


def test_marks_of_an_outcome_example_change_at_the_first_token_that_differs_from_the_reference() -> None:
    (marked,) = next(outcome_batches(WRITER, WORLD, seed=6, batch=1, marked=1.0))
    (plain,) = next(outcome_batches(WRITER, WORLD, seed=6, batch=1, marked=0.0))
    assert list(marked.ids) == list(plain.ids)
    labels = [target for target, weight in zip(marked.targets, marked.weights, strict=True) if weight == OUTCOME_MARK]
    plus, minus = WRITER.signs
    right = labels.index(minus) if minus in labels else len(labels)
    assert labels == [plus] * right + [minus] * (len(labels) - right)
    assert OUTCOME_MARK not in plain.weights
    assert sum(plain.weights) == 1.0 + 0.5 * (plain.weights.count(0.5))


def test_a_policy_example_equals_the_sampled_chat_and_ends_its_turn() -> None:
    (example,) = next(policy_batches(WRITER, WORLD, seed=1, batch=1, slips=0.0))
    story = WORLD.story(random.Random(1))
    chat = [{"role": "user", "content": story.problem}, {"role": "assistant", "content": "\n".join(story.lines)}]
    assert list(example.ids) == WRITER.tokenizer.apply_chat_template(chat, return_dict=True)["input_ids"]
    learned = [target for target, weight in zip(example.targets, example.weights, strict=True) if weight]
    assert learned == [*WRITER.encode(["\n".join(story.lines)])[0], WRITER.tokenizer.eos_token_id]


@pytest.mark.parametrize("exercise", [exercises.equation, exercises.line, exercises.recall])
def test_about_half_of_the_exercises_are_right(exercise) -> None:
    examples = next(exercise_batches(WRITER, WORLD, seed=1, batch=400, exercise=exercise))
    plus = WRITER.signs[0]
    right = [example.targets[example.weights.index(1.0)] == plus for example in examples]
    assert 0.35 < sum(right) / len(right) < 0.75


def test_marks_change_at_the_first_token_that_differs() -> None:
    assert marks_of([1, 2, 3, 4], [1, 2, 9, 4], right=False) == [True, True, False, False]
    assert marks_of([1, 2, 3], [1, 2], right=False) == [True, True, False]
    assert marks_of([3, 2], [2, 3], right=True) == [True, True]


def test_the_curriculum_adds_a_kind_when_the_newest_is_mastered() -> None:
    curriculum = Curriculum(WRITER, WORLD, seed=1, batch=2)
    for _ in islice(curriculum, 10):
        curriculum.record_loss(0.01)
    assert set(kind for kind, losses in curriculum.losses.items() if losses) == {"equation"}
    for _ in islice(curriculum, 30):
        curriculum.record_loss(0.01)
    assert {"equation", "line", "recall"} <= {kind for kind, losses in curriculum.losses.items() if losses}
