"""What a run would do, without starting it: `dry_run=true`."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table
from rich.text import Text

from rl.settings import RunSettings


def plan(settings: RunSettings, folder: str) -> Group:
    """A table of the processes and where they would run, and the arithmetic of one update, in words."""
    loop, rollout, learner, cluster = settings.loop, settings.rollout, settings.learner, settings.cluster
    table = Table(title="What would run where", title_justify="left")
    for column in ("actors", "count", "what", "device each"):
        table.add_column(column, overflow="fold")
    reference = " + frozen reference" if settings.algorithm.needs_reference else ""
    model = f"{settings.policy.path} ({settings.policy.dtype})"
    table.add_row("sampler", str(rollout.engines), f"vLLM: {model}", _device(settings, cluster.gpus_per_engine))
    table.add_row(
        "reward", str(loop.reward_replicas), type(settings.reward).__name__, _device(settings, cluster.gpus_per_reward)
    )
    table.add_row(
        "learner",
        str(learner.ranks),
        f"DeepSpeed ZeRO-{learner.zero_stage}: the policy{reference}",
        _device(settings, cluster.gpus_per_learner),
    )
    rows = rollout.problems * rollout.responses
    steps = learner.epochs * learner.minibatches
    where = cluster.address or "started on this machine"
    lines = [
        f"Ray: {where}",
        f"one update: {rollout.problems} problems x {rollout.responses} responses = {rows} responses of at most "
        f"{rollout.max_new_tokens} tokens; {steps} optimizer step{'' if steps == 1 else 's'} of about "
        f"{rows // learner.minibatches} responses",
        f"the run: {loop.updates} updates of {type(settings.algorithm).__name__}, evaluated on "
        f"{loop.evaluate_problems} held-out problems {_when(loop.evaluate_every)}",
        f"files: {folder}",
    ]
    return Group(table, *(Text(line, overflow="fold") for line in lines))


def _device(settings: RunSettings, gpus: float) -> str:
    cluster = settings.cluster
    return f"CPU, {cluster.threads} thread(s)" if cluster.device == "cpu" else f"{gpus:g} GPU"


def _when(every: int) -> str:
    return f"before, after and every {every} updates" if every else "before and after"
