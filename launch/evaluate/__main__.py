"""Measure reward models as their papers do, to see whether they can be trusted:

    python -m launch.evaluate folder=build/table rewards=[orm,prm] problems=500 rollout.responses=64
    python -m launch.evaluate folder=build/gsm8k input=best-of-n.jsonl rewards=[rlhflow_prm_mistral]
    python -m launch.evaluate folder=build/steps kind=process_bench input=gsm8k.json rewards=[prm]
    python -m launch.evaluate folder=build/pairs kind=reward_bench input=pairs.jsonl rewards=[armorm]

The folder gets report.md, report.tex, report.json, accuracy.png, the scores, the sampled responses, and the rows that
could not be used (rejects.jsonl). Run the same command to resume; you may add rewards. Exit codes: 0 success,
1 failure, 2 could not start, 130 Ctrl-C.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from launch.command import Command, Composed, say
from launch.evaluate.evaluate_settings import GROUPS, EvaluateSettings, settings_of
from launch.evaluate.kinds import KINDS
from launch.evaluate.scores import Entry, entries, score
from rewards.builder import ConfigurationError, build, one_line
from rewards.evaluation.measure import Bench, Subject
from rewards.files.claim import Claim
from rewards.files.digests import file_digest, files_of
from rewards.files.rows import write_rejects
from rewards.types import Reward
from rl import checks
from rl.settings import PolicySettings, RolloutSettings
from rl.tasks import FileTask, Task


class Evaluate(Command):
    """One evaluation. The constructor checks everything and reads the input; it writes only the claim on the folder.

    Raises ConfigurationError or OSError if it cannot work.
    """

    name, help = "evaluate", __doc__

    def __init__(self, composed: Composed) -> None:
        config = composed.config
        self.settings = settings_of(config)
        self.kind = KINDS[self.settings.kind]
        self.rewards = prepare(entries(self.settings.rewards, composed.flags), self.settings)
        self.folder = self.kept = Path(self.settings.folder)
        self.log = self.folder / "logs" / "evaluate.log"
        self.drawn_by: dict[str, Any] = {}
        if self.settings.input is None:
            self.drawn_by = {name: build(config[name], name, f"configs/{name}") for name in GROUPS}
            check_drawing(self.settings, self.drawn_by["policy"], self.drawn_by["rollout"], self.drawn_by["task"])
            self.source = self.folder / "responses.jsonl"
        else:
            self.source = Path(self.settings.input)
            self.found = self.kind.read(self.source, self.settings)
        claim_of(self.settings, config).take()

    def run(self, console: Console) -> None:
        """Draw the responses that are missing, score them, measure, and write the report."""
        if self.drawn_by:
            from rl.sample_file import sample_to_file  # Ray and transformers take seconds to import

            problems, seed = self.settings.problems, self.settings.seed
            sample_to_file(
                **self.drawn_by, output=self.source, report=partial(say, console), problems=problems, seed=seed
            )
            self.found = self.kind.read(self.source, self.settings)
        folder, batch = self.folder / "scores", self.settings.batch
        subjects = [
            Subject(
                entry.name,
                partial(score, entry, reward, folder, batch, console),
                entry.tournament,
                entry.process,
                reward.compares_responses,
                reward.threshold,
            )
            for entry, reward in self.rewards
        ]
        bench = Bench(subjects, self.settings, [])
        write_rejects(self.folder / "rejects.jsonl", self.found)
        bench.notes += self.found.notes()
        if rejected := len(self.found.rejects):
            rows = "1 row" if rejected == 1 else f"{rejected} rows"
            bench.notes.append(f"{rows} could not be used: see rejects.jsonl")
        report = self.kind.report(self.found, self.settings, self.folder, bench)
        report.figures["rejected"] = rejected
        report.notes += bench.notes
        files = report.write(self.folder)
        files += [self.folder / name for name in FILES if (self.folder / name).exists()]
        say(console, report.markdown())
        say(console, f"files: {', '.join(map(str, files))}")


FILES = ("accuracy.png", "responses.jsonl", "rejects.jsonl", "disagreements.jsonl")
"""Files that may exist besides the report. The scores have their own folder."""


def check_drawing(settings: EvaluateSettings, policy: PolicySettings, rollout: RolloutSettings, task: Task) -> None:
    """Raise ConfigurationError if the samples could not be drawn or measured, even for a single overlong prompt."""
    if settings.n and max(settings.n) > rollout.responses:
        raise ConfigurationError(
            f"n={max(settings.n)} is too large: only rollout.responses={rollout.responses} are drawn per problem"
        )
    if not task.graded:
        raise ConfigurationError("task: its problems have no answers, so samples cannot be graded")
    from rl.policy import load_tokenizer, prompt_lengths  # transformers takes seconds to import

    tokenizer = load_tokenizer(policy.path, policy.chat_template_kwargs)
    try:
        if isinstance(task, FileTask):
            task.fit(partial(prompt_lengths, tokenizer), rollout.max_model_len - rollout.max_new_tokens)
        problems = task.held_out_problems(settings.problems)
    except ValueError as error:
        raise ConfigurationError(f"problems: {one_line(error)}") from error
    found = zip(problems, prompt_lengths(tokenizer, problems), strict=True)
    lengths = [(problem.id, length) for problem, length in found if isinstance(length, int)]
    for line in checks.prompt_lengths(lengths, rollout):
        raise ConfigurationError(line)


def prepare(chosen: Sequence[Entry], settings: EvaluateSettings) -> list[tuple[Entry, Reward]]:
    """Build and check every reward without loading weights. Raises ConfigurationError if one cannot work."""
    given = settings.kind == "process_bench"
    asked = [entry.for_given_steps(settings.protocol) if given and entry.process else entry for entry in chosen]
    return [(entry, entry.make()) for entry in asked]


def claim_of(settings: EvaluateSettings, config: Mapping[str, Any]) -> Claim:
    """The claim on the folder: what determines its responses. Rewards and figures may change between starts."""
    made_from: dict[str, Any] = {"kind": settings.kind}
    if settings.kind == "process_bench":
        made_from["protocol"] = settings.protocol
    if settings.input:
        made_from |= {"input": file_digest(Path(settings.input)), "fields": settings.fields}
    else:
        made_from |= {name: config[name] for name in ("policy", "task", "rollout")}
        made_from["problems"] = settings.problems
        drawn_from = {"policy": config["policy"], "task": {**config["task"], "train": None}}  # no training here
        made_from["files"] = files_of(drawn_from, "")
    if not settings.input or settings.judge_fields > 1:
        made_from |= {"seed": settings.seed, "judge_fields": settings.judge_fields}
    return Claim(Path(settings.folder), made_from, "made_from.json", "evaluation")


main = Evaluate.main

if __name__ == "__main__":
    sys.exit(main())
