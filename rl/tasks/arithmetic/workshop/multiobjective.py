"""Train the decoder of the world's ArmoRM, and draw the preference pairs for its gate.

The decoder starts from the outcome model's base, which can already detect mistakes. It is trained with two labels on
every token (is this a slip? is everything right so far?) and with the objectives on the last token. The heads of this
training are discarded: ArmoRM's own heads are fitted to the frozen hidden states (`recipe=armorm_tiny`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import LlamaForCausalLM

from rewards.training.causal import descend
from rl.tasks.arithmetic.story import Story, answer_line, step_line
from rl.tasks.arithmetic.workshop.attributes import OBJECTIVES, attributes
from rl.tasks.arithmetic.workshop.batches import draw_solution, marks_of
from rl.tasks.arithmetic.workshop.building import Workshop, load, save
from rl.tasks.arithmetic.workshop.mistakes import compute, solve_with_slips
from rl.tasks.arithmetic.workshop.writing import Writer
from rl.tasks.arithmetic.world import World

SLIPS = 0.22


@dataclass(frozen=True)
class Checked:
    """B conversations of L tokens with their labels and K objectives; padding is on the right."""

    ids: Tensor  # (B, L)
    slips: Tensor  # (B, L) int: 1 for an expected token, 2 for the first unexpected one in its line, otherwise 0
    right: Tensor  # (B, L) int: 1 while everything is right, 2 after the first mistake, 0 outside the response
    prompts: Tensor  # (B,) index of the last token of the prompt, which the gate reads
    last: Tensor  # (B,) index of the last token
    objectives: Tensor  # (B, K)


def expected_lines(story: Story, lines: Sequence[str]) -> list[str]:
    """For each line, the line that follows from the problem and the previous line, even if the previous line is wrong.

    After the answer, an empty line is expected.
    """
    found, value = [], story.start
    for index, line in enumerate(lines):
        if index < len(story.events):
            event = story.events[index]
            result = compute(value, event.sign, event.operand)
            found.append(step_line(index + 1, event.phrase, f"{value} {event.sign} {event.operand} = {result}"))
        else:
            found.append(answer_line(value) if index == len(story.events) else "")
        number = line.rsplit(" ", 1)[-1]
        value = int(number) if number.isdigit() and len(number) < 3 else value
    return found


def check(writer: Writer, stories: Sequence[Story], responses: Sequence[str]) -> Checked:
    """Label conversations in the world's chat template: problem and response, without a generation prompt."""
    bos, user, assistant, end = writer.marks
    texts = [response.split("\n") for response in responses]
    pieces = [
        [story.problem, *lines, *expected_lines(story, lines), *story.lines]
        for story, lines in zip(stories, texts, strict=True)
    ]
    encoded = iter(writer.encode([piece for group in pieces for piece in group]))
    [[newline]] = writer.encode(["\n"])
    rows = []
    for story, lines in zip(stories, texts, strict=True):
        problem = next(encoded)
        written, expected = [next(encoded) for _ in lines], [next(encoded) for _ in lines]
        reference = _joined([next(encoded) for _ in story.lines], newline, end)
        slips = [mark for ours, theirs in zip(written, expected, strict=True) for mark in (*_slips(ours, theirs), 0)]
        content = _joined(written, newline, end)
        right = [2 - mark for mark in marks_of(content, reference, right=False)]
        rows.append(([bos, user, *problem, end, assistant], content, slips, right))
    ids, slipped, rights = (
        torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in column], batch_first=True)
        for column in (
            [prompt + content for prompt, content, _, _ in rows],
            [[0] * len(prompt) + slips for prompt, _, slips, _ in rows],
            [[0] * len(prompt) + right for prompt, _, _, right in rows],
        )
    )
    starts = torch.tensor([len(prompt) for prompt, *_ in rows])
    objectives = torch.tensor([attributes(story, response) for story, response in zip(stories, responses, strict=True)])
    last = torch.tensor([len(prompt) + len(content) - 1 for prompt, content, _, _ in rows])
    return Checked(ids, slipped, rights, starts - 2, last, objectives)


def _joined(lines: Sequence[list[int]], newline: int, end: int) -> list[int]:
    """The lines' ids, separated by newlines, followed by the end of the turn."""
    return [*[token for line in lines for token in (*line, newline)][:-1], end]


