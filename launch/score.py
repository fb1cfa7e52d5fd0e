"""Score a file of responses: `python -m launch.score input=responses.jsonl output=scores.jsonl reward=prm`.

Each record is written unchanged with its `scores` added, in order. Run the same command to resume: finished records are
kept if their input, the reward and its model have not changed. Rows that cannot be scored go to OUTPUT.rejects.jsonl
with their line and reason; OUTPUT.config.json holds digests of the input and the model. Exit codes: 0 success, 1 it
failed, 2 it could not start, 130 Ctrl-C.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from launch.command import Composed, parse_and_check, run_logged
from rewards.actors import RewardGroup
from rewards.builder import ConfigurationError, build, checked
from rewards.files.digests import file_digest, files_of
from rewards.files.lines import check_file, unit_of
from rewards.files.responses import group_of, records
from rewards.files.rows import Parsed, Rows, parsed_rows, write_rejects
from rewards.records import failures, score_from_json, score_to_json
from rewards.types import Group, Reward, Score
from rl.cluster import actor_options, start_cluster, stop_cluster
from rl.settings import ClusterSettings


@dataclass
class Tally:
    """Counts so far: responses, the sum of their values, cut responses, failures by reason."""

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
        """The lines printed at the end of a run."""
        good = self.responses - self.failures.total()
        mean = f", mean {self.total / good:.4f}" if good else ""
        rate = f"; {scored_now} in this run, {seconds:.1f} s ({scored_now / seconds:.1f}/s)" if scored_now else ""
        yield f"{self.responses} responses: {good} scored{mean}, {self.failures.total()} failed{rate}"
        if self.cuts:
            yield f"  {self.cuts} were cut to fit (reward.max_tokens)"
        for reason, count in self.failures.most_common():
            yield f"  {count} failed: {reason}"


def main(words: Sequence[str] | None = None) -> int:
    """Score the file that `words` names. Returns the exit code."""
    job = parse_and_check("score", words, __doc__, Job)
    return (
        job if isinstance(job, int) else run_logged(job.run, job.output.with_name(job.output.name + ".log"), job.output)
    )


class Job:
    """One file to score. The constructor checks everything and reads earlier output, but starts nothing.

    Raises ValueError or OSError for an invalid set-up.
    """

    def __init__(self, found: Composed) -> None:
        self.config = found.config
        source = f"configs/reward/{found.choices.get('reward')}.yaml"
        self.reward, self.cluster = _check(self.config, source)
        self.input, self.output = Path(self.config["input"]), Path(self.config["output"])
        found_rows = Input.read(self.input, self.config["fields"])
        self.total, self.rejects = found_rows.responses, found_rows.rejects
        self.done, self.tally = resume(self.output, self.config)
        write_rejects(self.output.with_name(self.output.name + ".rejects.jsonl"), self.rejects)

    def run(self, console: Console) -> None:
        """Score the remaining rows and print a summary."""
        started, before = time.perf_counter(), self.tally.responses
        for note in self.rejects.notes(f"{self.output.name}.rejects.jsonl"):
            console.print(note, markup=False, highlight=False, soft_wrap=True)
        config, replicas = self.config, self.config["replicas"]
        try:
            reward = _replicas(config, self.cluster, self.output, console) if replicas else self.reward
            rows = usable(self.input, config["fields"])
            score_file(reward, rows, self.output, self.done, config["batch"], self.total, self.tally, console)
        finally:
            if replicas:
                stop_cluster()
        for line in self.tally.lines(self.tally.responses - before, time.perf_counter() - started):
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def usable(source: Path, fields: Mapping[str, str] | None = None) -> Iterator[Parsed[Group]]:
    """Yield the rows of a file that can be scored, in order."""
    return (one for one in parsed_rows(source, group_of, fields) if isinstance(one, Parsed))


@dataclass
class Input:
    """The number of responses to score in a file, and the rows that cannot be scored."""

    responses: int
    rejects: Rows[Group]

    @classmethod
    def read(cls, source: Path, fields: Mapping[str, str] | None) -> Input:
        """Check every row without keeping it. Raises ConfigurationError if no row can be scored."""
        found = cls(0, Rows(source, unit=unit_of(source)))
        rows = 0
        for one in parsed_rows(source, group_of, fields):
            if isinstance(one, Parsed):
                rows, found.responses = rows + 1, found.responses + len(one.row.responses)
            else:
                found.rejects.rejects.append(one)
        if not rows:
            raise ConfigurationError(f"input {source} has no row that can be scored{found.rejects.first()}")
        return found


def resume(output: Path, config: Mapping[str, Any]) -> tuple[int, Tally]:
    """The number of records already in `output`, and their tally. An incomplete last line is removed.

    Raises ConfigurationError if the reward, its model or a scored record has changed.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    made_by = output.with_name(output.name + ".config.json")
    source, fields = Path(config["input"]), config.get("fields") or {}
    settings = {
        "input": str(source.resolve()),
        "reward": config["reward"],
        "fields": dict(fields),
        "files": files_of(config["reward"], "reward"),
    }
    digest = {"input_sha256": file_digest(source)}
    tally = Tally()
    done = 0
    if output.exists():
        before = json.loads(made_by.read_text(encoding="utf-8")) if made_by.exists() else {}
        if changed := _changed(before, settings):
            raise ConfigurationError(f"output {output} was made with {changed}: {ANEW}")
        content = output.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            output.write_bytes(whole)
        rows = usable(source, fields)
        for done, record in enumerate(records(output), start=1):
            row = next(rows, None)
            if row is None:
                raise ConfigurationError(f"input {source} no longer has row {done} of output {output}: {ANEW}")
            if _without_scores(row.record) != _without_scores(record):
                place = f"{unit_of(source)} {row.line} of input {source}"
                raise ConfigurationError(f"{place} is not what was scored as row {done} of output {output}: {ANEW}")
            tally.add([score_from_json(score) for score in record["scores"]])
    made_by.write_text(json.dumps(settings | digest, indent=1, ensure_ascii=False), encoding="utf-8")
    return done, tally


