"""The metrics: one registry that the composition root makes, and names that operators script against."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from flashd import __version__
from flashd.domain.flow import BackendSnapshot
from flashd.web.channel_metrics import ChannelMetrics
from flashd.web.intake_metrics import IntakeMetrics

_BACKEND_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_SCRIPT_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.0)


class Metrics:
    """Every metric of flashd; labels come from the configuration, never from a stranger."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._oversold_known = 0
        self.channels = ChannelMetrics()
        self.registry.register(self.channels)
        self.intake = IntakeMetrics()
        self.registry.register(self.intake)
        self.oversold = self._counter("oversold_units", "Units promised that were not there, by audits; must stay 0.")
        self.orders = self._gauge("orders", "Orders by the index they stand in.", "pool", "state")
        self.forgotten = self._counter(
            "orders_forgotten", "Orders that were acknowledged and that the store has forgotten; must stay 0.", "pool"
        )
        self._forgotten_known: dict[str, int] = {}
        self.dead_letters = self._gauge("dead_letters", "Orders that were refused for good.", "pool")
        self.queue_depth = self._gauge("backend_queue_depth", "Orders that wait for the backend.", "backend")
        self.queue_age = self._gauge("backend_queue_oldest_age_seconds", "Age of the oldest of them.", "backend")
        self.drain_eta = self._gauge("backend_drain_eta_seconds", "Until the backlog is gone; NaN: never.", "backend")
        self.rate_limit = self._gauge("backend_rate_limit_per_second", "What may leave a second.", "backend")
        self.in_doubt = self._gauge("backend_in_doubt", "Sent, and the outcome is not known.", "backend")
        self.circuit_open = self._gauge("circuit_open", "1 while the backend is away.", "backend")
        self.backend_requests = self._counter("backend_requests", "Items in requests by outcome.", "backend", "outcome")
        self.backend_duration = self._histogram(
            "backend_request_duration_seconds", "How long the backend took.", _BACKEND_BUCKETS, "backend"
        )
        self._requests_of = functools.cache(
            self.backend_requests.labels
        )  # a look for the child costs more than counting
        self._duration_of = functools.cache(self.backend_duration.labels)
        self.script_duration = self._histogram(
            "redis_script_duration_seconds", "Round trip of one script call.", _SCRIPT_BUCKETS, "script"
        )
        self._script_of = functools.cache(self.script_duration.labels)
        self.loop_lag = self._gauge("loop_lag_seconds", "How late 99 of 100 wake-ups of the event loop are at most.")
        self.durability_ok = self._gauge("durability_ok", "1 while an order can be made durable.")
        self.build = self._gauge("build_info", "1, with the version.", "version")
        self.build.labels(version=__version__).set(1)

    def backend_request(self, backend: str, outcomes: Sequence[str], seconds: float) -> None:
        """Count one request to a backend; *outcomes* are the tags of the Outcome or Finding of each item in it."""
        for outcome in outcomes:
            self._requests_of(backend, outcome).inc()
        self._duration_of(backend).observe(seconds)

    def script(self, name: str, seconds: float) -> None:
        """Time one script call."""
        self._script_of(name).observe(seconds)

    def backend_seen(self, snapshot: BackendSnapshot, *, now_ms: int) -> None:
        """Take over how one backend does now."""
        name = snapshot.name
        drain_s = snapshot.drain_s
        self.queue_depth.labels(backend=name).set(snapshot.queued)
        self.queue_age.labels(backend=name).set((now_ms - snapshot.oldest_ms) / 1000 if snapshot.oldest_ms else 0)
        self.drain_eta.labels(backend=name).set(float("nan") if drain_s is None else drain_s)
        self.rate_limit.labels(backend=name).set(snapshot.per_second)
        self.in_doubt.labels(backend=name).set(snapshot.in_doubt)
        self.circuit_open.labels(backend=name).set(snapshot.circuit == "open")

    def audited(self, oversold: int) -> None:
        """Take over how many units an audit found oversold; found again they are not counted again."""
        self.oversold.inc(max(0, oversold - self._oversold_known))
        self._oversold_known = max(oversold, self._oversold_known)

    def orders_seen(self, pool: str, counts: Mapping[str, int]) -> None:
        """Take over how many orders of one pool stand in each index."""
        for state, count in counts.items():
            self.orders.labels(pool=pool, state=state).set(count)
        self.dead_letters.labels(pool=pool).set(counts.get("dead", 0))

    def forgotten_seen(self, pool: str, total: int) -> None:
        """Take over how many acknowledged orders of one pool were found gone since the process began."""
        self.forgotten.labels(pool=pool).inc(total - self._forgotten_known.get(pool, 0))
        self._forgotten_known[pool] = total

    def text(self) -> bytes:
        """Write all of it in the Prometheus text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(name, what, labels, namespace="flashd", registry=self.registry)

    def _gauge(self, name: str, what: str, *labels: str) -> Gauge:
        return Gauge(name, what, labels, namespace="flashd", registry=self.registry)

    def _histogram(self, name: str, what: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, what, labels, namespace="flashd", registry=self.registry, buckets=buckets)
