"""Serve a reward over HTTP for any trainer: `python -m launch.serve reward=prm`.

It answers the requests of OpenRLHF, TRL, verl, slime, LlamaFactory, NeMo Gym, vLLM and SGLang clients, and a form of
its own with groups, steps, parts and failures (docs/serving.md). Single requests are scored in batches. policy=hf
policy.path=FOLDER names the policy whose chat template is taken off texts that carry it. SIGTERM and Ctrl-C end it once
the requests under way are answered. Exit codes: 0 it was stopped, 1 it failed, 2 it could not start.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn
from rich.console import Console

from launch.command import Command, Composed, say
from launch.replicas import replicated
from rewards.builder import ConfigurationError, build, build_reward, build_root, one_line
from rewards.serving.app import make_app
from rewards.serving.queue import QueueLimits
from rewards.serving.service import Limits, Service
from rewards.serving.texts import Texts
from rl.cluster import stop_cluster
from rl.settings import ClusterSettings, PolicySettings, require

GROUPS = ("reward", "policy", "cluster")


@dataclass(frozen=True)
class ServeSettings:
    """The keys that are not a group's; configs/serve.yaml says what each is for."""

    host: str = "127.0.0.1"
    port: int = 5000
    token_env: str | None = None
    replicas: int = 0
    dialogues: bool = False
    batch_tokens: int = 32768
    batch_wait_ms: float = 5.0
    queue_responses: int = 8192
    queue_tokens: int = 8_388_608
    timeout_s: float = 170.0
    request_responses: int = 1024
    request_tokens: int = 1_048_576
    body_mib: float = 16.0
    held_mib: float = 256.0
    body_s: float = 30.0
    group_size: int | None = None
    hold_s: float = 60.0
    drain_s: int = 60

    def __post_init__(self) -> None:
        require(0 <= self.port < 65536, f"port must be between 0 and 65535, not {self.port}")
        require(self.replicas >= 0, f"replicas must be at least 0, not {self.replicas}")
        require(self.batch_wait_ms >= 0, f"batch_wait_ms must be at least 0, not {self.batch_wait_ms}")
        require(self.drain_s >= 1, f"drain_s must be at least 1, not {self.drain_s}")
        for name in ("batch_tokens", "queue_responses", "queue_tokens", "request_responses", "request_tokens"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("timeout_s", "body_mib", "body_s", "hold_s"):
            require(getattr(self, name) > 0, f"{name} must be above 0, not {getattr(self, name)}")
        require(self.held_mib >= self.body_mib, f"held_mib must be at least body_mib ({self.body_mib:g})")
        require(
            self.token_env is not None or _is_loopback(self.host),
            f"host {self.host} can be reached from other machines: name a variable that holds a token in token_env",
        )
        if self.token_env is not None:
            require(bool(os.environ.get(self.token_env)), f"token_env: the variable {self.token_env} is not set")

    @property
    def token(self) -> str | None:
        """The bearer token."""
        return None if self.token_env is None else os.environ[self.token_env]

    @property
    def limits(self) -> Limits:
        """The service's limits. Raises ValueError for those that contradict each other."""
        return Limits(
            body_bytes=int(self.body_mib * 2**20),
            held_bytes=int(self.held_mib * 2**20),
            responses=self.request_responses,
            tokens=self.request_tokens,
            body_s=self.body_s,
            group_size=self.group_size,
            hold_s=self.hold_s,
            queue=QueueLimits(
                batch_tokens=self.batch_tokens,
                wait_s=self.batch_wait_ms / 1000,
                responses=self.queue_responses,
                tokens=self.queue_tokens,
                timeout_s=self.timeout_s,
            ),
        )


class Serve(Command):
    """One reward to serve. The constructor checks everything and loads no weights.

    Raises ValueError or OSError for a set-up that cannot work.
    """

    name, help = "serve", __doc__

    def __init__(self, composed: Composed) -> None:
        config = composed.config
        self.settings = settings = build_root(ServeSettings, config, GROUPS, "configs/serve.yaml")
        self.limits = settings.limits
        self.node, self.called = config["reward"], composed.choices.get("reward") or "reward"
        self.reward = build_reward(self.node, "reward", f"configs/reward/{self.called}.yaml")
        self.cluster: ClusterSettings = build(config["cluster"], "cluster", "configs/cluster")
        self.texts = _texts(config.get("policy"), settings.dialogues)
        if settings.dialogues and self.texts.tokenizer is None:
            raise ConfigurationError("dialogues=true has no effect: it needs the policy's template (policy=...)")

    def _logged(self) -> int:
        """Serve until a signal. The libraries' warnings go to standard error: a service's log is its output."""
        console = Console()
        try:
            return self.serve(console)
        except (Exception, KeyboardInterrupt) as error:
            say(console, f"error: {one_line(error)}")
            return 1
        finally:
            if self.settings.replicas:
                stop_cluster()

    def run(self, console: Console) -> None:
        """See `serve`."""
        self.serve(console)

    def serve(self, console: Console) -> int:
        """Serve until SIGTERM or Ctrl-C. Returns the exit code. Raises OSError if the port is taken."""
        settings = self.settings
        listening = _listen(settings.host, settings.port)
        reward, load = self.reward, self.reward.load
        if settings.replicas:
            group = replicated(
                self.node, settings.replicas, self.cluster, Path(tempfile.gettempdir()), lambda text: say(console, text)
            )
            reward, load = group, group.wait
            group.compares_responses = self.reward.compares_responses
        faults: list[str] = []

        def failed(reason: str) -> None:
            faults.append(reason)
            server.should_exit = True

        service = Service(reward, self.texts, self.limits, self.called, load=load, failed=failed)
        server = _Server(
            uvicorn.Config(
                make_app(service, settings.token),
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=settings.drain_s,
            ),
            service.drain,
        )
        host, port = listening.getsockname()[:2]
        say(console, f"serving {self.called} on http://{_in_url(host)}:{port} (loading; /ready says when it is ready)")
        server.run(sockets=[listening])
        if faults:
            say(console, f"error: {faults[0]}")
            return 1
        say(console, "stopped: every request under way was answered" if not server.force_exit else "stopped at once")
        return 0


class _Server(uvicorn.Server):
    """A server that tells the service to drain when it is asked to stop, and returns instead of raising the signal."""

    def __init__(self, config: uvicorn.Config, drain: Callable[[], None]) -> None:
        super().__init__(config)
        self._drain = drain

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal drains; Ctrl-C again stops at once."""
        if self.should_exit:
            self.force_exit = self.force_exit or sig == 2
        self.should_exit = True
        asyncio.get_running_loop().call_soon_threadsafe(self._drain)


def _texts(policy: object, dialogues: bool) -> Texts:
    """The reader of texts: with the policy's template if there is one."""
    if policy is None:
        return Texts()
    settings = build(policy, "policy", "configs/policy")  # type: ignore[arg-type]
    if not isinstance(settings, PolicySettings):
        raise ConfigurationError("policy._target_ must be rl.settings.PolicySettings")
    try:
        return Texts(settings.path, options=settings.chat_template_kwargs, dialogues=dialogues)
    except ValueError as error:
        raise ConfigurationError(f"policy: {one_line(error)}") from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise OSError(f"host {host}, port {port}: {error.strerror or error}") from error


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


main = Serve.main

if __name__ == "__main__":
    sys.exit(main())
