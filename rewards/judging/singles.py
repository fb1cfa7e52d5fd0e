"""Judges of one response: `RubricReward` asks a generative judge for a verdict on each criterion of a rubric."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

from rewards.conversation import Message, question_of
from rewards.judging.formats import CONVERSATION, Template, TurnTemplate, load, spoken
from rewards.judging.generators import Generator, Request, Written
from rewards.judging.reading import Number, Word, compiled, without_brackets
from rewards.judging.rubric import NO_VERDICT, Criterion, Rubric, described, rubric_of, score_of
from rewards.judging.single_kinds import KINDS, CriteriaJson, Probability, Values
from rewards.protocol import Pair, ResponseReward
from rewards.types import Problem, Score

_PLACEHOLDER = re.compile(r"\{(question|reference)\}")
_PLACEHOLDERS = frozenset({"question", "response", "reference", "criterion", "criteria", "example"})

ALONE: Rubric = (Criterion("score", "How good is the response?"),)
"""The rubric of a format that shows no criteria."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SingleFormat:
    """How a judge looks at one response.

    turns: the prompt, with the placeholders {question}, {response}, {reference} (the reference answer), and either
    {criteria} and {example} (all criteria of a text, and the form of the verdicts) or {criterion} (the text of one). A
    turn of the role `conversation` stands for the problem's own turns. The text of a criterion may itself show
    {question} and {reference}.
    verdict: how the verdicts are read (`rewards.judging.single_kinds`; Word and Number in `rewards.judging.reading`).
    thoughts, defuse: see `rewards.judging.pairs.PairFormat`.
    Raises ValueError if the prompt does not show the response, and the question or a criterion that may show it.
    """

    turns: tuple[TurnTemplate, ...]
    verdict: CriteriaJson | Word | Number | Probability
    thoughts: str | None = None
    defuse: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for pattern in self.defuse:
            compiled(pattern, "defuse")
        self.template.require(["response", ("question", CONVERSATION, "criterion", "criteria")])
        if isinstance(self.verdict, CriteriaJson):
            self.template.require(["criteria", "example"])
        elif wrong := self.template.used & {"criteria", "example"}:
            raise ValueError(f"turns have {{{min(wrong)}}}, which only verdicts of kind criteria_json fill in")

    @cached_property
    def template(self) -> Template:
        """The prompt."""
        return Template(self.turns, _PLACEHOLDERS)

    @property
    def shows_criteria(self) -> bool:
        """Whether the prompt shows criteria at all."""
        return bool(self.template.used & {"criteria", "criterion"})

    @property
    def together(self) -> bool:
        """Whether one text has the verdicts on all criteria."""
        return isinstance(self.verdict, CriteriaJson) and self.verdict.together

    def asked(self, problem: Problem, response: str, criteria: Rubric, generator: Generator) -> Request:
        """The judge's prompt for one response and some criteria. Raises ValueError if it cannot be made."""
        plain, used = generator.plain, self.template.used
        shown = used.union(*(_PLACEHOLDER.findall(one.text) for one in criteria))
        if "reference" in shown and problem.answer is None:
            raise ValueError("the problem has no reference answer, which the judge is to be shown")
        question = question_of(problem.messages, "the judge's prompt") if "question" in shown else ""
        own = {"question": plain(question), "reference": plain(problem.answer or "")}
        criteria = tuple(replace(one, text=_PLACEHOLDER.sub(lambda m: own[m[1]], one.text)) for one in criteria)
        together = isinstance(self.verdict, CriteriaJson)
        texts = {
            **own,
            "response": plain(without_brackets(self.verdict.defused(response), self.defuse)),
            "criteria": described(criteria),
            "criterion": criteria[0].text,
            "example": self.verdict.example(criteria) if isinstance(self.verdict, CriteriaJson) else "",
        }
        turns = [
            Message(role=turn["role"], content=plain(turn["content"]))
            for turn in problem.messages
            if turn["role"] != "system"
        ]
        return Request(
            self.template.fill(texts, turns),
            schema=self.verdict.schema(criteria) if together else None,  # type: ignore[union-attr]
            probabilities=isinstance(self.verdict, Probability),
            tokens=1 if isinstance(self.verdict, Probability) and self.verdict.at == "first" else None,
        )

    def read(self, written: Written, criteria: Rubric) -> Values:
        """What each of these criteria is worth, in [0, 1], or why it has no verdict."""
        if written.text is None:
            return {one.name: written.failure or "the judge wrote nothing" for one in criteria}
        text = spoken(written.text, self.thoughts)
        if isinstance(self.verdict, CriteriaJson):
            values = self.verdict.read(text, criteria)
        else:
            read = self.verdict.read(written) if isinstance(self.verdict, Probability) else self.verdict.read(text)
            values = dict.fromkeys((one.name for one in criteria), read)
        if not written.cut or (isinstance(self.verdict, Probability) and self.verdict.at == "first"):
            return values
        cut = " before it was cut off (max_new_tokens)"
        return {name: f"{value}{cut}" if isinstance(value, str) else value for name, value in values.items()}


def load_single_format(name: str) -> SingleFormat:
    """A format by name or path. Raises ValueError in one line if it is not a format for single responses."""
    found = load(name, SingleFormat, KINDS)
    assert isinstance(found, SingleFormat)
    return found


