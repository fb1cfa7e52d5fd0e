"""Rewards in Ray actors: replicas split a rollout by length; a replica that dies is replaced with a visible event.

Each actor builds its own reward from the configuration node; reward objects are never pickled. A group is never split
across replicas, since some rewards compare the responses of a group with each other.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import ray
from ray.exceptions import RayActorError, RayTaskError

from rewards.builder import build_reward
from rewards.types import Group, Reward, Score

_logger = logging.getLogger(__name__)


class RewardActor:
    """One replica. Created and loaded in two calls, so that a set-up error reaches the caller and kills no actor."""

    def load(self, config: Mapping[str, Any], threads: int | None, log_file: str | None) -> None:
        """Make the reward; `threads` bounds torch's own, `log_file` takes the process's output."""
        if log_file is not None:
            descriptor = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
        if threads is not None:
            import torch

            torch.set_num_threads(threads)
        self.reward = build_reward(config)

    def load_weights(self, loaded: None) -> None:
        """Load the weights of a reward that has any (`load` of `rewards.types.Reward`)."""
        self.reward.load()

    def score(self, groups: Sequence[Group], loaded: None) -> list[list[Score]]:
        """Scores of these groups; `loaded` is what `load` returned, so that its error is raised here."""
        return self.reward.score(groups)


class _Part(NamedTuple):
    """A part of a rollout in flight: the replica, the indices of the groups, and the number of attempts so far."""

    replica: int
    share: list[int]
    attempt: int


class RewardGroup(Reward):
    """Splits each rollout between `replicas` actors.

    config: the reward's configuration node. ray_options: what `Actor.options` takes (num_gpus, runtime_env, ...).
    threads: torch threads per replica. timeout_s: time limit for one rollout; None waits forever.
    log_folder: where each replica's output goes, `<log_folder>/reward-0.log` and so on; None leaves it to Ray.
    attempts: number of replicas that may die on the same part of a rollout before an error is raised.
    event: called with one line of text whenever a replica is replaced; None logs a warning.
    `replaced` counts the replicas that were replaced, over the object's life.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        *,
        replicas: int = 1,
        ray_options: Mapping[str, Any] | None = None,
        threads: int | None = None,
        timeout_s: float | None = None,
        log_folder: str | None = None,
        attempts: int = 3,
        event: Callable[[str], None] | None = None,
    ) -> None:
        if replicas < 1:
            raise ValueError(f"reward_replicas must be at least 1, not {replicas}")
        self.config, self.threads, self.timeout_s, self.attempts = dict(config), threads, timeout_s, attempts
        self.log_folder = log_folder
        self.replaced = 0
        self._event = event or _logger.warning
        self._class = ray.remote(RewardActor).options(**(ray_options or {}))
        self._replicas = [self._start(number) for number in range(replicas)]

    def wait(self) -> None:
        """Return once every replica has made its reward and loaded its weights.

        Raises what the reward itself raised, TimeoutError after `timeout_s`, and RuntimeError if a replica died.
        """
        waiting = {actor.load_weights.remote(loaded): number for number, (actor, loaded) in enumerate(self._replicas)}
        done, late = ray.wait(list(waiting), num_returns=len(waiting), timeout=self.timeout_s)
        for one in done:
            try:
                ray.get(one)
            except RayTaskError as error:
                raise error.cause from None
            except RayActorError as error:
                number = waiting[one]
                raise RuntimeError(
                    f"reward replica {number} died while loading its model (out of memory?){self._see(number)}"
                ) from error
        if late:
            numbers = ", ".join(str(waiting[one]) for one in late)
            raise TimeoutError(
                f"reward replica {numbers} did not load its model within {self.timeout_s:g} s: raise cluster.timeout_s"
            )

    def score(self, groups: Sequence[Group]) -> list[list[Score]]:
        """Scores in the order of the groups. If a replica dies, its replacement scores its part again.

        Raises what the reward itself raised (a set-up error), TimeoutError after `timeout_s`, and RuntimeError
        when `attempts` replicas in a row die on the same part.
        """
        results: list[list[Score]] = [[] for _ in groups]
        shares = share_out([_length(group) for group in groups], len(self._replicas))
        waiting = {
            self._submit(number, groups, share): _Part(number, share, 1) for number, share in enumerate(shares) if share
        }
        deadline = None if self.timeout_s is None else time.monotonic() + self.timeout_s
        while waiting:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            done, _ = ray.wait(list(waiting), num_returns=1, timeout=left)
            if not done:
                raise self._give_up(waiting.values())
            part = waiting.pop(done[0])
            try:
                scores = ray.get(done[0])
            except RayTaskError as error:
                raise error.cause from None
            except RayActorError as error:
                self._replace(part.replica, "died while scoring")
                if part.attempt >= self.attempts:
                    raise RuntimeError(
                        f"{part.attempt} reward replicas in a row died on the same part of a rollout (out of memory? "
                        f"lower reward.batch_tokens): {str(error).splitlines()[0]}"
                    ) from error
                again = self._submit(part.replica, groups, part.share)
                waiting[again] = part._replace(attempt=part.attempt + 1)
                continue
            for index, found in zip(part.share, scores, strict=True):
                results[index] = found
        return results

    def close(self) -> None:
        """Kill the actors."""
        for actor, _ in self._replicas:
            ray.kill(actor)
        self._replicas = []

    def _start(self, number: int) -> tuple[Any, Any]:
        """A new actor, and the object reference that resolves once it has loaded its reward."""
        log_file = None if self.log_folder is None else os.path.join(self.log_folder, f"reward-{number}.log")
        actor = self._class.remote()
        return actor, actor.load.remote(self.config, self.threads, log_file)

    def _submit(self, number: int, groups: Sequence[Group], share: Sequence[int]) -> Any:
        actor, loaded = self._replicas[number]
        return actor.score.remote([groups[index] for index in share], loaded)

    def _see(self, number: int) -> str:
        """The end of a message: `; see` and the replica's log file, or "" if it has none."""
        return "" if self.log_folder is None else f"; see {os.path.join(self.log_folder, f'reward-{number}.log')}"

    def _replace(self, number: int, why: str) -> None:
        """Replace an actor that died or does not answer (it is killed) with a new one."""
        self._event(f"reward replica {number} {why} and is replaced{self._see(number)}")
        ray.kill(self._replicas[number][0])
        self._replicas[number] = self._start(number)
        self.replaced += 1

    def _give_up(self, parts: Iterable[_Part]) -> TimeoutError:
        """Replace the replicas that did not answer, so that the next rollout finds them free."""
        late = sorted(part.replica for part in parts)
        for number in late:
            self._replace(number, f"did not answer within {self.timeout_s:g} s")
        return TimeoutError(
            f"reward replica {', '.join(map(str, late))} did not answer within {self.timeout_s:g} s: raise "
            "cluster.timeout_s, or use more replicas or a smaller rollout"
        )


def share_out(lengths: Sequence[int], shares: int) -> list[list[int]]:
    """Split indices into `shares` ascending lists of nearly equal total length (greedy, longest item first)."""
    totals = [0] * shares
    shared: list[list[int]] = [[] for _ in range(shares)]
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        emptiest = totals.index(min(totals))
        shared[emptiest].append(index)
        totals[emptiest] += lengths[index]
    return [sorted(share) for share in shared]


def _length(group: Group) -> int:
    """Characters a reward model reads for this group; the problem is counted once per response."""
    return sum(len(group.problem.text) + len(response.text) for response in group.responses)
