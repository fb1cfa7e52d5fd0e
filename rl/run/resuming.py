"""Check, before anything starts, that a run can resume with these settings; list every difference."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from rl.run.origin import still_running
from rl.run_settings import RunSettings
from rl.tasks import FileTask

FREE = (
    "cluster.address",
    "cluster.num_cpus",
    "cluster.gpus_per_learner",
    "cluster.gpus_per_engine",
    "cluster.gpus_per_reward",
    "cluster.timeout_s",
    "logger",
    "checkpoint_every",
    "checkpoints_kept",
    "logprob_gap_fp32",
    "logprob_gap_bf16",
)
"""Settings that a resumed run may change: they control where it runs and what it writes, not what it computes."""

ROUNDING = (
    "cluster.threads",
    "learner.micro_batch_tokens",
    "learner.gradient_checkpointing",
    "reward_replicas",
    "rollout.gpu_memory_utilization",
    "rollout.kv_cache_gib",
    "rollout.max_num_seqs",
)
"""Settings that it may also change, for lack of memory for instance; results are then equal up to rounding only."""


DATA = "data"
"""The key under which `flat` puts the digests of the problems."""


def compare(run: Path, before: Mapping[str, Any], settings: RunSettings) -> list[str]:
    """Refuse settings that would change the results of a resumed run. `before`: its flat settings at the checkpoint.

    Returns notes on changed settings that affect results by rounding only. Raises ValueError that lists every setting
    that must not differ; that includes problems whose files have changed.
    """
    now = flat(settings)
    known = any(_among(key, (DATA,)) for key in before)
    differing = differences(before, now if known else {key: now[key] for key in now if not _among(key, (DATA,))})
    constant = settings.learner.lr_schedule == "constant"
    free = (*FREE, "updates") if constant else FREE  # a decaying learning rate depends on the length of the run
    fatal = [line for key, line in differing.items() if not _among(key, (*free, *ROUNDING))]
    if fatal:
        raise ValueError(
            f"resume: the run in {run} was made with other {_what(fatal)}: {'; '.join(fatal)}"
            f"{_changed(run, settings)}. Use the same, or start a new run (policy.path may be a trained policy)"
        )
    return [
        f"{line}: the numbers are equal up to rounding only" for key, line in differing.items() if _among(key, ROUNDING)
    ]


def _what(differing: Iterable[str]) -> str:
    return "data" if all(line.startswith(DATA) for line in differing) else "settings"


def _changed(run: Path, settings: RunSettings) -> str:
    """The data files that changed since the run began, in words."""
    file = run / "data.json"
    if not isinstance(settings.task, FileTask) or not file.is_file():
        return ""
    changed = settings.task.changed_files(json.loads(file.read_text(encoding="utf-8")))
    return f" (changed: {', '.join(changed)})" if changed else ""


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """Map each key that differs between two flat settings to a line with both values."""
    missing = "not there"
    return {
        key: f"{key} was {before.get(key, missing)}, now {now.get(key, missing)}"
        for key in dict.fromkeys([*before, *now])
        if before.get(key, missing) != now.get(key, missing)
    }


def flat(settings: RunSettings) -> dict[str, Any]:
    """All settings by dotted key, as JSON values. The loop's own keys have no prefix, as in the config.

    Reward and task are compared by their configurations, problems from files by their digests (`data.train`), and an
    algorithm that is not a dataclass by its class only.
    """
    groups = {
        "": settings.loop,
        **{name: getattr(settings, name) for name in ("policy", "rollout", "learner", "cluster", "logger")},
        "algorithm": settings.algorithm,
        "task": settings.task_config or settings.task,
        "reward": settings.reward_config,
        DATA: settings.task.digests() if isinstance(settings.task, FileTask) else {},
    }
    named = {key: value for name, group in groups.items() for key, value in _leaves(group, name)}
    return dict(json.loads(json.dumps(named)))


def refuse_running_or_finished(run: Path, updates: int) -> None:
    """Raise ValueError if status.json says that the run has done `updates` updates, or its process is still running."""
    file = run / "status.json"
    status = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if status.get("state") == "finished" and status.get("updates", 0) >= updates:
        raise ValueError(
            f"resume: the run in {run} has finished its {status['updates']} updates: extend it with updates=..., "
            f"or start a new run from its policy with policy.path={run / 'policy'}"
        )
    process = status.get("process", {})
    if status.get("state") == "running" and process.get("id") != os.getpid() and still_running(process):
        raise ValueError(f"resume: the run in {run} is still running (process {process['id']}): stop it first")


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """The values in nested dataclasses and mappings, by dotted key."""
    if is_dataclass(value) and not isinstance(value, type):
        if key and type(value).__module__ != "rl.settings":
            yield f"{key}._target_", f"{type(value).__module__}.{type(value).__qualname__}"
        value = {name: getattr(value, name) for name in value.__dataclass_fields__ if not name.startswith("_")}
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _leaves(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        yield key, [dict(_leaves(item, "")) if isinstance(item, Mapping) else item for item in value]
    elif value is None or isinstance(value, str | int | float):
        yield key, value
    else:
        yield key, f"{type(value).__module__}.{type(value).__qualname__}"


def _among(key: str, known: tuple[str, ...]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in known)