ANEW = "delete the output to score everything anew, or choose another name"


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What differs between two settings of an output, in words; empty if nothing does."""
    if not before:
        return "settings that nobody wrote down (its .config.json is missing)"
    if before.get("reward") != now["reward"]:
        return "another reward"
    if before.get("input") != now["input"]:
        return "another input"
    if before.get("fields") != now["fields"]:
        return "other fields"
    files = {**before.get("files", {}), **now["files"]}
    different = [key for key in files if before.get("files", {}).get(key) != now["files"].get(key)]
    return f"other contents of {', '.join(different)}" if different else ""


def _without_scores(record: Mapping[str, Any]) -> str:
    """A record as text for comparison, so that NaN equals NaN."""
    return json.dumps({name: value for name, value in record.items() if name != "scores"}, sort_keys=True)


def score_file(
    reward: Reward,
    rows: Iterator[Parsed[Group]],
    output: Path,
    done: int,
    batch: int,
    total: int,
    tally: Tally,
    console: Console,
) -> None:
    """Skip the first `done` rows, score the rest in batches of `batch` responses, and append them to `output`."""
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
        for chunk in _chunks(rows, done, batch):
            scores = reward.score([one.row for one in chunk])
            for one, found in zip(chunk, scores, strict=True):
                record = one.record | {"scores": [score_to_json(score) for score in found]}
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


def _chunks(rows: Iterator[Parsed[Group]], done: int, batch: int) -> Iterator[list[Parsed[Group]]]:
    """Skip the first `done` rows; yield the rest in lists with at least `batch` responses (the last may have fewer)."""
    chunk: list[Parsed[Group]] = []
    held = 0
    for row in islice(rows, done, None):
        chunk.append(row)
        held += len(row.row.responses)
        if held >= batch:
            yield chunk
            chunk, held = [], 0
    if chunk:
        yield chunk


def _check(config: Mapping[str, Any], source: str) -> tuple[Reward, ClusterSettings]:
    """The reward and the cluster settings, checked. Raises ConfigurationError."""
    for key, kind in (("input", str), ("output", str), ("batch", int), ("replicas", int)):
        checked(config[key], kind, key, "configs/score.yaml")
    for key, least in (("batch", 1), ("replicas", 0)):
        if config[key] < least:
            raise ConfigurationError(f"{key} must be at least {least}, not {config[key]}")
    checked(config["fields"], dict[str, str] | None, "fields", "configs/score.yaml")
    check_file(config["input"], "input")
    reward = build(config["reward"], "reward", source)
    if not isinstance(reward, Reward):
        raise ConfigurationError(f"reward._target_ {config['reward']['_target_']} is not a reward: it has no `score`")
    return reward, build(config["cluster"], "cluster", "configs/cluster")


def _replicas(config: Mapping[str, Any], cluster: ClusterSettings, output: Path, console: Console) -> Reward:
    """The reward in Ray actors. Prints a note if a replica is replaced."""
    start_cluster(cluster, output.parent)
    return RewardGroup(
        config["reward"],
        replicas=config["replicas"],
        ray_options=actor_options(cluster, "reward", actors=config["replicas"]),
        threads=cluster.threads_of(config["replicas"]) if cluster.device == "cpu" else None,
        timeout_s=cluster.timeout_s,
        event=lambda text: console.print(f"note: {text}", markup=False, highlight=False, soft_wrap=True),
    )


if __name__ == "__main__":
    sys.exit(main())
