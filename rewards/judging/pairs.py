"""A generative pairwise judge: a format says what it is asked and how its verdict is read, a generator writes."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from rewards.chat import Turn
from rewards.conversation import Message
from rewards.judging.formats import CONVERSATION, Swap, Template, TurnTemplate, load, spoken
from rewards.judging.generators import Generator, Request, Written
from rewards.judging.reading import compiled, without_brackets
from rewards.judging.verdict_kinds import KINDS, PairReader, Sides
from rewards.verdicts import Comparison, Verdict

_logger = logging.getLogger(__name__)

_PLACEHOLDERS = frozenset({"question", "response_a", "response_b", "principle"})


@dataclass(frozen=True)
class PairFormat:
    """How a judge compares two responses.

    turns: the prompt, with the placeholders {question}, {response_a}, {response_b} and {principle}; a turn of the role
    `conversation` stands for the problem's own turns.
    verdict: how the verdict is read (`rewards.judging.verdict_kinds`).
    stop: a text that ends the judge's writing; the verdict may end with it.
    thoughts: the text that ends the judge's thoughts, such as </think>; only what follows it is read.
    defuse: regular expressions of further texts that lose their brackets in a response before the judge reads it; whole
    verdicts always do.
    swap: see `rewards.judging.formats.Swap`.
    Raises ValueError if the prompt does not show the question and both responses.
    """

    turns: tuple[TurnTemplate, ...]
    verdict: PairReader
    stop: str | None = None
    thoughts: str | None = None
    defuse: tuple[str, ...] = ()
    swap: Swap = "random"

    def __post_init__(self) -> None:
        if self.swap not in ("random", "mean", "agree"):
            raise ValueError(f"swap must be random, mean or agree, not {self.swap!r}")
        for pattern in self.defuse:
            compiled(pattern, "defuse")
        self.template.require(["response_a", "response_b", ("question", CONVERSATION)])

    @cached_property
    def template(self) -> Template:
        """The prompt."""
        return Template(self.turns, _PLACEHOLDERS)

    def asked(self, comparison: Comparison, principle: str | None = None) -> list[Turn]:
        """The judge's prompt for one comparison. A verdict inside a response loses its brackets (`PairReader`)."""
        texts = {
            "question": comparison.question,
            "response_a": self._harmless(comparison.a),
            "response_b": self._harmless(comparison.b),
            "principle": principle,
        }
        alone = (Message(role="user", content=comparison.question),)
        return self.template.fill(texts, comparison.messages or alone)

    def _harmless(self, response: str) -> str:
        """A response in which nothing can pass for a verdict."""
        return without_brackets(self.verdict.defused(response), self.defuse)

    def read(self, written: str) -> Verdict:
        """The verdict in what the judge wrote. A stop text that the engine has removed is added back."""
        text = spoken(written, self.thoughts)
        if self.stop is not None and not text.rstrip().lower().endswith(self.stop.lower()):
            text += self.stop
        return self.verdict.read(text)


def load_pair_format(name: str) -> PairFormat:
    """A format by name or path. Raises ValueError in one line if it is not a format for pairs."""
    found = load(name, PairFormat, KINDS)
    assert isinstance(found, PairFormat)
    return found


class GenerativeJudge:
    """A generative model that compares two responses, in any format, for `rewards.pairjudge.PairJudgeReward`.

    format: a format for pairs, by name or path (`rewards.judging.formats`). generator: the model that writes
    (`rewards.judging.generators`). principle: the text of the format's {principle}; None leaves its turn out.
    Raises ValueError for a format that cannot be used and a principle that it does not show.
    """

    def __init__(self, format: str, generator: Generator, *, principle: str | None = None) -> None:
        self.use(load_pair_format(format), generator, principle, format)

    def use(self, format: PairFormat, generator: Generator, principle: str | None, name: str) -> None:
        """Take a format that is already loaded."""
        if not hasattr(generator, "write"):
            raise ValueError("generator must be one, such as _target_: rewards.judging.generators.VllmGenerator")
        if principle is not None and "principle" not in format.template.used:
            raise ValueError(f"principle has no effect: the format {name} has no {{principle}}; leave it at null")
        self.format, self.generator, self.principle = format, generator, principle

    @property
    def swap(self) -> Swap:
        """How the judge's preference for a place is met, as the format says."""
        return self.format.swap

    @property
    def judges_sides(self) -> bool:
        """Whether a verdict is on each side, so that one of them can be unreadable."""
        return isinstance(self.format.verdict, Sides)

    @property
    def reads_turns(self) -> bool:
        """Whether it is given a problem's own turns, so that a dialogue needs no transcript."""
        return "question" not in self.format.template.used

    def load(self) -> None:
        """Load the generator's weights, if it has any."""
        if hasattr(self.generator, "load"):
            self.generator.load()

    def judge(self, comparisons: Sequence[Comparison]) -> list[Verdict]:
        """Judge all comparisons in one call to the generator. A judge that gives no verdict is never a number."""
        plain = self.generator.plain
        requests = []
        for one in comparisons:
            messages = tuple(Message(role=turn["role"], content=plain(turn["content"])) for turn in one.messages)
            safe = Comparison(plain(one.question), plain(one.a), plain(one.b), messages)
            requests.append(Request(self.format.asked(safe, self.principle), stop=self.format.stop))
        return log_missing([self._verdict(written) for written in self.generator.write(requests)])

    def _verdict(self, written: Written) -> Verdict:
        if written.text is None:
            return Verdict.none(written.failure or "the judge wrote nothing")
        verdict = self.format.read(written.text)
        if written.cut and verdict.reason is not None:
            return replace(verdict, reason=f"{verdict.reason} before it was cut off (max_new_tokens)")
        return verdict


def log_missing(verdicts: list[Verdict]) -> list[Verdict]:
    """Log how many verdicts are missing and why; return them unchanged."""
    reasons = Counter(verdict.reason for verdict in verdicts if verdict.reason is not None)
    if reasons:
        reason, count = reasons.most_common(1)[0]
        _logger.warning(
            "%d of %d judgements gave no verdict; %d of them: %s", reasons.total(), len(verdicts), count, reason
        )
    return verdicts
