"""Start and stop Ray, set actors' resources and environment, and make remote calls with one-line errors.

Every actor logs to `<log_folder>/<actor name>.log`, so the output of vLLM, DeepSpeed and Ray stays out of the terminal.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import ray
from ray.exceptions import RayActorError, RayTaskError

from rl.run.stopping import install_sigterm_handler
from rl.settings import ClusterSettings, require

Role = Literal["learner", "engine", "reward"]

CPU_SHARE = 0.05
"""CPUs each actor reserves. Tiny, because the actors take turns and all must fit on a machine with two cores."""

_LONGEST_TEMP_DIR = 30
"""Ray adds about 75 characters for its sockets, and a Unix socket's path is limited to 107."""


def start_cluster(settings: ClusterSettings, log_folder: Path) -> None:
    """Start Ray on this machine, or join the cluster at `settings.address`. Does nothing if Ray is already running.

    Raises RuntimeError if Ray does not start.
    """
    log_folder.mkdir(parents=True, exist_ok=True)
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray otherwise warns at every start that it will stop hiding GPUs from actors that ask for none.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if settings.address:
            ray.init(address=settings.address, **quiet)
        else:
            ray.init(
                address="local",
                num_cpus=settings.num_cpus,
                include_dashboard=False,
                _temp_dir=_short_temp_dir(),
                **quiet,
            )
    except Exception as error:
        where = f"join the cluster at {settings.address}" if settings.address else "start on this machine"
        raise RuntimeError(f"Ray did not {where}: {_first_line(error)}") from error
    install_sigterm_handler()  # replaces Ray's handler, which ends the process without a message


def stop_cluster() -> None:
    """Stop the Ray that `start_cluster` started, or leave the cluster it joined."""
    if ray.is_initialized():
        ray.shutdown()


def actor_options(
    settings: ClusterSettings, role: Role, *, actors: int, kv_cache_gib: int = 1, model_path: str = ""
) -> dict[str, Any]:
    """Arguments of `Actor.options(...)` for one of `actors` actors of this role: CPUs, GPUs, environment variables.

    On CPU the environment limits each actor to its threads, which sleep while waiting, and disables torch.compile (40 s
    for vLLM's sampler alone).
    """
    gpus = {
        "learner": settings.gpus_per_learner,
        "engine": settings.gpus_per_engine,
        "reward": settings.gpus_per_reward,
    }
    variables = environment(settings, actors=actors, kv_cache_gib=kv_cache_gib, model_path=model_path)
    return {
        "num_cpus": CPU_SHARE,
        "num_gpus": gpus[role] if settings.device == "cuda" else 0,
        "max_restarts": 0,
        "runtime_env": {"env_vars": variables},
    }


def environment(
    settings: ClusterSettings, *, actors: int = 1, kv_cache_gib: int = 1, model_path: str = ""
) -> dict[str, str]:
    """The environment variables of one of `actors` actors of a kind.

    VLLM_ENABLE_V1_MULTIPROCESSING=0 is needed on GPUs too: weights reach the engine as Ray objects, which only the Ray
    actor's own process can read.
    """
    source = Path(__file__).resolve().parents[1]
    variables = {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(source), os.environ.get("PYTHONPATH", "")])),
        "TOKENIZERS_PARALLELISM": "false",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_DO_NOT_TRACK": "1",
        "PYTHONUNBUFFERED": "1",
    }
    if model_path and Path(model_path).is_dir():
        variables |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    if settings.device == "cpu":
        variables |= {
            "OMP_NUM_THREADS": str(settings.threads_of(actors)),
            "OMP_WAIT_POLICY": "PASSIVE",
            "GOMP_SPINCOUNT": "0",
            "TORCHDYNAMO_DISABLE": "1",
            "VLLM_CPU_KVCACHE_SPACE": str(kv_cache_gib),
            "DS_ACCELERATOR": "cpu",
            "CUDA_VISIBLE_DEVICES": "",
        }
    return variables


def check_placement(settings: ClusterSettings, *, ranks: int) -> None:
    """Refuse a placement on which NCCL would hang: two learner ranks on one GPU. Raises ValueError."""
    require(
        settings.threads is None or settings.threads >= 1,
        f"cluster.threads must be at least 1, not {settings.threads}; null shares the processors out",
    )
    if settings.device == "cuda" and ranks > 1:
        require(
            settings.gpus_per_learner > 0.5,
            f"cluster.gpus_per_learner is {settings.gpus_per_learner}: two of the {ranks} learner ranks could share a "
            "GPU, which NCCL refuses; set it above 0.5",
        )


def redirect_output(log_folder: Path, name: str) -> None:
    """Send this process's standard output and error, C libraries included, to `<log_folder>/<name>.log`."""
    log_folder.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    descriptor = os.open(log_folder / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def free_address() -> tuple[str, int]:
    """This node's IP address and a free port, for torch.distributed's rendezvous."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return ray.util.get_node_ip_address(), int(probe.getsockname()[1])


def call(refs: Sequence[Any], timeout: float, what: str, *, names: Sequence[str], log_folder: Path) -> list[Any]:
    """Return the results of several remote calls, in order.

    `what` names the work ("sampling"), `names` the actor of each call, as in `redirect_output`. Raises as soon as one
    call fails, even if others still wait for the lost actor. Raises RuntimeError if an actor died, if the calls
    together took longer than `timeout` seconds, or for an actor's own error (kept in `error.__cause__.cause`); an
    actor's ValueError or FileNotFoundError keeps its type.
    """
    owner = dict(zip(refs, names, strict=True))
    waiting = list(refs)
    deadline = time.monotonic() + timeout
    while waiting:
        ready, waiting = ray.wait(waiting, num_returns=1, timeout=max(0.0, deadline - time.monotonic()))
        if not ready:
            late = ", ".join(owner[ref] for ref in waiting)
            raise RuntimeError(
                f"{what}: no answer from {late} within cluster.timeout_s = {timeout:g} s; raise it or make the batch "
                f"smaller (logs in {log_folder})"
            )
        _raise_if_failed(ready[0], what, owner[ready[0]], log_folder)
    return list(ray.get(list(refs)))


def _raise_if_failed(ref: Any, what: str, name: str, log_folder: Path) -> None:
    log = f"see {log_folder / name}.log"
    try:
        ray.get(ref)
    except RayTaskError as error:
        cause = error.cause
        line = _first_line(cause)
        for kind in (ValueError, FileNotFoundError):
            if isinstance(cause, kind):
                raise kind(f"{what}: {line}") from error
        reason = line if type(cause) is RuntimeError else f"{type(cause).__name__}: {line}"
        raise RuntimeError(f"{what}: {reason} ({name}; {log})") from error
    except RayActorError as error:
        raise RuntimeError(f"{what}: the process of {name} died, killed or out of memory; {log}") from error


def end(actors: Sequence[Any]) -> None:
    """Kill these actors; it is fine if some are already dead."""
    for actor in actors:
        ray.kill(actor)


def _short_temp_dir() -> str | None:
    """A folder for Ray's sockets if the path of the default one is too long, else None."""
    default = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    if len(default) <= _LONGEST_TEMP_DIR:
        return None
    return f"/tmp/ray-{os.getuid()}"


def _first_line(error: object) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
