"""The service's Prometheus metrics. No label holds a text of a request."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from rewards.serving.queue import Batch
from rewards.types import Score

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 180)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """One registry per application, so that two in a process do not count together."""

    def __init__(self, waiting: Callable[[], int], held: Callable[[], int]) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "requests", "Answered requests", ["form", "status"], registry=registry, namespace="rewardloop"
        )
        self.vanished = Counter(
            "vanished", "Clients that left before their answer", registry=registry, namespace="rewardloop"
        )
        self.scores = Counter("scores", "Scores with a value", registry=registry, namespace="rewardloop")
        self.failed = Counter("failed_scores", "Failed scores", registry=registry, namespace="rewardloop")
        self.seconds = Histogram(
            "request_seconds",
            "From a request's arrival to its answer",
            registry=registry,
            namespace="rewardloop",
            buckets=_SECONDS,
        )
        self.waited = Histogram(
            "queue_seconds",
            "How long a request waits for its batch",
            registry=registry,
            namespace="rewardloop",
            buckets=_SECONDS,
        )
        self.batch_seconds = Histogram(
            "batch_seconds", "Time of a batch", registry=registry, namespace="rewardloop", buckets=_SECONDS
        )
        self.batch_responses = Histogram(
            "batch_responses", "Responses of a batch", registry=registry, namespace="rewardloop", buckets=_SIZES
        )
        self.batch_tokens = Counter("tokens", "Estimated tokens scored", registry=registry, namespace="rewardloop")
        for name, what, value in (
            ("waiting", "Responses in the queue", waiting),
            ("held", "Responses held for their groups", held),
        ):
            Gauge(f"{name}_responses", what, registry=registry, namespace="rewardloop").set_function(value)

    def batch(self, batch: Batch) -> None:
        """Count a batch."""
        self.batch_seconds.observe(batch.seconds)
        self.batch_responses.observe(batch.responses)
        self.batch_tokens.inc(batch.tokens)
        for seconds in batch.waited:
            self.waited.observe(seconds)

    def scored(self, scores: Sequence[Score]) -> None:
        """Count the scores of a request."""
        good = sum(score.ok for score in scores)
        self.scores.inc(good)
        self.failed.inc(len(scores) - good)

    def text(self) -> bytes:
        """The metrics in Prometheus's text format."""
        return generate_latest(self.registry)
