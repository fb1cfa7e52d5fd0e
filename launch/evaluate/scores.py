"""Scores for an evaluation. Each reward's scores go to a file. As in launch.score, an incomplete file is continued."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from rich.console import Console

from launch.composition import compose
from launch.output import progress
from rewards.builder import ConfigurationError, build, find
from rewards.evaluation.benchmark_rows import STEP_END
from rewards.evaluation.options import PROTOCOLS, Protocol
from rewards.files.fields import metadata_of
from rewards.files.journal import file_name
from rewards.files.responses import READ, VERDICTS, records
from rewards.files.scored import resume, score_file, usable
from rewards.records import score_from_json
from rewards.types import Group, Reward, Score


@dataclass(frozen=True)
class Entry:
    """A reward to measure: its name in tables, and its configuration."""

    name: str
    node: dict[str, Any]
    source: str

    @property
    def tournament(self) -> bool:
        """Whether its scores depend on the other responses, so that every size N needs its own scores."""
        from rewards.pairjudge import PairJudgeReward

        return self._is(PairJudgeReward)

    @property
    def process(self) -> bool:
        """Whether it is one of this project's process models, which can score given steps."""
        from rewards.process import ProcessReward  # transformers takes seconds to import
        from rewards.step_head import StepHeadReward

        return self._is(ProcessReward) or self._is(StepHeadReward)

    def make(self) -> Reward:
        """The reward, without its weights. Raises ConfigurationError if it cannot work."""
        reward = build(self.node, "reward", self.source)
        if not isinstance(reward, Reward):
            raise ConfigurationError(f"rewards: {self.node['_target_']} is not a reward: it has no `score`")
        return reward

    def for_given_steps(self, protocol: Protocol) -> Entry:
        """The same process model for steps joined by STEP_END, whatever its own splitter, scored as `protocol` says."""
        given = {"splitter": "regex", "pattern": STEP_END, "keep_empty": True, **PROTOCOLS[protocol]}
        given = {name: value for name, value in given.items() if name in self.node or name != "join"}
        return Entry(self.name, {**self.node, **given}, self.source)

    def _is(self, kind: type) -> bool:
        target = find(self.node, "reward", self.source)
        return isinstance(target, type) and issubclass(target, kind)


def entries(words: Sequence[str], flags: Sequence[str] = ()) -> list[Entry]:
    """The rewards in `rewards=[...]`. Each is `OPTION`, `OPTION key=value ...` or `NAME: OPTION key=value ...`.

    `flags` are for Hydra, such as --config-dir. Raises ConfigurationError if an option or key does not exist, or if two
    rewards have the same name.
    """
    found = []
    for word in words:
        name, colon, rest = word.partition(": ")
        option, *overrides = (rest if colon else word).split()
        label = name if colon else " ".join([option, *overrides])
        [run] = compose([*flags, f"reward={option}", *(f"reward.{one}" for one in overrides)], "score")
        if missing := sorted(OmegaConf.missing_keys(run.config.reward)):
            raise ConfigurationError(f"rewards: {option} needs {missing[0]}: write rewards=['{word} {missing[0]}=...']")
        node = OmegaConf.to_container(run.config.reward, resolve=True)
        found.append(Entry(label, node, f"configs/reward/{option}.yaml"))  # type: ignore[arg-type]
    twice = [label for label, count in Counter(file_name(entry.name) for entry in found).items() if count > 1]
    if twice:
        raise ConfigurationError(f"rewards: {twice[0]} is listed twice: rename one of them, 'other: {twice[0]}'")
    return found


def score(
    entry: Entry, reward: Reward, folder: Path, batch: int, console: Console, groups: Sequence[Group], name: str
) -> list[list[Score]]:
    """The scores of these groups: from `folder/NAME.jsonl` if they are there, otherwise from the reward."""
    folder.mkdir(parents=True, exist_ok=True)
    name = file_name(name)
    source = folder / f"{name}.input"
    source.write_text(
        "".join(json.dumps(_record(group), ensure_ascii=False) + "\n" for group in groups), encoding="utf-8"
    )
    output = folder / f"{name}.jsonl"
    done, tally = resume(output, source, entry.node)
    if done < len(groups):
        total = sum(len(group.responses) for group in groups)
        console.print(f"{entry.name}: scoring {total - tally.responses} responses", highlight=False, markup=False)
        with progress(total, tally, console) as show:
            score_file(reward, usable(source), output, done, batch, tally, show)
    source.unlink()
    return [[score_from_json(one) for one in record["scores"]] for record in records(output)]


def _record(group: Group) -> dict[str, Any]:
    record: dict[str, Any] = {
        **metadata_of(group.problem.metadata, READ | VERDICTS),
        "id": group.problem.id,
        "prompt": group.problem.prompt,
        "answers": [response.text for response in group.responses],
    }
    return record if group.problem.answer is None else {**record, "answer": group.problem.answer}
