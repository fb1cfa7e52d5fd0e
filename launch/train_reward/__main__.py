"""Train a reward model on a file in its published form:

    python -m launch.train_reward recipe=rlhflow_prm data=prm.jsonl folder=build/prm
    python -m launch.train_reward recipe=bradley_terry data=pairs.jsonl folder=build/rm
    python -m launch.train_reward recipe=armorm data=rated.jsonl pairs=pairs.jsonl folder=build/armorm
    python -m launch.train_reward recipe=pairjudge data=judgements.jsonl folder=build/judge

The folder gets the trained model (model/), metrics.jsonl, summary.json, the rows that could not be used (rejects.jsonl)
and logs. Run the same command to resume; the model is the same as without the interruption. ArmoRM's hidden states are
kept in states/. If the training stopped after writing them, it can be resumed with other recipe.heads, and a training
in another folder can reuse them with states=FOLDER. Exit codes: 0 success, 1 failure, 2 could not start, 130 Ctrl-C.
"""

from __future__ import annotations

import json
import random
import sys
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from launch.command import Command, Composed, say
from launch.train_reward.train_reward_settings import TrainRewardSettings, claim_of, finished, parts_of
from rewards.files.rows import write_rejects
from rewards.training.armorm_fit import ArmoModel
from rewards.training.armorm_train import read_armorm, train_armorm
from rewards.training.states import claim_of_states
from rewards.training.token_rows import Data, read
from rl.policy import check_policy
from rl.reward_training.judge_prompt import prompt_note, write_prompt
from rl.reward_training.recipes import JudgeModel
from rl.settings import ClusterSettings


class TrainReward(Command):
    """One training. The constructor checks everything and reads the rows; it writes only the claim on the folder.

    Raises ValueError or OSError if it cannot work.
    """

    name, help = "train_reward", __doc__

    def __init__(self, composed: Composed) -> None:
        self.settings, self.recipe, self.cluster = parts_of(composed.config, composed.choices)
        self.folder = self.kept = Path(self.settings.folder)
        self.log = self.folder / "logs" / "train_reward.log"
        claim = claim_of(self.settings, composed.config)
        if finished(claim):
            self.nothing_to_do = f"{self.folder / 'model'} is already trained: choose another folder to train again"
            return
        check_policy(self.recipe.model, "recipe.model")
        data = Path(self.settings.data)
        self.found: Any
        if isinstance(self.recipe, ArmoModel):
            self.found = read_armorm(self.recipe, data, Path(self.settings.pairs or ""))
            self.states = Path(self.settings.states or self.folder / "states")
            states = claim_of_states(self.states, self.recipe, self.found.sides)
            states.check()
            claim.write()
            states.write()
        else:
            self.found = read(self.recipe, data)
            claim.write()

    def run(self, console: Console) -> None:
        """Train on the rows that can be used, and write the others to rejects.jsonl."""
        report = partial(say, console)
        found, folder = self.found, self.folder
        for name, rows in found.files.items():
            write_rejects(folder / f"{name}.jsonl", rows)
        rejected = sum(len(rows.rejects) for rows in found.files.values())
        for note in found.notes():
            report(note)
        if isinstance(self.recipe, ArmoModel):
            summary = train_armorm(self.recipe, found, folder, self.states, self.settings.seed, report)
        else:
            if isinstance(self.recipe, JudgeModel) and (note := prompt_note(self.recipe, found.rows.rows)):
                report(note)
            summary = train(self.recipe, found, folder, self.settings, self.cluster, report)
        summary |= {"rows": found.used, "rejected": rejected}
        (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        report(f"trained on {found.used} rows ({rejected} left out); model saved to {folder / 'model'}")


def train(
    recipe: Any, found: Data, folder: Path, settings: TrainRewardSettings, cluster: ClusterSettings, report: Any
) -> dict[str, Any]:
    """Train on DeepSpeed, holding out `settings.held_out` rows (at most a tenth) for the evaluation."""
    from rl.cluster import start_cluster, stop_cluster
    from rl.reward_training import run

    order = list(range(len(found.items)))
    random.Random(settings.seed).shuffle(order)
    kept = min(settings.held_out, len(order) // 10)
    items = [found.items[row] for row in order]
    start_cluster(cluster, folder / "logs")
    try:
        summary = run.train(
            recipe,
            items[kept:],
            items[:kept],
            cluster=cluster,
            seed=settings.seed,
            folder=folder,
            checkpoint_every=settings.checkpoint_every,
            report=report,
        )
    finally:
        stop_cluster()
    if isinstance(recipe, JudgeModel):
        write_prompt(recipe, found.rows.rows, folder / "model", report)
    return summary


main = TrainReward.main

if __name__ == "__main__":
    sys.exit(main())
