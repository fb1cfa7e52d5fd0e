"""Show what a run would do, without starting or downloading anything: `dry_run=true`."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from rewards.model_folder import place_of
from rl.learner.losses import PreferenceLossSettings
from rl.planning.estimates import BYTES, GIB, SPEEDS
from rl.planning.hours import learned_rows, rows_of, stages, together
from rl.planning.model_sizes import facts_of
from rl.planning.placement import Actors, actors, gpus, model_names, reward_models
from rl.run_settings import RunSettings

_PLACES = {"folder": "in this folder", "cache": "in this machine's cache", "hub": "would be downloaded"}


def plan(settings: RunSettings, folder: str, missing: Sequence[str] = ()) -> Group:
    """The processes with their memory, the models, the sizes of an update, the hours, and what is `missing`."""
    groups = actors(settings)
    lines = [*_ray(settings, groups), *_arithmetic(settings), f"files: {folder}"]
    notes = [*missing, *_too_much(settings, groups)]
    if notes:
        lines += ["before it can run:", *(f"  - {note}" for note in notes)]
    return Group(
        _actors_table(settings, groups),
        _models_table(settings),
        _hours_table(settings),
        *(Text(line, overflow="fold") for line in lines),
    )


def _actors_table(settings: RunSettings, groups: Sequence[Actors]) -> Table:
    table = _table("What would run where", "actors", "count", "what", "device each", "memory each")
    for one in groups:
        memory = "size not known" if one.memory is None else f"about {_gib(one.memory.gib)}"
        table.add_row(
            one.name, str(one.count), one.what, _device(settings, one), f"{memory}{f'; {one.note}' if one.note else ''}"
        )
    return table


def _models_table(settings: RunSettings) -> Table:
    table = _table("Models", "key", "model", "parameters", "where")
    widths = {f"{one.key}.model": one.dtype for one in reward_models(settings)}
    for key, name in model_names(settings).items():
        facts, place = facts_of(name), place_of(name)
        count = "not known here" if facts is None else _count(facts.parameters)
        where = _PLACES[place]
        if place == "hub" and facts is not None:  # published weights are bf16, whatever dtype they are loaded as
            where += f", about {facts.parameters * BYTES['bf16'] / 1e9:.0f} GB"
        table.add_row(key, name, f"{count} ({widths.get(key, settings.policy.dtype)})", where)
    return table


def _hours_table(settings: RunSettings) -> Table:
    speed = SPEEDS[settings.cluster.device]
    title = f"Upper bound on time, with every response at full length, at the speed of {speed.name} (an estimate)"
    table = _table(title, "stage", "in the whole run", "at most")
    found = stages(settings)
    for stage in found:
        table.add_row(stage.name, stage.work, "not known" if stage.seconds is None else duration(stage.seconds))
    total = together(settings, found)
    if total is not None:
        table.add_row("together", "", duration(total))
    return table


def _ray(settings: RunSettings, groups: Sequence[Actors]) -> list[str]:
    where = settings.cluster.address or "started on this machine"
    if settings.cluster.device == "cpu":
        return [f"Ray: {where}"]
    shared = gpus(groups)
    kinds = {" + ".join(one.name for one in there) for there in shared}
    return [f"Ray: {where}; {len(shared)} GPU(s): {len(kinds)} kind(s) of load ({'; '.join(sorted(kinds))})"]


def _arithmetic(settings: RunSettings) -> list[str]:
    loop, rollout, learner = settings.loop, settings.rollout, settings.learner
    rows, learned = rows_of(settings), learned_rows(settings)
    steps = learner.epochs * learner.minibatches
    pairs = isinstance(settings.algorithm.loss(), PreferenceLossSettings)
    unit, units = ("pairs", learned // 2) if pairs else ("responses", rows)
    return [
        f"one update: {rollout.problems} problems x {rollout.responses} responses = {rows} responses of at most "
        f"{rollout.max_new_tokens} tokens"
        + (f", at most {units} preference pairs" if pairs else "")
        + f"; {steps} optimizer step{'' if steps == 1 else 's'} of about {max(1, units // learner.minibatches)} {unit}",
        f"one optimizer step: {learner.ranks} rank(s) with forward passes of at most {learner.micro_batch_tokens} "
        "tokens each, gradients added up",
        f"the run: {loop.updates} updates of {type(settings.algorithm).__name__}, evaluated on "
        f"{loop.evaluate_problems} held-out problems {_when(loop.evaluate_every)}; checkpoints {_saved(settings)}",
    ]


def _too_much(settings: RunSettings, groups: Sequence[Actors]) -> list[str]:
    """Lines about GPUs whose actors need more memory than the GPU has, as far as sizes are known."""
    whole = SPEEDS[settings.cluster.device].memory_gib
    if whole is None:
        return []
    lines = []
    loads = {
        " + ".join(one.name for one in there): sum(one.memory.gib for one in there if one.memory)
        for there in gpus(groups)
    }
    for names, gib in loads.items():
        if gib > whole:
            lines.append(
                f"{names} on one GPU need about {gib:.0f} GiB of {whole:.0f}: raise cluster.gpus_per_* to split them, "
                "or learner.ranks with learner.zero_stage=3, or set learner.gradient_checkpointing=true, or lower "
                "learner.micro_batch_tokens"
            )
    engine = groups[0].memory
    if engine is not None and engine.cache <= 0:
        lines.append(
            f"rollout.gpu_memory_utilization={settings.rollout.gpu_memory_utilization} of {whole:.0f} GiB leaves no KV "
            f"cache after {engine.weights / GIB:.1f} GiB of weights: raise it"
        )
    return lines


def duration(seconds: float) -> str:
    """Seconds in words, rounded for planning: `under a minute`, `12 min`, `3.4 h`, `2.1 days`."""
    if seconds < 60:
        return "under a minute"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _device(settings: RunSettings, one: Actors) -> str:
    cluster = settings.cluster
    return f"CPU, {cluster.threads_of(one.count)} thread(s)" if cluster.device == "cpu" else f"{one.gpus:g} GPU"


def _gib(gib: float) -> str:
    return f"{gib:.1f} GiB" if gib >= 0.1 else f"{gib * 1024:.0f} MiB"


def _count(parameters: int) -> str:
    return f"{parameters / 1e9:.2f} billion" if parameters >= 1e8 else f"{parameters / 1e6:.2f} million"


def _when(every: int) -> str:
    return f"before, after and every {every} updates" if every else "before and after"


def _saved(settings: RunSettings) -> str:
    every, facts = settings.loop.checkpoint_every, facts_of(settings.policy.path)
    if not every:
        return "none"
    size = "" if facts is None else f", about {_gib(_checkpoint_bytes(settings) / GIB)} each"
    return f"every {every} updates{size}, the last {settings.loop.checkpoints_kept} kept"


def _checkpoint_bytes(settings: RunSettings) -> float:
    """Weights, and an fp32 copy with Adam's two moments of what is trained, for policy and critic."""
    policy = facts_of(settings.policy.path)
    if policy is None:
        return 0.0
    lora, width = settings.learner.lora, BYTES[settings.policy.dtype]
    changing = policy.parameters if lora is None else policy.adapter_parameters(lora.rank)
    size = policy.parameters * width + 12 * changing
    critic = settings.algorithm.critic
    if critic is not None:
        other = policy if critic.path is None else facts_of(critic.path)
        size += 0 if other is None else other.parameters * (width + 12)
    return float(size)
