"""Score a file of responses into a file of scores, batch by batch, so that an interrupted run can be resumed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from rewards.builder import ConfigurationError
from rewards.files.digests import file_digest, files_of
from rewards.files.lines import unit_of
from rewards.files.responses import group_of, records
from rewards.files.rows import Parsed, Rows, parsed_rows
from rewards.records import failures, score_from_json, score_to_json
from rewards.types import Group, Reward, Score

START_AGAIN = "delete the output to score everything again, or choose another name"


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


def resume(
    output: Path, source: Path, reward: Mapping[str, Any], fields: Mapping[str, str] | None = None
) -> tuple[int, Tally]:
    """The number of records of `source` already scored in `output`, and their tally. Removes an incomplete last line.

    `reward` is the reward's configuration. Raises ConfigurationError if the reward, its model or a scored record has
    changed.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    made_by = output.with_name(output.name + ".config.json")
    settings = {
        "input": str(source.resolve()),
        "reward": reward,
        "fields": dict(fields or {}),
        "files": files_of(reward, "reward"),
    }
    digest = {"input_sha256": file_digest(source)}
    tally = Tally()
    done = 0
    if output.exists():
        before = json.loads(made_by.read_text(encoding="utf-8")) if made_by.exists() else {}
        if changed := _changed(before, settings):
            raise ConfigurationError(f"output {output} was made with {changed}: {START_AGAIN}")
        content = output.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            output.write_bytes(whole)
        rows = usable(source, fields)
        for done, record in enumerate(records(output), start=1):
            row = next(rows, None)
            if row is None:
                raise ConfigurationError(f"input {source} no longer has row {done} of output {output}: {START_AGAIN}")
            if _without_scores(row.record) != _without_scores(record):
                place = f"{unit_of(source)} {row.line} of input {source}"
                raise ConfigurationError(
                    f"{place} is not what was scored as row {done} of output {output}: {START_AGAIN}"
                )
            tally.add([score_from_json(score) for score in record["scores"]])
    made_by.write_text(json.dumps(settings | digest, indent=1, ensure_ascii=False), encoding="utf-8")
    return done, tally


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What differs between two settings of an output, in words; empty if nothing does."""
    if not before:
        return "unknown settings (its .config.json is missing)"
    if before.get("reward") != now["reward"]:
        return "another reward"
    if before.get("input") != now["input"]:
        return "another input"
    if before.get("fields") != now["fields"]:
        return "other fields"
    files = {**before.get("files", {}), **now["files"]}
    different = [key for key in files if before.get("files", {}).get(key) != now["files"].get(key)]
    return f"different contents of {', '.join(different)}" if different else ""


def _without_scores(record: Mapping[str, Any]) -> str:
    """A record as text for comparison, so that NaN equals NaN."""
    return json.dumps({name: value for name, value in record.items() if name != "scores"}, sort_keys=True)


def score_file(
    reward: Reward,
    rows: Iterator[Parsed[Group]],
    output: Path,
    done: int,
    batch: int,
    tally: Tally,
    report: Callable[[Tally], None] = lambda tally: None,
) -> None:
    """Skip the first `done` rows, score the rest in batches of `batch` responses, and append them to `output`.

    `tally` is updated, and passed to `report`, after each batch.
    """
    with output.open("a", encoding="utf-8") as file:
        for chunk in _chunks(rows, done, batch):
            scores = reward.score([one.row for one in chunk])
            for one, found in zip(chunk, scores, strict=True):
                record = one.record | {"scores": [score_to_json(score) for score in found]}
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
                tally.add(found)
            file.flush()
            report(tally)


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
