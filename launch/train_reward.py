"""Train a reward model from a file, in its published form:

    python -m launch.train_reward recipe=rlhflow_prm data=prm.jsonl folder=build/prm
    python -m launch.train_reward recipe=bradley_terry data=pairs.jsonl folder=build/rm
    python -m launch.train_reward recipe=armorm data=rated.jsonl pairs=pairs.jsonl folder=build/armorm
    python -m launch.train_reward recipe=pairjudge data=judgements.jsonl folder=build/judge

The folder holds the finished model (model/), metrics.jsonl, summary.json, the rows that could not be used
(rejects.jsonl) and logs. The same command goes on where it stopped, to the same model. Exit codes: 0 done, 1 it broke,
2 it could not start, 130 Ctrl-C.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from rich.console import Console

from launch.composition import compose, parse_words, register_resolvers
from launch.configuration import plain
from launch.evaluate_rows import write_rejects
from launch.nodes import ConfigurationError, one_line
from launch.output import quiet
from launch.train_reward_armorm import read_armorm, train_armorm
from launch.train_reward_data import Data, read
from launch.train_reward_settings import TrainRewardSettings, claim, finished, made_from, parts_of
from rewards.training.armorm_fit import ArmoModel
from rl.settings import ClusterSettings


def main(words: Sequence[str] | None = None) -> int:
    """Train what `words` ask for. Returns the exit code."""
    words = list(sys.argv[1:] if words is None else words)
    register_resolvers()
    try:
        args = parse_words(words)
        if args.help:
            print(__doc__)
            return 0
        runs = compose(words, "train_reward")
        if len(runs) > 1:
            raise ConfigurationError("a sweep cannot write one folder: start launch.train_reward once for each")
        if args.cfg:
            print(OmegaConf.to_yaml(runs[0].config))
            return 0
        config = plain(runs[0].config)
        settings, recipe, cluster = parts_of(config, runs[0].choices)
        folder = Path(settings.folder)
        wanted = made_from(settings, config)
        if finished(folder, wanted):
            print(f"{folder / 'model'} is finished already: choose another folder to train again")
            return 0
        if isinstance(recipe, ArmoModel):
            found: Any = read_armorm(recipe, Path(settings.data), Path(settings.pairs or ""))
        else:
            found = read(recipe, Path(settings.data))
        claim(folder, wanted)
    except KeyboardInterrupt:
        print("error: stopped by Ctrl-C before anything was done", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    for name, rows in found.files.items():
        write_rejects(folder / f"{name}.jsonl", rows)
    rejected = sum(len(rows.rejects) for rows in found.files.values())
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    with quiet(logs / "train_reward.log") as screen:
        console = Console(file=screen)

        def report(line: str) -> None:
            console.print(line, markup=False, highlight=False, soft_wrap=True)

        try:
            for note in found.notes():
                report(note)
            if isinstance(recipe, ArmoModel):
                summary = train_armorm(recipe, found, folder, settings.seed, report)
            else:
                summary = train(recipe, found, folder, settings, cluster, report)
        except (Exception, KeyboardInterrupt) as error:
            report(f"error: {'stopped by Ctrl-C' if isinstance(error, KeyboardInterrupt) else one_line(error)}")
            report(f"       {folder} keeps what is done; the same command goes on")
            return 130 if isinstance(error, KeyboardInterrupt) else 1
        summary |= {"rows": found.used, "rejected": rejected}
        (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        report(f"{found.used} rows learned from, {rejected} left out; the model lies in {folder / 'model'}")
    return 0


def train(
    recipe: Any, found: Data, folder: Path, settings: TrainRewardSettings, cluster: ClusterSettings, report: Any
) -> dict[str, Any]:
    """Train on DeepSpeed, with `settings.held_out` rows kept apart for the evaluation."""
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
    template_file = getattr(recipe, "template_file", None)
    if template_file is not None:  # a judge is to be asked as it was taught
        shutil.copy(template_file, folder / "model" / "compare.md")
    return summary


if __name__ == "__main__":
    sys.exit(main())
