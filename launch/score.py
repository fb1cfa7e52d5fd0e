"""Score a file of responses: `python -m launch.score input=responses.jsonl output=scores.jsonl reward=prm`.

Each record comes out as it went in, with `scores` beside it, in order. The same command goes on where it stopped: what
is in the output stays. Exit codes: 0 done, 1 it broke, 2 it could not start, 130 Ctrl-C.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from launch.command import Composed, carried_out, checked_first
from rewards.actors import RewardGroup
from rewards.builder import ConfigurationError, build, checked
from rewards.files.responses import groups, records
from rewards.records import failures, score_from_json, score_to_json
from rewards.types import Group, Reward, Score
from rl.cluster import actor_options, start_cluster, stop_cluster
from rl.settings import ClusterSettings


@dataclass
class Tally:
    """What has been scored so far: responses, the sum of their values, cuts, failures by reason."""

    responses: int = 0
    total: float = 0.0
    cuts: int = 0
    failures: Counter[str] = field(default_factory=Counter)

    def add(self, scores: Sequence[Score]) -> None:
        """Count the scores of one record."""
        self.responses += len(scores)
        self.failures += failures([scores])
        good = [score for score in scores if score.ok]
        self.total += sum(score.value for score in good)
        self.cuts += sum("cut" in score.parts for score in good)

    def lines(self, scored_now: int, seconds: float) -> Iterator[str]:
        """The end of a run in plain sentences."""
        good = self.responses - self.failures.total()
        mean = f", mean {self.total / good:.4f}" if good else ""
        rate = f"; {scored_now} now, in {seconds:.1f} s ({scored_now / seconds:.1f}/s)" if scored_now else ""
        yield f"{self.responses} responses: {good} scored{mean}, {self.failures.total()} failed{rate}"
        if self.cuts:
            yield f"  {self.cuts} were cut to fit (reward.max_tokens)"
        for reason, count in self.failures.most_common():
            yield f"  {count} failed: {reason}"


def main(words: Sequence[str] | None = None) -> int:
    """Score what `words` ask for. Returns the exit code."""
    job = checked_first("score", words, __doc__, Job)
    return (
        job
        if isinstance(job, int)
        else carried_out(job.run, job.output.with_name(job.output.name + ".log"), job.output)
    )


class Job:
    """One file to score, checked: nothing is started, and what an earlier start has written is read.

    Raises ValueError or OSError for a set-up that cannot work.
    """

    def __init__(self, found: Composed) -> None:
        self.config = found.config
        source = f"configs/reward/{found.choices.get('reward')}.yaml"
        self.reward, self.cluster = _check(self.config, source)
        self.input, self.output = Path(self.config["input"]), Path(self.config["output"])
        self.total = sum(len(group.responses) for _, group in groups(self.input))
        self.done, self.tally = resume(self.output, self.config)

    def run(self, console: Console) -> None:
        """Score what is not scored yet, and say what came of it."""
        started, before = time.perf_counter(), self.tally.responses
        config, replicas = self.config, self.config["replicas"]
        try:
            reward = _replicas(config, self.cluster, self.output, console) if replicas else self.reward
            score_file(reward, self.input, self.output, self.done, config["batch"], self.total, self.tally, console)
        finally:
            if replicas:
                stop_cluster()
        for line in self.tally.lines(self.tally.responses - before, time.perf_counter() - started):
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def resume(output: Path, config: Mapping[str, Any]) -> tuple[int, Tally]:
    """How many records an earlier start has scored into `output`, and their tally; a line cut short is taken away.

    Raises ConfigurationError when they were scored with another reward or from another input.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    made_by = output.with_name(output.name + ".config.json")
    settings = {"input": str(Path(config["input"]).resolve()), "reward": config["reward"]}
    tally = Tally()
    if not output.exists():
        made_by.write_text(json.dumps(settings, indent=1, ensure_ascii=False), encoding="utf-8")
        return 0, tally
    if not made_by.exists() or json.loads(made_by.read_text(encoding="utf-8")) != settings:
        raise ConfigurationError(
            f"output {output} holds scores of another reward or input: choose another name, or delete it"
        )
    content = output.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        output.write_bytes(whole)
    done = 0
    for record in records(output):
        tally.add([score_from_json(score) for score in record["scores"]])
        done += 1
    return done, tally


def score_file(
    reward: Reward, source: Path, output: Path, done: int, batch: int, total: int, tally: Tally, console: Console
) -> None:
    """Score the records after the first `done`, `batch` responses together, and append them to `output`."""
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    live = console.is_terminal
    with (
        output.open("a", encoding="utf-8") as file,
        Progress(
            "scoring", *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, disable=not live
        ) as bar,
    ):
        before, started, said = tally.responses, time.perf_counter(), time.perf_counter()
        task = bar.add_task("", total=total, completed=before, rate="")
        for chunk in _chunks(groups(source), done, batch):
            scores = reward.score([group for _, group in chunk])
            for (record, _), found in zip(chunk, scores, strict=True):
                record["scores"] = [score_to_json(score) for score in found]
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
                tally.add(found)
            file.flush()
            now = time.perf_counter()
            rate = (tally.responses - before) / (now - started)
            failed = f", {tally.failures.total()} failed" if tally.failures else ""
            bar.update(task, completed=tally.responses, rate=f"{rate:.1f}/s{failed}")
            if not live and now - said > 10:
                said = now
                left = (total - tally.responses) / rate
                console.print(f"{tally.responses}/{total}, {rate:.1f}/s{failed}, {left:.0f} s left", highlight=False)


def _chunks(pairs: Iterator[tuple[dict[str, Any], Group]], done: int, batch: int) -> Iterator[list[Any]]:
    """Records after the first `done`, in lists that hold `batch` responses or a little more."""
    chunk: list[Any] = []
    held = 0
    for place, pair in enumerate(pairs):
        if place < done:
            continue
        chunk.append(pair)
        held += len(pair[1].responses)
        if held >= batch:
            yield chunk
            chunk, held = [], 0
    if chunk:
        yield chunk


def _check(config: Mapping[str, Any], source: str) -> tuple[Reward, ClusterSettings]:
    """The reward, its set-up checked, and where replicas would go. Raises ConfigurationError."""
    for key, kind in (("input", str), ("output", str), ("batch", int), ("replicas", int)):
        checked(config[key], kind, key, "configs/score.yaml")
    for key, least in (("batch", 1), ("replicas", 0)):
        if config[key] < least:
            raise ConfigurationError(f"{key} must be at least {least}, not {config[key]}")
    if not Path(config["input"]).is_file():
        raise ConfigurationError(f"input {config['input']}: there is no such file")
    reward = build(config["reward"], "reward", source)
    if not isinstance(reward, Reward):
        raise ConfigurationError(f"reward._target_ {config['reward']['_target_']} makes no reward: it has no score")
    return reward, build(config["cluster"], "cluster", "configs/cluster")


def _replicas(config: Mapping[str, Any], cluster: ClusterSettings, output: Path, console: Console) -> Reward:
    """The reward in Ray actors; a replica that is replaced is shown on the console."""
    start_cluster(cluster, output.parent)
    return RewardGroup(
        config["reward"],
        replicas=config["replicas"],
        ray_options=actor_options(cluster, "reward"),
        threads=cluster.threads if cluster.device == "cpu" else None,
        timeout_s=cluster.timeout_s,
        event=lambda text: console.print(f"note: {text}", markup=False, highlight=False, soft_wrap=True),
    )


if __name__ == "__main__":
    sys.exit(main())
