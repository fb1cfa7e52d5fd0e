"""Files of problems and reference answers: JSONL, JSON lists, parquet or saved data sets, field names configurable.

Answers are compared mathematically (math-verify), whatever their notation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from rewards.conversation import with_system
from rewards.files.fields import answer_of, id_of, metadata_of, prompt_of, value_at
from rewards.files.rows import write_rejects
from rewards.types import Problem
from rewards.verifier import grade
from rl.tasks import FileTask, Lengths
from rl.tasks.split import Split, paths_of

DATA, REJECTS = "data.json", "rejects.jsonl"
"""Files in a run's folder: which data it was made with, and the rows that were left out."""

Files = str | tuple[str, ...] | None


class JsonlTask(FileTask):
    """Problems from files, some to train on and some held out. A split is read when it is first needed.

    `train` and `held_out` name one file or several (`rewards.files.lines` says of which kinds). `problem` names the
    field with the question: text, or a list of chat messages (`role`, `content`) that ends with the user's turn.
    `answer` names the field with the reference answer: text or a number; None for prompts without answers, of which no
    accuracy is reported. A name with dots is a field inside a field: `extra.question`. All other fields of a row become
    its problem's metadata. `system` is put before every question as a system message, except before one that has its
    own (`rewards.conversation.with_system`).

    `weights`, one per file of `train`, mix them in this proportion (`Split.mixed`); None takes every problem once per
    epoch. `overlap` says what to do with a training problem that is also held out, the same in all its turns: "stop"
    (an error) or "drop" (left out of training; `dropped` counts them). `overlong` says the same of prompts that leave
    no room for a response (`fit`).

    A row that cannot be used is left out; `notes` and `describe` say which, and why. Raises FileNotFoundError for a
    missing file, ValueError for contradictory options and, when a split is read, if a file has no usable row.
    """

    def __init__(
        self,
        train: Files = None,
        held_out: Files = None,
        problem: str = "problem",
        answer: str | None = "answer",
        system: str | None = None,
        overlap: Literal["stop", "drop"] = "stop",
        weights: tuple[float, ...] | None = None,
        overlong: Literal["stop", "drop"] = "stop",
    ) -> None:
        self.graded = answer is not None
        self.dropped = 0
        self._problem, self._answer, self._system = problem, answer or "", system
        self._overlap, self._overlong = overlap, overlong
        self._weights = weights
        self._paths = {key: paths_of(value, key) for key, value in (("train", train), ("held_out", held_out))}
        if weights is not None:
            count = len(self._paths["train"])
            if len(weights) != count:
                raise ValueError(f"weights must be one number per file of train ({count}), not {len(weights)}")
            if not all(0 < weight < float("inf") for weight in weights):
                raise ValueError(f"weights must be above 0, not {list(weights)}")

    def train_problems(self, seed: int) -> Iterator[Problem]:
        """Endless: all training problems in a new order every epoch, or the files mixed by weight.

        The seed alone decides the order.
        """
        if self._weights is not None:
            return self._train.mixed(seed, self._weights)
        return self._train.shuffled(seed)

    def held_out_problems(self, count: int) -> list[Problem]:
        """The first `count` held-out problems. Raises ValueError if there are fewer."""
        problems = self._held_out.problems
        if count > len(problems):
            raise ValueError(f"{count} held-out problems were requested, but held_out has only {len(problems)}")
        return problems[:count]

    def grade(self, problem: Problem, text: str) -> bool:
        """Whether the final answer of `text` equals the problem's reference answer. Raises `Undecided`."""
        return problem.answer is not None and grade(text, problem.answer)

    def reference_answer(self, fields: Mapping[str, Any]) -> str:
        """The reference answer of one row. Raises ValueError, without file and line, if there is none."""
        answer = answer_of(value_at(fields, self._answer), f"field {self._answer!r}")
        if answer is None or not answer.strip():
            raise ValueError(f"field {self._answer!r} is empty")
        return answer

    def fit(self, lengths: Lengths, room: int) -> None:
        """Check the prompts of each split that has files (see `rl.tasks.FileTask`)."""
        for split in self._splits().values():
            split.fit(lengths, room, drop=self._overlong == "drop")

    def notes(self) -> list[str]:
        """One-line notes on the files."""
        return [note for split in self._splits().values() for note in split.notes()]

    def digests(self) -> dict[str, str]:
        """The number of problems in each split and the start of their digest."""
        return {
            name: f"{len(split.problems)} problems (sha256 {split.digest[:16]})"
            for name, split in self._splits().items()
        }

    def describe(self, folder: Path) -> None:
        """Write data.json and rejects.jsonl."""
        splits = self._splits()
        content = {name: split.description() for name, split in splits.items()}
        (folder / DATA).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        write_rejects(folder / REJECTS, *(found for split in splits.values() for found in split.files))

    def changed_files(self, described: dict[str, Any]) -> list[str]:
        """The files that have changed since `described`, a data.json, was written."""
        changed = []
        for name, split in self._splits().items():
            before = {one["sha256"] for one in described.get(name, {}).get("files", ())}
            changed += [one["path"] for one in split.description()["files"] if one["sha256"] not in before]
        return changed

    def _splits(self) -> dict[str, Split]:
        found = {"train": "_train", "held_out": "_held_out"}
        return {name: getattr(self, attribute) for name, attribute in found.items() if self._paths[name]}

    @cached_property
    def _held_out(self) -> Split:
        return self._read("held_out")

    @cached_property
    def _train(self) -> Split:
        split = self._read("train")
        if not self._paths["held_out"]:
            return split
        seen = {_turns(problem) for problem in self._held_out.problems}
        reasons = ["also held out (task.overlap=drop)" if _turns(one) in seen else None for one in split.problems]
        common = len(reasons) - reasons.count(None)
        if common and self._overlap == "stop":
            raise ValueError(
                f"{common} of the {len(reasons)} problems of {_named(self._paths['train'])} are also in "
                f"{_named(self._paths['held_out'])}: take them out of one of the two, or leave them out of training "
                "with task.overlap=drop"
            )
        self.dropped = split.take_out(reasons)
        return split

    def _read(self, name: str) -> Split:
        if not self._paths[name]:
            raise ValueError(f"task.{name} has no default: give it as task.{name}=...")
        return Split(self._paths[name], f"task.{name}", self._problem_of)

    def _problem_of(self, fields: dict[str, Any], identity: str) -> Problem:
        prompt = prompt_of(value_at(fields, self._problem), f"field {self._problem!r}")
        turns = with_system([{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt, self._system)
        return Problem(
            id=id_of(fields, identity),
            prompt=turns[0]["content"] if len(turns) == 1 else turns,
            answer=self.reference_answer(fields) if self.graded else None,
            metadata=metadata_of(fields, {"id", self._problem, self._answer}),
        )


def _turns(problem: Problem) -> tuple[tuple[str, str], ...]:
    """A problem's whole dialogue in comparable form."""
    return tuple((message["role"], message["content"].strip()) for message in problem.messages)


def _named(paths: Sequence[Path]) -> str:
    return " and ".join(map(str, paths))
