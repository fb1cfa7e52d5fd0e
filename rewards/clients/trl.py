"""A reward function for TRL: `GRPOTrainer(..., reward_funcs=reward_function("http://127.0.0.1:5000/score"))`.

It also takes any reward of this project, which then scores in the trainer's own process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

from rewards.conversation import text_of
from rewards.files.fields import answer_of, prompt_of
from rewards.remote import RemoteReward
from rewards.types import Group, Problem, Response, Reward, Score

_logger = logging.getLogger(__name__)


class RewardFunction:
    """A TRL reward function: one number per completion, and None (TRL leaves it out) for a score that failed.

    reward: what scores. answer: the column of the data set with the reference answer, if there is one.
    group_size: the trainer's `num_generations`, for a reward that compares the completions of a prompt; None:
    completions that follow each other and have equal prompts are a group.
    Failures are logged with their reasons, and counted as the metric `NAME/failed` where TRL passes `log_metric`.
    """

    def __init__(
        self, reward: Reward, *, name: str = "rewardloop", answer: str = "answer", group_size: int | None = None
    ) -> None:
        self.reward, self.answer, self.group_size = reward, answer, group_size
        self.__name__ = name  # TRL's name for its metrics

    def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """See the class. Prompts and completions are texts or messages."""
        answers = columns.get(self.answer) or [None] * len(prompts)
        pairs: list[tuple[Problem, Response] | Score] = []
        for prompt, completion, answer in zip(prompts, completions, answers, strict=True):
            try:
                pairs.append((Problem("", prompt_of(prompt), answer_of(answer, self.answer)), _response(completion)))
            except ValueError as error:
                pairs.append(Score.failed(str(error)))
        scores = self._scores(pairs)
        reasons = [score.failure for score in scores if score.failure is not None]
        if reasons:
            _logger.warning("%s: %d of %d scores failed: %s", self.__name__, len(reasons), len(scores), reasons[0])
        if log_metric is not None:
            log_metric(f"{self.__name__}/failed", len(reasons) / max(1, len(scores)))
        return [score.value if score.ok else None for score in scores]

    def _scores(self, pairs: Sequence[tuple[Problem, Response] | Score]) -> list[Score]:
        """The scores of all completions; failures keep their places."""
        runs: list[list[int]] = []
        readable = [place for place, pair in enumerate(pairs) if not isinstance(pair, Score)]
        for _, run in groupby(readable, key=lambda place: self._group_of(pairs, place)):
            runs.append(list(run))
        groups = [
            Group(pairs[run[0]][0], tuple(pairs[place][1] for place in run))  # type: ignore[index]
            for run in runs
        ]
        found = {
            place: score
            for run, scores in zip(runs, self.reward.score(groups), strict=True)
            for place, score in zip(run, scores, strict=True)
        }
        return [pair if isinstance(pair, Score) else found[place] for place, pair in enumerate(pairs)]

    def _group_of(self, pairs: Sequence[Any], place: int) -> Any:
        problem = pairs[place][0]
        key = (repr(problem.prompt), problem.answer)
        return key if self.group_size is None else (place // self.group_size, key)


def reward_function(
    url: str,
    *,
    name: str = "rewardloop",
    answer: str = "answer",
    group_size: int | None = None,
    compares: bool = False,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 180.0,
) -> RewardFunction:
    """A TRL reward function that asks the service's `/score` at `url`. See `RewardFunction` and `RemoteReward`."""
    reward = RemoteReward(url, form="rewardloop", compares=compares, headers=headers, timeout_s=timeout_s)
    return RewardFunction(reward, name=name, answer=answer, group_size=group_size)


def _response(completion: Any) -> Response:
    """The completion's text. Raises ValueError for one of several messages, such as tool calls."""
    if isinstance(completion, str):
        return Response(completion)
    if len(completion) != 1:
        raise ValueError(f"a completion of {len(completion)} messages is not supported: only one response is scored")
    return Response(text_of(completion[0]["content"]))
