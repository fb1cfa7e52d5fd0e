"""Score a file of responses: `python -m launch.score input=responses.jsonl output=scores.jsonl reward=prm`.

Each record is written unchanged with its `scores` added, in order. Run the same command to resume: finished records are
kept if their input, the reward and its model have not changed. Rows that cannot be scored go to OUTPUT.rejects.jsonl
with their line and reason; OUTPUT.config.json holds digests of the input and the model. Exit codes: 0 success, 1 it
failed, 2 it could not start, 130 Ctrl-C.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from launch.command import Command, Composed, say
from launch.output import progress
from launch.replicas import replicated
from rewards.builder import ConfigurationError, build, build_root
from rewards.files.lines import check_file
from rewards.files.rows import write_rejects
from rewards.files.scored import Input, resume, score_file, usable
from rewards.types import Reward
from rl.cluster import stop_cluster
from rl.settings import ClusterSettings, require

GROUPS = ("reward", "cluster")


@dataclass(frozen=True)
class ScoreSettings:
    """The keys that are not a group's; configs/score.yaml says what each is for."""

    input: str
    output: str
    fields: dict[str, str] | None = None
    batch: int = 256
    replicas: int = 0

    def __post_init__(self) -> None:
        require(self.batch >= 1, f"batch must be at least 1, not {self.batch}")
        require(self.replicas >= 0, f"replicas must be at least 0, not {self.replicas}")
        check_file(self.input, "input")


class ScoreFile(Command):
    """One file to score. The constructor checks everything and reads earlier output, but starts nothing.

    Raises ValueError or OSError for an invalid set-up.
    """

    name, help = "score", __doc__

    def __init__(self, composed: Composed) -> None:
        config = composed.config
        self.settings = settings = build_root(ScoreSettings, config, GROUPS, "configs/score.yaml")
        self.node = config["reward"]
        self.reward = build(self.node, "reward", f"configs/reward/{composed.choices.get('reward')}.yaml")
        if not isinstance(self.reward, Reward):
            raise ConfigurationError(f"reward._target_ {self.node['_target_']} is not a reward: it has no `score`")
        self.cluster: ClusterSettings = build(config["cluster"], "cluster", "configs/cluster")
        self.input, self.output = Path(settings.input), Path(settings.output)
        self.kept, self.log = self.output, self.output.with_name(self.output.name + ".log")
        found = Input.read(self.input, settings.fields)
        self.total, self.rejects = found.responses, found.rejects
        self.done, self.tally = resume(self.output, self.input, self.node, settings.fields)
        write_rejects(self.output.with_name(self.output.name + ".rejects.jsonl"), self.rejects)

    def run(self, console: Console) -> None:
        """Score the remaining rows and print a summary."""
        started, before, settings = time.perf_counter(), self.tally.responses, self.settings
        for note in self.rejects.notes(f"{self.output.name}.rejects.jsonl"):
            say(console, note)
        try:
            reward = self.reward
            if settings.replicas:
                folder, event = self.output.parent, partial(say, console)
                reward = replicated(self.node, settings.replicas, self.cluster, folder, event)
            rows = usable(self.input, settings.fields)
            with progress(self.total, self.tally, console) as show:
                score_file(reward, rows, self.output, self.done, settings.batch, self.tally, show)
        finally:
            if settings.replicas:
                stop_cluster()
        for line in self.tally.lines(self.tally.responses - before, time.perf_counter() - started):
            say(console, line)


main = ScoreFile.main

if __name__ == "__main__":
    sys.exit(main())
