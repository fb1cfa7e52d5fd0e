"""Judgement data in PairJudge RM's format (arXiv 2501.13007).

The solutions of a problem play a knockout, and each judgement becomes a conversation: the judge's prompt, and a text
that ends with the two verdicts. Either a judge writes the texts, and those with verdicts that contradict the reference
answer are left out; or the verdicts come from the reference answer (`VerifiedJudge`), after each side's final answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rewards.files.journal import whole_batches
from rewards.pairjudge import PairJudgeReward
from rewards.training.annotated import Record, question_of
from rewards.types import Group, Problem, Response
from rewards.verdicts import SYSTEM, Comparison, Judge, Verdict, fill, load_template
from rewards.verifier import extract_answer

Correct = Mapping[tuple[str, str], bool]
"""Whether a solution is correct, by question and text."""


class VerifiedJudge:
    """A judge that knows the reference answers; its text names each side's final answer.

    Set `correct` before the first comparison.
    """

    def __init__(self, template: str | None = None) -> None:
        self.correct: Correct = {}
        self.prompt, self.system = load_template(template), SYSTEM

    def judge(self, comparisons: Sequence[Comparison]) -> list[Verdict]:
        """One verdict per comparison. Raises KeyError for a solution it does not know."""
        return [self._verdict(one) for one in comparisons]

    def _verdict(self, one: Comparison) -> Verdict:
        a, b = self.correct[one.question, one.a], self.correct[one.question, one.b]
        return Verdict(a, b, text=verified_text(one, a, b))


class Recorder:
    """A judge that records every comparison and its verdict."""

    def __init__(self, judge: Judge) -> None:
        self.inner = judge
        self.said: list[tuple[Comparison, Verdict]] = []

    def judge(self, comparisons: Sequence[Comparison]) -> list[Verdict]:
        """The inner judge's verdicts."""
        verdicts = self.inner.judge(comparisons)
        self.said += zip(comparisons, verdicts, strict=True)
        return verdicts


def verified_text(one: Comparison, a: bool, b: bool) -> str:
    """The judgement of one who knows the truth: each side's final answer, then the verdicts in their tags."""
    lines = []
    for side, text in (("A", one.a), ("B", one.b)):
        answer = extract_answer(text)
        lines.append(f"Response {side} " + ("gives no final answer." if answer is None else f"answers {answer}."))
    for side, correct in (("a", a), ("b", b)):
        lines.append(f"<resp_{side}_judge>{'Correct' if correct else 'Incorrect'}</resp_{side}_judge>")
    return "\n".join(lines)


def correct_solutions(records: Sequence[Record]) -> dict[tuple[str, str], bool]:
    """Whether each solution is correct, by question and text; the records must have different questions."""
    return {
        (question_of(record), text): bool(label)
        for record in records
        for text, label in zip(record["answers"], record["label"], strict=True)
    }


def judge_rows(
    reward: PairJudgeReward | None,
    records: Sequence[Record],
    batch: int,
    journal: Path,
    report: Callable[[str], None],
    *,
    template: str | None = None,
    seed: int = 1,
) -> Iterator[dict[str, Any]]:
    """One row per judgement, for all problems: `conversations` and its parts, or `left_out` with the reason.

    Without a reward, the reference answers decide in a knockout drawn with `seed`, and `template` is the judge's
    prompt. The judgements of each batch of problems are appended to `journal` as soon as they are made; those already
    in it are not made again.
    """
    verified = VerifiedJudge(template)
    if reward is None:
        reward = PairJudgeReward(verified, seed=seed)
    recorder = Recorder(reward.judge)
    prompt = getattr(reward.judge, "prompt", load_template(None))
    system = getattr(reward.judge, "system", SYSTEM)
    reward.judge = recorder
    compared = [record for record in records if _group(record) is not None]
    batches = judged_together(compared, batch)
    done = whole_batches(journal, [1] * len(batches))
    with journal.open("a", encoding="utf-8") as file:
        for number in range(done, len(batches)):
            recorder.said.clear()
            correct = verified.correct = correct_solutions(batches[number])
            reward.score([group for record in batches[number] if (group := _group(record)) is not None])
            said = [_record(one, verdict, correct) for one, verdict in recorder.said]
            file.write(json.dumps({"judgements": said}, ensure_ascii=False) + "\n")
            file.flush()
            judged = sum(map(len, batches[: number + 1]))
            report(f"judged: {judged}/{len(compared)} problems")
    with journal.open(encoding="utf-8") as file:
        for line in file:
            for judgement in json.loads(line)["judgements"]:
                yield _row(judgement, prompt, system)


def judged_together(records: Sequence[Record], size: int) -> list[list[Record]]:
    """The records in batches of at most `size`, in order, with no question twice in a batch.

    A comparison names its question, but would not say which of two reference answers to it applies.
    """
    batches: list[list[Record]] = []
    asked: set[str] = set()
    for record in records:
        question = question_of(record)
        if not batches or len(batches[-1]) == size or question in asked:
            batches.append([])
            asked = set()
        batches[-1].append(record)
        asked.add(question)
    return batches


def _group(record: Record) -> Group | None:
    """A problem's distinct solutions; None if there is nothing to compare."""
    texts = list(dict.fromkeys(record["answers"]))
    problem = Problem(record["id"], question_of(record), record["answer"])
    return Group(problem, tuple(map(Response, texts))) if len(texts) > 1 else None


def _record(one: Comparison, verdict: Verdict, correct: Correct) -> dict[str, Any]:
    return {
        "question": one.question,
        "a": one.a,
        "b": one.b,
        "text": verdict.text,
        "verdict": [verdict.a, verdict.b] if verdict.given else None,
        "reason": verdict.reason,
        "truth": [correct[one.question, one.a], correct[one.question, one.b]],
    }


def _row(judgement: Mapping[str, Any], prompt: str, system: str | None) -> dict[str, Any]:
    """A judgement as a conversation and in parts, for recipes with their own prompt; or why it is left out."""
    if judgement["verdict"] is None:
        return {"left_out": judgement["reason"]}
    if judgement["verdict"] != judgement["truth"]:
        return {"left_out": "the reference answer contradicts the verdicts"}
    if not judgement["text"]:
        return {"left_out": "the judge gave verdicts, but no text to learn from"}
    question = Comparison(judgement["question"], judgement["a"], judgement["b"])
    turns = [{"role": "system", "content": system}] if system else []
    turns.append({"role": "user", "content": fill(prompt, question)})
    turns.append({"role": "assistant", "content": judgement["text"]})
    parts = {"question": question.question, "response_a": question.a, "response_b": question.b}
    return {"conversations": turns, **parts, "judgement": judgement["text"]}