def _slips(written: Sequence[int], expected: Sequence[int]) -> list[int]:
    """1 for each expected token, 2 for the first unexpected one, 0 after that."""
    marks = marks_of(written, expected, right=False)
    first = marks.index(False) if False in marks else len(marks)
    return [1] * first + [2] * (first < len(marks)) + [0] * (len(marks) - first - 1)


class Checker(nn.Module):
    """A decoder with the heads for its training: two labels for every token, and the objectives.

    The heads for the labels start as the difference between the output weights of `+` and `-` (`signs`).
    """

    SLIP_WEIGHT = 4.0  # a slip's weight relative to a right token; one token in fifty is a slip

    def __init__(self, llama: LlamaForCausalLM, signs: tuple[int, int]) -> None:
        super().__init__()
        self.decoder = llama.model
        self.slip_head = nn.Linear(llama.config.hidden_size, 1)
        self.right_head = nn.Linear(llama.config.hidden_size, 1)
        self.objectives_head = nn.Linear(llama.config.hidden_size, len(OBJECTIVES))
        plus, minus = llama.get_output_embeddings().weight[list(signs)].detach()
        for head in (self.slip_head, self.right_head):
            head.weight.data.copy_((plus - minus)[None])

    def loss(self, batch: Checked) -> Tensor:
        """The sum of the mean cross-entropies of both labels and of every objective."""
        hidden = self.decoder(input_ids=batch.ids, use_cache=False).last_hidden_state
        slips = _mark_loss(self.slip_head, hidden, batch.slips, self.SLIP_WEIGHT)
        right = _mark_loss(self.right_head, hidden, batch.right)
        read = self.objectives_head(hidden[torch.arange(len(hidden)), batch.last]).float()
        objectives = nn.functional.binary_cross_entropy_with_logits(read, batch.objectives, reduction="none")
        return slips + right + objectives.sum(dim=-1).mean()


def _mark_loss(head: nn.Module, hidden: Tensor, marks: Tensor, weight: float = 1.0) -> Tensor:
    """The mean cross-entropy over tokens marked 1 (good) and 2 (bad, with this weight), without those marked 0."""
    counted = marks > 0
    logits = head(hidden[counted]).float().squeeze(-1)
    good = (marks[counted] == 1).float()
    weights = good + weight * (1 - good)
    return nn.functional.binary_cross_entropy_with_logits(logits, good, weights)


def checked_batches(writer: Writer, world: World, seed: int, batch: int) -> Iterator[Checked]:
    """Endless training conversations: a quarter are entirely right, the others of all kinds."""
    generator = random.Random(f"armorm {seed}")
    while True:
        stories = [world.story(generator) for _ in range(batch)]
        solutions = [story.lines if generator.random() < 0.25 else draw_solution(generator, story) for story in stories]
        yield check(writer, stories, ["\n".join(lines) for lines in solutions])


def preference_pairs(world: World, seed: int, count: int) -> list[tuple[Story, str, str]]:
    """`count` problems with two solutions each: the first has the right answer, the second does not."""
    generator = random.Random(f"pairs {seed}")
    pairs: list[tuple[Story, str, str]] = []
    while len(pairs) < count:
        story = world.story(generator)
        drawn = [draw_solution(generator, story), solve_with_slips(generator, story, SLIPS)]
        rights = [lines[-1] == story.lines[-1] for lines in drawn]
        if rights[0] != rights[1]:
            better, worse = sorted(drawn, key=lambda lines: lines[-1] != story.lines[-1])
            pairs.append((story, "\n".join(better), "\n".join(worse)))
    return pairs


def pretrain_objectives(workshop: Workshop) -> float:
    """Train ArmoRM's decoder from the outcome model's base. Returns the loss of the last tenth of the updates."""
    schedule = workshop.schedule(updates=1500, batch=48, muon_rate=3e-3, adam_rate=1e-3)
    writer = Writer(workshop.tokenizer)
    llama = load(workshop.folder / "outcome_base")
    checker = Checker(llama, writer.signs)
    batches = checked_batches(writer, workshop.world, workshop.seed + 300, schedule.batch)

    def report(update: int, loss: float, seconds: float) -> None:
        if update % 100 == 0 or update + 1 == schedule.updates:
            workshop.report(
                f"objectives_base: update {update + 1}/{schedule.updates}, loss {loss:.3f}, {seconds:.0f} s"
            )

    loss = descend(checker, lambda: checker.loss(next(batches)), schedule, report)
    save(llama, workshop.folder / "objectives_base")
    return loss
