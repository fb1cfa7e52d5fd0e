"""Run the training: ranks as Ray actors, optimizer steps, checkpoints, and the model at the end.

A stopped run resumes from its last checkpoint and ends with the same weights, because the plan of all steps depends
only on the rows and the seed.

checkpoints/step-000020/
    deepspeed/   weights, optimizer and schedule
    state.json   steps done, the evaluation before the first
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ray

from rl.cluster import actor_options, call, check_placement, end
from rl.reward_training.planning import plan_micros, plan_training
from rl.reward_training.rank import TrainingRank
from rl.reward_training.recipes import Recipe
from rl.settings import ClusterSettings

KEPT = 2  # checkpoints


class Ranks:
    """The ranks' actors; every call goes to all of them."""

    def __init__(self, recipe: Recipe, setup: Any, items: list, held_out: list, cluster: ClusterSettings, logs: Path):
        check_placement(cluster, ranks=setup.settings.ranks)
        options = actor_options(cluster, "learner", actors=setup.settings.ranks, model_path=recipe.model)
        actor: Any = ray.remote(TrainingRank).options(**options)
        self.logs, self.timeout = logs, cluster.timeout_s
        self.actors = [actor.remote(rank, str(logs)) for rank in range(setup.settings.ranks)]
        shared, kept = ray.put(items), ray.put(held_out)
        address = self.actors[0].address.remote()
        self._collect([one.start.remote(address, setup, shared, kept) for one in self.actors], "starting the training")

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method on all ranks and return rank 0's result."""
        refs = [getattr(actor, method).remote(*arguments) for actor in self.actors]
        return self._collect(refs, f"reward model's {method}")[0]

    def end(self) -> None:
        """End the ranks' processes."""
        end(self.actors)

    def _collect(self, refs: list[Any], what: str) -> list[Any]:
        names = [f"trainer-{rank}" for rank in range(len(refs))]
        return call(refs, self.timeout, what, names=names, log_folder=self.logs)


def train(
    recipe: Recipe,
    items: Sequence[Any],
    held_out: Sequence[Any],
    *,
    cluster: ClusterSettings,
    seed: int,
    folder: Path,
    checkpoint_every: int,
    report: Callable[[str], None],
    stop_after: int | None = None,
) -> dict[str, Any]:
    """Train on `items`, evaluate on `held_out` before and after, and save the model in `folder`/model.

    Ray must be running. `stop_after` ends the call after that step, as a crash would (for tests). Returns the summary:
    steps, seconds, tokens, and `before` and `after` with loss and accuracy if rows are held out. Raises RuntimeError
    and ValueError as the ranks do.
    """
    settings = recipe.training
    costs = [recipe.cost(item) for item in items]
    setup = recipe.setup(cluster.device, seed, 0)
    plan = plan_training(costs, [item.loss_terms for item in items], settings, seed, setup.layout)
    setup = recipe.setup(cluster.device, seed, len(plan))
    test = [recipe.cost(item) for item in held_out]
    micros = plan_micros(test, list(range(len(test))), settings.ranks, settings.micro_batch_tokens, setup.layout)
    started = time.perf_counter()
    ranks = Ranks(recipe, setup, list(items), list(held_out), cluster, folder / "logs")
    try:
        state = _resume(ranks, folder, report)
        if "before" not in state:
            state["before"] = ranks.call("evaluate", micros) if held_out else {}
            _say(report, "before training", state["before"])
        said = time.perf_counter()
        with (folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            for number, step in enumerate(plan[state["steps"] :], start=state["steps"] + 1):
                metrics = ranks.call("step", step)
                file.write(json.dumps({"step": number, **metrics}) + "\n")
                file.flush()
                state["steps"] = number
                if time.perf_counter() - said > 10 or number == len(plan):
                    said = time.perf_counter()
                    _say(report, f"step {number}/{len(plan)}", metrics)
                if checkpoint_every and number % checkpoint_every == 0 and number < len(plan):
                    _save(ranks, folder, state)
                if number == stop_after:
                    return state
        after = ranks.call("evaluate", micros) if held_out else {}
        _say(report, "after training", after)
        ranks.call("save_model", str(folder / "model"))
    finally:
        ranks.end()
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    seconds = round(time.perf_counter() - started, 1)
    return {**state, "after": after, "tokens": sum(costs) * settings.epochs, "seconds": seconds}


def _resume(ranks: Ranks, folder: Path, report: Callable[[str], None]) -> dict[str, Any]:
    """Load the last checkpoint into the ranks and return its state, or a new run's state if there is none."""
    found = sorted((folder / "checkpoints").glob("step-*[0-9]/state.json"))
    state: dict[str, Any] = json.loads(found[-1].read_text(encoding="utf-8")) if found else {"steps": 0}
    metrics = folder / "metrics.jsonl"
    if metrics.exists():
        lines = metrics.read_text(encoding="utf-8").splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= state["steps"]]
        metrics.write_text("".join(whole), encoding="utf-8")
    if found:
        ranks.call("load", str(found[-1].parent / "deepspeed"))
        report(f"continuing after step {state['steps']} ({found[-1].parent})")
    return state


def _save(ranks: Ranks, folder: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint to a temporary folder, rename it when complete, and keep only the latest `KEPT`."""
    place = folder / "checkpoints" / f"step-{state['steps']:06}"
    part = place.with_name(place.name + ".part")
    for old in (part, place):
        shutil.rmtree(old, ignore_errors=True)
    part.mkdir(parents=True)
    ranks.call("save", str(part / "deepspeed"))
    (part / "state.json").write_text(json.dumps(state) + "\n", encoding="utf-8")
    part.rename(place)
    for old in sorted(place.parent.glob("step-*[0-9]"))[:-KEPT]:
        shutil.rmtree(old)


def _say(report: Callable[[str], None], when: str, metrics: dict[str, float]) -> None:
    if metrics:
        report(f"{when}: loss {metrics['loss']:.4f}, accuracy {metrics['accuracy']:.4f}")