class RubricReward(ResponseReward):
    """A generative judge's verdicts on the criteria of a rubric: sum of weight * verdict / sum of the positive weights.

    generator: the model that writes (`rewards.judging.generators`).
    format: what the judge is asked, by name or path (`rewards.judging.formats`).
    criteria: the rubric for all problems (`rewards.judging.rubric.rubric_of`); None if every problem has its own. A
    format that shows no criteria takes none.
    field: the field of a problem's row that holds its own rubric, which takes the place of `criteria`; None: no field.

    A verdict is worth 0 (worst) to 1 (best). Parts: the value of each criterion, and `no_verdict`. A criterion of
    weight 0 is a part and not paid, and if it has no verdict, it is only counted; any other criterion without a verdict
    fails the score. An empty response, and a problem without a usable rubric, fail too.
    Raises ValueError for a format or rubric that cannot be used.
    """

    def __init__(
        self,
        generator: Generator,
        *,
        format: str = "rubric",
        criteria: tuple[dict[str, Any], ...] | None = None,
        field: str | None = "rubric",
    ) -> None:
        if not hasattr(generator, "write"):
            raise ValueError("generator must be one, such as _target_: rewards.judging.generators.VllmGenerator")
        self.generator, self.format = generator, load_single_format(format)
        if not isinstance(self.format.verdict, CriteriaJson) and not getattr(generator, "structured", True):
            raise ValueError(f"generator.structured=false has no effect: the format {format} has no JSON schema")
        if not self.format.shows_criteria:
            if criteria is not None:
                raise ValueError(f"criteria has no effect: the format {format} shows none; leave it at null")
            field = None
        elif criteria is None and field is None:
            raise ValueError("criteria or field must be given: one of them must say where the rubric is")
        self.rubric = None if criteria is None else self._checked(rubric_of(criteria, "criteria"), "criteria")
        if not self.format.shows_criteria:
            self.rubric = ALONE
        self.field = field
        if field is None and self.rubric is not None:
            self.part_names = frozenset({*(one.name for one in self.rubric), NO_VERDICT})
        self._own = lru_cache(maxsize=4096)(self._read_own)

    def load(self) -> None:
        """Load the generator's weights, if it has any."""
        if hasattr(self.generator, "load"):
            self.generator.load()

    def refusal(self, problem: Problem) -> str | None:
        """Why no response to this problem can be scored, or None."""
        found = self.rubric_for(problem)
        return found if isinstance(found, str) else None

    def rubric_for(self, problem: Problem) -> Rubric | str:
        """The rubric of a problem: its own, or else the one for all; or why there is none."""
        own = None if self.field is None else problem.metadata.get(self.field)
        if own is not None:
            return self._own(Frozen(own))
        return self.rubric or f"the problem has no field {self.field!r} with a rubric, and criteria is null"

    def score_responses(self, pairs: Sequence[Pair]) -> list[Score]:
        """One score per response, from one call to the generator."""
        rubrics = [self.rubric_for(problem) for problem, _ in pairs]
        failed: dict[int, str] = {}
        asked: list[tuple[int, Rubric]] = []
        requests: list[Request] = []
        for index, ((problem, response), rubric) in enumerate(zip(pairs, rubrics, strict=True)):
            try:
                if isinstance(rubric, str):
                    raise ValueError(rubric)
                if not response.text.strip():
                    raise ValueError("the response is empty")
                texts = self._texts(rubric)
                requests += [self.format.asked(problem, response.text, one, self.generator) for one in texts]
                asked += [(index, one) for one in texts]
            except ValueError as error:
                failed[index] = str(error)
        values: list[Values] = [{} for _ in pairs]
        for (index, criteria), written in zip(asked, self.generator.write(requests), strict=True):
            values[index] |= self.format.read(written, criteria)
        self._tell(rubrics, values)
        return [
            Score.failed(failed[index]) if index in failed else score_of(rubric, values[index])  # type: ignore[arg-type]
            for index, rubric in enumerate(rubrics)
        ]

    def _texts(self, rubric: Rubric) -> list[Rubric]:
        """The criteria of each text that the judge writes; those of weight 0 last, so that a cut costs nothing."""
        order = tuple(sorted(rubric, key=lambda one: one.weight == 0))
        return [order] if self.format.together else [(one,) for one in order]

    def _read_own(self, frozen: Frozen) -> Rubric | str:
        try:
            return self._checked(rubric_of(frozen.value, self.field or ""), self.field or "")
        except ValueError as error:
            return str(error)

    def _checked(self, rubric: Rubric, key: str) -> Rubric:
        """The same rubric. Raises ValueError for choices that the format does not read."""
        if not isinstance(self.format.verdict, CriteriaJson):
            for place, one in enumerate(rubric):
                if one.choices != Criterion.choices:
                    raise ValueError(f"{key}[{place}].choices has no effect: the format has verdicts of its own")
        return rubric

    def _tell(self, rubrics: Sequence[Rubric | str], values: Sequence[Values]) -> None:
        """Log how many verdicts are missing, and why."""
        reasons: Counter[str] = Counter()
        for row in values:
            reasons.update(value for value in row.values() if isinstance(value, str))
        if reasons:
            reason, count = reasons.most_common(1)[0]
            total = sum(map(len, values))
            _logger.warning("%d of %d verdicts are missing; %d of them: %s", reasons.total(), total, count, reason)


class Frozen:
    """Plain data as a key, equal if it is written alike."""

    def __init__(self, value: Any) -> None:
        self.value, self._key = value, repr(value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Frozen) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)
