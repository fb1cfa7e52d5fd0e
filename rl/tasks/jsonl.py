"""Any JSONL file of problems and reference answers: one JSON object a line, the names of its fields configurable.

Answers are compared mathematically (math-verify), whatever their notation.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from rewards.conversation import Message, messages_of, with_system
from rewards.types import Problem
from rewards.verifier import grade
from rl.tasks import Task


class JsonlTask(Task):
    """Problems from two files, one to train on and one held out.

    `problem` names the field with the question: text, or a list of chat messages (`role`, `content`) that ends with the
    user's turn. `answer` names the field with the reference answer: text or a number; None for prompts without answers,
    of which no accuracy is reported. `system` is put before every question as a system message, except before one that
    has its own (`rewards.conversation.with_system`). `overlap` says what to do with a training problem that is also
    held out, word for word: "stop" (an error) or "drop" (left out of training; `dropped` counts them).

    Raises FileNotFoundError for a missing file, and ValueError naming file and line for a line that is not a JSON
    object, lacks a field, or has an empty problem or answer.
    """

    def __init__(
        self,
        train: str,
        held_out: str,
        problem: str = "problem",
        answer: str | None = "answer",
        system: str | None = None,
        overlap: Literal["stop", "drop"] = "stop",
    ) -> None:
        self.graded = answer is not None
        self._problem, self._answer, self._system = problem, answer or "", system
        self._held_out = self._load(held_out, "task.held_out")
        self._train = self._load(train, "task.train")
        seen = {problem.text for problem in self._held_out}
        kept = [problem for problem in self._train if problem.text not in seen]
        self.dropped = len(self._train) - len(kept)
        if self.dropped and overlap == "stop":
            raise ValueError(
                f"{self.dropped} of the {len(self._train)} problems of {train} are also in {held_out}: take them out "
                "of one of the two, or leave them out of training with task.overlap=drop"
            )
        if not kept:
            raise ValueError(f"task.train: {train} has no problem that is not held out")
        self._train = kept

    def train_problems(self, seed: int) -> Iterator[Problem]:
        """Endless: all training problems in a new order every epoch, the same orders for the same `seed`."""
        order = random.Random(f"{seed}")
        while True:
            yield from order.sample(self._train, len(self._train))

    def held_out_problems(self, count: int) -> list[Problem]:
        """The first `count` held-out problems. Raises ValueError where there are fewer."""
        if count > len(self._held_out):
            raise ValueError(f"{count} held-out problems were asked for, but held_out has only {len(self._held_out)}")
        return self._held_out[:count]

    def grade(self, problem: Problem, text: str) -> bool:
        """Whether the final answer of `text` equals the problem's reference answer."""
        return problem.answer is not None and grade(text, problem.answer)

    def reference_answer(self, fields: Mapping[str, Any]) -> str:
        """The reference answer of one line. Raises ValueError, without file and line, where there is none."""
        return _text(fields, self._answer)

    def _load(self, file: str, key: str) -> list[Problem]:
        path = Path(file).expanduser()
        if not path.is_file():
            raise FileNotFoundError(f"{key}: there is no file {file}")
        problems = []
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    try:
                        problems.append(self._problem_of(line, f"{path.stem}-{number}"))
                    except ValueError as error:
                        raise ValueError(f"{file}, line {number}: {error}") from error
        if not problems:
            raise ValueError(f"{key}: {file} holds no problems")
        return problems

    def _problem_of(self, line: str, identity: str) -> Problem:
        try:
            fields = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"not valid JSON ({error.msg} at column {error.colno})") from error
        if not isinstance(fields, dict):
            raise ValueError(f"a JSON object is needed, not {type(fields).__name__}")
        messages = self._messages(fields)
        return Problem(
            id=str(fields.get("id", identity)),
            prompt=messages[0]["content"] if len(messages) == 1 else messages,
            answer=self.reference_answer(fields) if self.graded else None,
        )

    def _messages(self, fields: Mapping[str, Any]) -> tuple[Message, ...]:
        """The prompt's chat turns, the system message first if there is one."""
        prompt = fields.get(self._problem)
        if not isinstance(prompt, list):
            return with_system([{"role": "user", "content": _text(fields, self._problem)}], self._system)
        try:
            turns = messages_of(prompt)
        except ValueError as error:
            raise ValueError(f"field {self._problem!r}: {error}") from error
        if not turns or turns[-1]["role"] != "user" or not turns[-1]["content"].strip():
            raise ValueError(f"the messages of {self._problem!r} must end with a user turn that is not empty")
        return with_system(turns, self._system)


def _text(fields: Mapping[str, Any], name: str) -> str:
    """The text (or number, as text) in a field. Raises ValueError where it is missing, empty or something else."""
    if name not in fields:
        raise ValueError(f"no field {name!r}; it has {', '.join(map(repr, fields)) or 'none'}")
    value = fields[name]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"field {name!r} must hold text, not {type(value).__name__}")
    if not str(value).strip():
        raise ValueError(f"field {name!r} is empty")
    return str(value)
