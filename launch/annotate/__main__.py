"""Label the steps of solutions by sampling continuations, and write training data for reward models:

    python -m launch.annotate folder=build/steps problems=500 rollout.responses=15 continuations=16
    python -m launch.annotate folder=build/gsm8k input=gsm8k-train.jsonl policy=hf policy.path=/models/M cluster=gpu
    python -m launch.annotate folder=build/steps judge=verified
    python -m launch.annotate folder=build/steps judge=pairjudge_tiny_knockout

The folder gets prm.jsonl, orm.jsonl and judge.jsonl (`conversations`), annotated.jsonl (every problem with its
solutions and, for each step, the share of correct continuations), rejects.jsonl (bad rows) and report.json. Run the
same command to resume; `labels`, `remove` and `judge` can be changed without sampling again. Exit codes: 0 success,
1 failure, 2 could not start, 130 Ctrl-C.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from launch.annotate.annotate_settings import GROUPS, AnnotateSettings, make_reward, settings_of
from launch.command import Command, Composed, say
from rewards.builder import ConfigurationError, build
from rewards.files.claim import Claim
from rewards.files.digests import file_digest, files_of
from rewards.files.journal import file_name, whole_batches
from rewards.files.rows import Rows, write_rejects
from rewards.types import Problem
from rl.annotation.summary import add_left_out, figures, lines, rejected, write_data, write_rows


class Annotate(Command):
    """One annotation. The constructor checks everything. It writes only the claim on the folder, and rejects.jsonl.

    Raises ConfigurationError or OSError if it cannot work.
    """

    name, help = "annotate", __doc__

    def __init__(self, composed: Composed) -> None:
        from rl.annotation.sources import sources_of  # transformers and Ray take seconds to import
        from rl.policy import check_policy, load_tokenizer

        config = composed.config
        self.settings = settings = settings_of(config)
        names = [name for name in GROUPS if name != "task" or settings.input is None]
        built = {name: build(config[name], name, f"configs/{name}") for name in names}
        self.policy, self.rollout, self.cluster = built["policy"], built["rollout"], built["cluster"]
        self.task = built.get("task")
        if self.task is not None and not self.task.graded:
            raise ConfigurationError("task: its problems have no answers, so continuations cannot be graded")
        check_policy(self.policy.path)
        self.reward = make_reward(settings, composed.flags)
        tokenizer = load_tokenizer(self.policy.path, self.policy.chat_template_kwargs)
        self.found = sources_of(
            None if settings.input is None else Path(settings.input),
            self.task,
            self.rollout,
            tokenizer,
            fields=settings.fields,
            problems=settings.problems,
            seed=settings.seed,
        )
        if not self.found.rows:
            raise ConfigurationError(f"{self.found.path} has no usable problem{_first(self.found)}")
        self.folder = self.kept = Path(settings.folder)
        self.logs = self.folder / "logs"
        self.log = self.logs / "annotate.log"
        claim_of(settings, config, names, len(self.found.rows)).take()
        self.logs.mkdir(exist_ok=True)
        write_rejects(self.folder / "rejects.jsonl", self.found)

    def run(self, console: Console) -> None:
        """Annotate the remaining problems, then write the other files from all annotations."""
        for line in self.found.cut:  # said before and after, since the annotation may take hours
            say(console, line)
        journal = self.folder / "annotated.jsonl"
        rate = self._label(journal, console)
        with journal.open(encoding="utf-8") as file:
            records = [json.loads(line) for line in file]
        notes, rows = list(self.found.notes()), len(self.found.rejects)
        add_left_out(self.found, records)
        write_rejects(self.folder / "rejects.jsonl", self.found)
        report = figures(records)
        report["files"] = write_data(
            self.folder, records, soft=self.settings.labels == "soft", remove=self.settings.remove
        )
        messages = list(lines(report))
        if self.settings.judge is not None:
            messages += self._judge(records, report, console)
        report["rejects"] = {"rows": rows, "solutions": len(self.found.rejects) - rows}
        (self.folder / "report.json").write_text(json.dumps(report, indent=1, ensure_ascii=False), encoding="utf-8")
        files = ", ".join(f"{self.folder / name} ({count})" for name, count in report["files"].items())
        messages += [*rate, *self.found.cut, *rejected(**report["rejects"])]
        for line in [*notes, *messages, f"files: {files}"]:
            say(console, line)

    def _label(self, journal: Path, console: Console) -> list[str]:
        """Label the batches that are not in the journal. Returns a line about the speed, if there were any."""
        from rl.annotation.labelling import Labeller
        from rl.annotation.sources import batches_of
        from rl.sample_file import sampler_alone

        batches = batches_of(self.found.rows, self.rollout.problems)
        done = whole_batches(journal, [len(batch) for batch in batches])
        if done == len(batches):
            return []
        with sampler_alone(self.policy, self.rollout, self.cluster, self.logs) as sampler:
            grade_steps = self.task.grade_steps if self.task is not None and self.task.grades_steps else None
            labeller = Labeller(sampler, self.rollout, self._grade(), grade_steps, **self.settings.labelling)
            sampler.wait()
            pace = Pace(sum(len(batch) for batch in batches), sum(len(batch) for batch in batches[:done]))
            with journal.open("a", encoding="utf-8") as file:
                for number in range(done, len(batches)):
                    records = labeller.label(batches[number], number)
                    file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
                    file.flush()
                    say(console, pace.after(records))
            return [pace.whole()]

    def _grade(self) -> Callable[[Problem, str], bool]:
        """The task's verifier or, for problems from a file, the verifier of final answers."""
        if self.task is not None:
            grade: Callable[[Problem, str], bool] = self.task.grade
            return grade
        from rewards.verifier import grade as equals

        return lambda problem, text: equals(text, problem.answer or "")

    def _judge(self, records: Sequence[Mapping[str, Any]], report: dict[str, Any], console: Console) -> list[str]:
        """Write judge.jsonl. Returns lines about it."""
        from rewards.training.judgements import judge_rows

        settings = self.settings
        journal = self.folder / f"judgements_{file_name(str(settings.judge))}.jsonl"
        report_line = partial(say, console)
        judged = judge_rows(
            self.reward,
            records,
            self.rollout.problems,
            journal,
            report_line,
            template=settings.judge_template,
            seed=settings.seed,
        )
        rows = list(judged)
        kept = [row for row in rows if "conversations" in row]
        left_out = Counter(row["left_out"] for row in rows if "left_out" in row)
        report["files"]["judge.jsonl"] = write_rows(self.folder / "judge.jsonl", kept)
        report["judgements"] = {"made": len(rows), "kept": len(kept), "left_out": dict(left_out.most_common())}
        messages = [f"{len(rows)} judgements, {len(kept)} kept"]
        return messages + [f"  {count} left out: {reason}" for reason, count in left_out.most_common()]


