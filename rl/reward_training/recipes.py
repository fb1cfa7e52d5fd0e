"""The kinds of reward model that can be trained: the rows each reads, and what it learns from them.

A recipe is a node of the configuration; configs/recipe has the published ones. ArmoRM's is
`rewards.training.armorm_fit`, since it does not run on DeepSpeed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, Protocol

from rewards.chat import ChatTemplate, load_tokenizer
from rewards.training import row_formats
from rewards.training.examples import History, Marked, Pair, mark_judgements, mark_signs, pair_ids
from rewards.training.row_formats import Judgement, Preference, Signs
from rewards.verdicts import SYSTEM, load_template
from rl.reward_training.settings import TrainingSettings, TrainingSetup
from rl.settings import require


class Recipe(Protocol):
    """A kind of reward model."""

    model: str
    training: TrainingSettings

    @property
    def fields(self) -> frozenset[str]:
        """The fields of a row that are read."""
        ...

    def parse(self, record: Mapping[str, Any]) -> Any:
        """Parse a row of the file. Raises ValueError with the reason if it cannot be used."""
        ...

    def fault(self, found: Sequence[Any]) -> str | None:
        """Why nothing can be learned from these rows together, or None."""
        ...

    def items(self, found: Sequence[Any]) -> list[Any]:
        """The rows as token sequences. Raises ValueError if the model's chat template refuses a row."""
        ...

    def cost(self, item: Any) -> int:
        """Tokens of a row in a forward pass."""
        ...

    def setup(self, device: Literal["cpu", "cuda"], seed: int, steps: int) -> TrainingSetup:
        """The setup for the ranks."""
        ...


class Template:
    """A recipe's chat template, loaded on first use."""

    model: str

    @cached_property
    def template(self) -> ChatTemplate:
        """The model's chat template. Raises ValueError if it has none."""
        return ChatTemplate(load_tokenizer(self.model))


@dataclass(frozen=True)
class SignModel(Template):
    """An outcome or process reward model in RLHFlow's form, from `conversations` whose assistant turns are labels.

    One turn per conversation gives an outcome model, one turn per step a process model. Only the labels have a loss:
    cross-entropy with the label, or with the row's share of the positive label for soft targets (Math-Shepherd's soft
    estimation, arXiv 2312.08935, section 3.3.2).
    """

    model: str  # folder or hub name of a causal language model with tokenizer and chat template
    training: TrainingSettings
    labels: tuple[str, str] = ("+", "-")  # the positive one first
    system: str | None = None  # text of a system turn for rows without one; None: the template's default
    history: History = "labels"  # content of earlier assistant turns: the labels, or always the positive one
    softmax: Literal["vocabulary", "labels"] = "vocabulary"  # over which tokens the loss normalises
    targets: Literal["hard", "soft"] = "hard"  # the labels, or the rows' `values`: shares of the positive one

    @property
    def fields(self) -> frozenset[str]:
        """See Recipe."""
        return row_formats.SOFT_SIGN_FIELDS if self.targets == "soft" else row_formats.SIGN_FIELDS

    def parse(self, record: Mapping[str, Any]) -> Signs:
        """See Recipe."""
        return row_formats.parse_signs(record, self.labels, soft=self.targets == "soft")

    def fault(self, found: Sequence[Signs]) -> str | None:
        """See Recipe: a label is missing from all rows, or all steps have the same share."""
        if self.targets == "soft":
            shares = {share for row in found for share in row.shares or ()}
            return (
                f"every step has the value {shares.pop():g}: there is nothing to tell apart"
                if len(shares) == 1
                else None
            )
        missing = [label for label in self.labels if not any(label in row.labels for row in found)]
        return f"no step is labelled {missing[0]!r}: there is nothing to tell apart" if missing else None

    def items(self, found: Sequence[Signs]) -> list[Marked]:
        """See Recipe."""
        return mark_signs(self.template, found, self.labels, self.system, self.history)

    def cost(self, item: Marked) -> int:
        """See Recipe."""
        return len(item)

    def setup(self, device: Literal["cpu", "cuda"], seed: int, steps: int) -> TrainingSetup:
        """See Recipe."""
        candidates = self.template.label_ids(self.labels) if self.softmax == "labels" else None
        return TrainingSetup(self.model, "labels", self.training, device, seed, steps, candidates)


@dataclass(frozen=True)
class JudgeModel(Template):
    """A generative pairwise judge in PairJudge RM's form, fine-tuned on judgements. Only its own text has a loss."""

    fields: ClassVar[frozenset[str]] = row_formats.JUDGEMENT_FIELDS
    model: str
    training: TrainingSettings
    template_file: str | None = None  # prompt with {question}, {response_a}, {response_b}; None: the project's own
    system: str | None = SYSTEM

    def parse(self, record: Mapping[str, Any]) -> Judgement:
        """See Recipe."""
        return row_formats.parse_judgement(record)

    def fault(self, found: Sequence[Judgement]) -> str | None:
        """See Recipe: a verdict is missing from all rows."""
        given = {side for row in found for side in (row.verdict.a, row.verdict.b)}
        missing = [name for name, value in (("Correct", True), ("Incorrect", False)) if value not in given]
        return f"no response is judged {missing[0]}: there is nothing to tell apart" if missing else None

    def items(self, found: Sequence[Judgement]) -> list[Marked]:
        """See Recipe."""
        return mark_judgements(self.template, found, load_template(self.template_file), self.system)

    def cost(self, item: Marked) -> int:
        """See Recipe."""
        return len(item)

    def setup(self, device: Literal["cpu", "cuda"], seed: int, steps: int) -> TrainingSetup:
        """See Recipe."""
        return TrainingSetup(self.model, "labels", self.training, device, seed, steps)


@dataclass(frozen=True)
class ScalarModel(Template):
    """OpenRLHF's scalar reward model, trained by Bradley-Terry on preference pairs."""

    fields: ClassVar[frozenset[str]] = row_formats.PAIR_FIELDS
    model: str
    training: TrainingSettings

    def __post_init__(self) -> None:
        training = self.training
        require(
            2 * training.max_tokens <= training.micro_batch_tokens,
            f"training.max_tokens ({training.max_tokens}): a pair takes twice as much, which is more than "
            f"training.micro_batch_tokens ({training.micro_batch_tokens}): lower the first, or raise the second",
        )
        require(training.layout == "balanced", "training.layout must be balanced for pairs, not packed")

    def parse(self, record: Mapping[str, Any]) -> Preference:
        """See Recipe."""
        return row_formats.parse_preference(record)

    def fault(self, found: Sequence[Preference]) -> str | None:
        """See Recipe: never, since a pair always has both kinds."""
        return None

    def items(self, found: Sequence[Preference]) -> list[Pair]:
        """See Recipe."""
        return pair_ids(self.template, found)

    def cost(self, item: Pair) -> int:
        """See Recipe: both responses, padded to the longer one."""
        return 2 * len(item)

    def setup(self, device: Literal["cpu", "cuda"], seed: int, steps: int) -> TrainingSetup:
        """See Recipe."""
        return TrainingSetup(self.model, "pairs", self.training, device, seed, steps)
