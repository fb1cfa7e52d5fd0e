"""The training data of the world's models: endless batches of examples, generated on demand.

Every generator yields batches for `rewards.training.causal.train`. The conversations are those of the published
models: the policy answers a user; an outcome reward model reads `problem + " " + solution` and answers `+` or `-`; a
process reward model reads one step per turn and answers after each. As in scoring, the process model's history always
has `+`. In addition to the label, right steps are learned as language (weight `LANGUAGE`), which teaches the model what
to compare with; training on labels alone takes many times longer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

from rewards.training.causal import Example
from rl.tasks.arithmetic.story import Story
from rl.tasks.arithmetic.verify import lines_of, right_steps
from rl.tasks.arithmetic.workshop import exercises
from rl.tasks.arithmetic.workshop.exercises import Exercise
from rl.tasks.arithmetic.workshop.mistakes import break_form, solve_with_slips
from rl.tasks.arithmetic.workshop.writing import LANGUAGE, Writer
from rl.tasks.arithmetic.world import World


def policy_batches(writer: Writer, world: World, seed: int, batch: int, slips: float) -> Iterator[list[Example]]:
    """Solutions in which each step is wrong with probability `slips`."""
    generator = random.Random(seed)
    while True:
        stories = [world.story(generator) for _ in range(batch)]
        solutions = ["\n".join(solve_with_slips(generator, story, slips)) for story in stories]
        problems = writer.encode([story.problem for story in stories])
        yield [
            writer.answer(problem, solution)
            for problem, solution in zip(problems, writer.encode(solutions), strict=True)
        ]


def draw_solution(generator: random.Random, story: Story) -> list[str]:
    """A solution for a reward model to judge: right, with slips, or with a broken form."""
    lines = solve_with_slips(generator, story, generator.choice((0.0, 0.1, 0.25, 0.5)))
    return break_form(generator, story, lines) if generator.random() < 0.35 else lines


def marks_of(content: Sequence[int], reference: Sequence[int], right: bool) -> list[bool]:
    """For each token, whether everything up to it equals the reference. All True if `right`."""
    if right:
        return [True] * len(content)
    pairs = zip(content, reference, strict=False)
    same = next((place for place, (ours, theirs) in enumerate(pairs) if ours != theirs), len(reference))
    return [place < same for place in range(len(content))]


def judged_solution(
    writer: Writer, story: Story, lines: Sequence[str], encoded: Iterator[list[int]], prefix: int, marked: bool
) -> Example:
    """One solution as a process reward model reads it. `encoded` yields the lines' ids, then the reference's."""
    verdicts = right_steps(story.lines, lines)
    contents = [next(encoded) for _ in lines]
    references = [next(encoded) for _ in story.lines]
    if not marked:
        return writer.judged_steps(contents, prefix, verdicts)
    marks, so_far = [], True
    for index, (content, right) in enumerate(zip(contents, verdicts, strict=True)):
        reference = references[index] if index < len(references) else []
        marks.append([so_far and mark for mark in marks_of(content, reference, right)][prefix if not index else 0 :])
        so_far = right
    return writer.judged_steps(contents, prefix, verdicts, marks)


def process_batches(
    writer: Writer, world: World, seed: int, batch: int, marked: float = 0.5, days: tuple[int, int] | None = None
) -> Iterator[list[Example]]:
    """Solutions of all kinds with judged steps. A share `marked` of them has a label on every token."""
    generator = random.Random(seed)
    world = World(days, world.largest) if days else world
    while True:
        stories = [world.story(generator) for _ in range(batch)]
        solutions = [lines_of("\n".join(draw_solution(generator, story))) for story in stories]
        texts = [
            f"{story.problem} {line}" if index == 0 else line
            for story, lines in zip(stories, solutions, strict=True)
            for source in (lines, story.lines)
            for index, line in enumerate(source)
        ]
        encoded = iter(writer.encode(texts))
        prefixes = writer.encode([story.problem for story in stories])
        yield [
            judged_solution(writer, story, lines, encoded, len(prefix), generator.random() < marked)
            for story, lines, prefix in zip(stories, solutions, prefixes, strict=True)
        ]


def exercise_batches(
    writer: Writer, world: World, seed: int, batch: int, exercise: Callable[[random.Random, Story], Exercise]
) -> Iterator[list[Example]]:
    """Exercises of one kind, each with one turn and one label."""
    generator = random.Random(seed)
    while True:
        drawn = [exercise(generator, world.story(generator)) for _ in range(batch)]
        given = writer.encode([before for before, _, _ in drawn])
        judged = writer.encode([before + shown for before, shown, _ in drawn])
        wanted = writer.encode([before + right for before, _, right in drawn])
        yield [
            writer.judged_steps(
                [content], len(prefix), [content == right], [marks_of(content, right, content == right)[len(prefix) :]]
            )
            for content, prefix, right in zip(judged, given, wanted, strict=True)
        ]


def recall_batches(writer: Writer, world: World, seed: int, batch: int, right: float = 0.3) -> Iterator[list[Example]]:
    """Several days of a story, in any order, each of them right or wrong.

    A share `right` of the examples is entirely right and learned as language, because a model that can predict the
    day's event can also check it.
    """
    generator = random.Random(seed)
    turns = 5
    while True:
        stories = [World((1, world.days[1]), world.largest).story(generator) for _ in range(batch)]
        drawn = [[exercises.recall(generator, story) for _ in range(turns)] for story in stories]
        prefixes = writer.encode([story.problem for story in stories])
        texts = [
            (given + text) if not turn else text.strip()
            for row in drawn
            for turn, (given, shown, reference) in enumerate(row)
            for text in (shown, reference)
        ]
        encoded = iter(writer.encode(texts))
        examples = []
        for prefix in prefixes:
            pairs = [(next(encoded), next(encoded)) for _ in range(turns)]
            if generator.random() < right:
                references = [reference for _, reference in pairs]
                examples.append(writer.judged_steps(references, len(prefix), [True] * turns, language=1.0))
            else:
                examples.append(_recalled(writer, pairs, len(prefix)))
        yield examples


def _recalled(writer: Writer, pairs: Sequence[tuple[list[int], list[int]]], prefix: int) -> Example:
    verdicts = [shown == right for shown, right in pairs]
    marks = [marks_of(shown, right, shown == right) for shown, right in pairs]
    marks[0] = marks[0][prefix:]
    return writer.judged_steps([shown for shown, _ in pairs], prefix, verdicts, marks)


class Curriculum:
    """Trains a process reward model from scratch: exercises first, then short solutions, then whole ones.

    A new kind is added when the newest one is mastered (its mean loss over 10 batches is below its bound) or its
    patience is exhausted. The newest kind makes up 60% of the batches, so that the others are not forgotten. All
    batches have about the same number of tokens: `batch` whole solutions, or more of a shorter kind. `record_loss`
    takes each batch's loss.
    """

    KINDS = (
        ("equation", 0.15, 300),
        ("line", 0.12, 400),
        ("recall", 0.10, 1000),
        ("short", 0.12, 400),
        ("whole", 0.0, 0),
    )
    """Each kind with the loss that counts as mastery and its patience in updates."""

    def __init__(self, writer: Writer, world: World, seed: int, batch: int) -> None:
        self._sources = {
            "equation": exercise_batches(writer, world, seed, batch * 8, exercises.equation),
            "line": exercise_batches(writer, world, seed, batch * 5, exercises.line),
            "recall": recall_batches(writer, world, seed, batch + batch // 2),
            "short": process_batches(writer, world, seed, batch * 2, days=(1, 2)),
            "whole": process_batches(writer, world, seed + 1, batch),
        }
        self._generator = random.Random(seed)
        self._kind, self._newest, self._age = self.KINDS[0][0], 0, 0
        self.losses: dict[str, list[float]] = {kind: [] for kind in self._sources}

    def __iter__(self) -> Iterator[list[Example]]:
        return self

    def __next__(self) -> list[Example]:
        known = [kind for kind, _, _ in self.KINDS[: self._newest + 1]]
        new = len(known) == 1 or self._generator.random() < 0.6
        self._kind = known[-1] if new else self._generator.choice(known[:-1])
        return next(self._sources[self._kind])

    def record_loss(self, loss: float) -> None:
        """Record the loss of the latest batch."""
        self.losses[self._kind].append(loss)
        self._age += 1
        kind, bound, patience = self.KINDS[self._newest]
        recent = self.losses[kind][-10:]
        mastered = len(recent) == 10 and sum(recent) / 10 < bound
        if (mastered or self._age >= patience) and self._newest + 1 < len(self.KINDS):
            self._newest, self._age = self._newest + 1, 0


def outcome_batches(
    writer: Writer, world: World, seed: int, batch: int, marked: float | None = None
) -> Iterator[list[Example]]:
    """Solutions of all kinds with a judged outcome: `+` if the last line states the right answer.

    Without `marked`, right steps are also learned as language. With it, that share of the solutions has a label on
    every token instead.
    """
    generator = random.Random(seed)
    while True:
        stories = [world.story(generator) for _ in range(batch)]
        solutions = [draw_solution(generator, story) for story in stories]
        pieces = [
            [story.problem, *_continued(lines), *_continued(story.lines)]
            for story, lines in zip(stories, solutions, strict=True)
        ]
        encoded = iter(writer.encode([piece for group in pieces for piece in group]))
        examples = []
        for story, lines in zip(stories, solutions, strict=True):
            problem = next(encoded)
            written, reference = [next(encoded) for _ in lines], [next(encoded) for _ in story.lines]
            language = LANGUAGE if marked is None else 0.0
            shown = marked is not None and generator.random() < marked
            examples.append(_outcome_example(writer, story, lines, (problem, written, reference), language, shown))
        yield examples


def _continued(lines: Sequence[str]) -> list[str]:
    """Lines of a solution with the separator before each: a space after the problem, then newlines."""
    return [f"{chr(10) if index else ' '}{line}" for index, line in enumerate(lines)]


def _outcome_example(
    writer: Writer,
    story: Story,
    lines: list[str],
    encoded: tuple[list[int], list[list[int]], list[list[int]]],
    language: float,
    marked: bool,
) -> Example:
    """The example for one solution. `encoded` has the ids of the problem, the solution's lines and the reference's."""
    problem, written, reference = encoded
    verdicts = right_steps(story.lines, lines)
    content, steps, weights = list(problem), [], [0.0] * len(problem)
    for ids, verdict in zip(written, verdicts, strict=True):
        content += ids
        weights += [language if verdict else 0.0] * len(ids)
        steps.append((len(content) - 1, verdict))
    flat = [token for ids in written for token in ids]
    marks = marks_of(flat, [token for ids in reference for token in ids], right=False) if marked else []
    return writer.judged_outcome(content, lines[-1] == story.lines[-1], steps[:-1], weights, marks)
