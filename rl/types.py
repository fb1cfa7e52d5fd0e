"""The loop's data types: groups of answers, and the batch a learner trains on.

All batch tensors are token-aligned: column t of a (B, L) tensor refers to `input_ids[:, t]`. The log-probability of
token t given the tokens before it is in column t (column 0 is always 0). Sequences are prompt then response, padded
on the right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from rewards.types import FinishReason, Group, Problem, Response, Score
from rl.credit.steps import StepRewards


@dataclass(frozen=True)
class Sample:
    """One response as the sampler drew it.

    `response_ids` include what ended the response if `finish_reason` is "stop": the end-of-turn token, or the tokens of
    a stop text. `logprobs` are natural logarithms under the behaviour policy, one for each response id: at the sampling
    temperature, renormalized over the tokens that were kept (rl/truncation.py). `weight_version` counts the syncs that
    the engine had received: of a response that was drawn with several weights, the oldest. `text` is what the ids
    decode to without special tokens, a stop text included. `loss_mask` says which response ids the policy drew itself
    and learns from (a turn of somebody else in between is not its own); None: all of them.
    """

    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    text: str
    finish_reason: FinishReason
    weight_version: int
    loss_mask: tuple[bool, ...] | None = None


@dataclass(frozen=True)
class Answer:
    """One response: its sample, its score, and whether it is correct.

    `score` is None until the response is scored, or if no reward is used. `correct` is the task's grade: None until
    graded, or if the task could not grade it or has no reference answers.
    """

    sample: Sample
    score: Score | None = None
    correct: bool | None = None


@dataclass(frozen=True)
class AnswerGroup:
    """A problem with the answers drawn for it. A rollout is a list of these."""

    problem: Problem
    answers: tuple[Answer, ...]

    @classmethod
    def drawn(cls, problem: Problem, samples: Sequence[Sample]) -> AnswerGroup:
        """A group fresh from the sampler: neither scored nor graded."""
        return cls(problem, tuple(Answer(sample) for sample in samples))

    @property
    def samples(self) -> list[Sample]:
        """The sample of each answer."""
        return [answer.sample for answer in self.answers]

    @property
    def scores(self) -> list[Score]:
        """The score of each answer. Raises ValueError if an answer was never scored (a failed score is fine)."""
        scores = [answer.score for answer in self.answers if answer.score is not None]
        if len(scores) < len(self.answers):
            raise ValueError(f"problem {self.problem.id}: an answer was not scored")
        return scores

    @property
    def cut(self) -> list[bool]:
        """Which answers were cut at the length limit."""
        return [answer.sample.finish_reason == "length" for answer in self.answers]

    def for_reward(self) -> Group:
        """The group in the form rewards take: the problem and the texts of the responses."""
        return Group(self.problem, tuple(Response(sample.text, sample.finish_reason) for sample in self.samples))

    def with_scores(self, scores: Sequence[Score]) -> AnswerGroup:
        """The same answers with these scores. Raises ValueError unless there is one score per answer."""
        pairs = zip(self.answers, scores, strict=True)
        return replace(self, answers=tuple(replace(answer, score=score) for answer, score in pairs))


@dataclass
class TrainBatch:
    """What a policy-gradient learner trains on; every tensor is (B, L) and token-aligned.

    `advantages` may be zero where `response_mask` is False. `behaviour_logprobs` are the sampler's,
    `old_logprobs` the learner's own before the update, `reference_logprobs` the frozen reference's.
    """

    input_ids: Tensor  # int64
    attention_mask: Tensor  # bool, True on real tokens
    response_mask: Tensor  # bool, True on response tokens that the policy drew itself
    behaviour_logprobs: Tensor  # float32, 0 outside the response
    advantages: Tensor | None = None  # float32
    old_logprobs: Tensor | None = None  # float32
    reference_logprobs: Tensor | None = None  # float32
    values: Tensor | None = None  # float32, the critic's, before the update
    returns: Tensor | None = None  # float32, what the critic regresses on
    kept_logprobs: Tensor | None = None  # float32, of all tokens that truncated sampling keeps; None: nothing is cut

    def __len__(self) -> int:
        return int(self.input_ids.shape[0])

    def select(self, rows: Tensor | list[int]) -> TrainBatch:
        """The given rows, trimmed to their longest sequence."""
        index = torch.as_tensor(rows, dtype=torch.long)
        length = int(self.attention_mask[index].sum(dim=1).max()) if len(index) else 0
        chosen = {name: None if tensor is None else tensor[index][:, :length] for name, tensor in self.__dict__.items()}
        return TrainBatch(**chosen)  # type: ignore[arg-type]


@dataclass
class Preferences:
    """P preference pairs for DPO: of the batch, row `chosen[i]` is preferred to row `rejected[i]`.

    Both rows have the same prompt. A row may be in many pairs, or in none.
    """

    batch: TrainBatch
    chosen: Tensor  # int64 (P,)
    rejected: Tensor  # int64 (P,)

    def __len__(self) -> int:
        return len(self.chosen)


@dataclass
class Scored:
    """Scored groups with their batch. Its rows are the answers, group by group.

    Scores may be failures (`Score.ok` is False). `batch` has `old_logprobs`, `reference_logprobs` if the algorithm
    needs a reference, and `values` if it has a critic. `steps`, set if the algorithm needs steps, says where in the
    batch each step of an answer ends.
    """

    groups: list[AnswerGroup]
    batch: TrainBatch
    steps: StepRewards | None = None

    @property
    def scores(self) -> list[list[Score]]:
        """The scores, group by group."""
        return [group.scores for group in self.groups]

    def placed_steps(self) -> StepRewards:
        """The steps. Raises ValueError if there are none because the algorithm does not declare `needs_steps`."""
        if self.steps is None:
            raise ValueError("the steps were not placed: an algorithm that reads them must set needs_steps")
        return self.steps


@dataclass
class Prepared:
    """What the learner trains on, and the algorithm's metrics (names without a prefix)."""

    data: TrainBatch | Preferences
    metrics: dict[str, float] = field(default_factory=dict)
