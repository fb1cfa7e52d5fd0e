"""Compare the input of reward=trl_prm with TRL's own: `python -m tests.rewards.check_trl_prm prm_trainer.py`.

The file is TRL's trl/experimental/prm/prm_trainer.py (older versions: trl/trainer/prm_trainer.py). Only its function
`tokenize_row` is run. Prints how many odd solutions have equal token ids and equal places, for tokenizers with and
without a BOS token.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rewards.types import Problem, Response
from tests.rewards.odd_texts import odd_solutions
from tests.rewards.options import reward_of
from tests.rewards.published_models import PROCESS


def tokenize_row(path: str) -> Callable[..., dict[str, list[int]]]:
    """TRL's function, without importing TRL."""
    source = ast.parse(Path(path).read_text(encoding="utf-8"))
    [function] = [one for one in ast.walk(source) if isinstance(one, ast.FunctionDef) and one.name == "tokenize_row"]
    function.decorator_list = []
    scope: dict[str, Any] = {"chain": chain}
    exec(compile(ast.Module([function], []), path, "exec"), scope)
    return scope["tokenize_row"]


def main(path: str) -> None:
    theirs_of = tokenize_row(path)
    for name in ("trl_prm", "trl_prm_bos"):
        with TemporaryDirectory() as folder:
            reward = reward_of("trl_prm", PROCESS[name].make(Path(folder)))
            tokenizer = reward.text.plain.tokenizer  # type: ignore[attr-defined]
            equal = total = 0
            for problem, solutions in odd_solutions(17, problems=25, each=8):
                for steps in solutions:
                    steps = [step.strip() for step in steps]
                    row = {"prompt": problem, "completions": steps, "labels": [True] * len(steps)}
                    theirs = theirs_of(row, tokenizer, "\n", None, None, False, False)
                    [ours] = reward.prompts([(Problem("p", problem), Response("\n".join(steps)))])  # type: ignore[attr-defined]
                    places = [place for place, label in enumerate(theirs["labels"]) if label == 1]
                    equal += ours.ids == theirs["input_ids"] and ours.positions == places
                    total += 1
            print(f"{name}: {equal} of {total} inputs equal TRL's")


if __name__ == "__main__":
    main(sys.argv[1])