class Pace:
    """How fast this session annotates, and how long the rest will take."""

    def __init__(self, total: int, before: int) -> None:
        self.total, self.before, self.done, self.steps = total, before, before, 0
        self.started = time.perf_counter()

    def after(self, records: Sequence[Mapping[str, Any]]) -> str:
        """A line about the progress after a batch with these records."""
        self.done += len(records)
        self.steps += sum(len(solution) for record in records for solution in record["step_values"])
        rate, left = self._rate(), self.total - self.done
        return f"annotated: {self.done}/{self.total} problems, {rate:.1f} problems/min, {60 * left / rate:.0f} s left"

    def whole(self) -> str:
        """A line about the whole session."""
        count, seconds = self.done - self.before, time.perf_counter() - self.started
        return f"{count} problems, {self.steps} steps labelled now in {seconds:.1f} s, {self._rate():.1f} problems/min"

    def _rate(self) -> float:
        """Problems per minute."""
        return 60 * (self.done - self.before) / (time.perf_counter() - self.started)


def claim_of(settings: AnnotateSettings, config: Mapping[str, Any], names: Sequence[str], problems: int) -> Claim:
    """The claim on the folder: what determines its problems, solutions and continuations.

    `problems` is the actual number of problems, even if the setting is null.
    """
    made_from: dict[str, Any] = {"problems": problems, **settings.labelling}
    made_from |= {name: config[name] for name in names if name != "cluster"}
    if settings.input is not None:
        made_from["input"] = file_digest(Path(settings.input))
        made_from["fields"] = settings.fields
    made_from["files"] = files_of({name: config[name] for name in names if name != "cluster"}, "")
    return Claim(Path(settings.folder), made_from, "annotated_from.json", "annotation")


def _first(found: Rows[Any]) -> str:
    return f": line {found.rejects[0].line}: {found.rejects[0].reason}" if found.rejects else ""


main = Annotate.main

if __name__ == "__main__":
    sys.exit(main())
