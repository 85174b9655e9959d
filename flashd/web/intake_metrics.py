"""
The metrics of intake: plain counts that grow with each request, and become metrics when somebody asks.

A labelled counter, a gauge and a histogram of the client library take 7 us a request, in locks and checks that one
event loop does not need; these take one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

_ACK_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_PROVEN = frozenset({"accepted", "duplicate", "quarantined", "demanded", "unrelated"})


class IntakeMetrics(Collector):
    """Webhooks and holds by what became of them, and how long a webhook's answer took."""

    def __init__(self) -> None:
        self._webhooks: Counter[tuple[str, str]] = Counter()
        self._last_event_ms: dict[str, int] = {}
        self._reservations: Counter[str] = Counter()
        self._acks = [0] * (len(_ACK_BUCKETS_S) + 1)
        self._ack_sum_s = 0.0

    def webhooks(self, count: int, channel: str, result: str, seconds: float, *, now_ms: int) -> None:
        """Count webhooks that ended alike; *channel* is a configured name or "unknown"."""
        self._webhooks[channel, result] += count
        self._acks[bisect_left(_ACK_BUCKETS_S, seconds)] += count
        self._ack_sum_s += seconds * count
        if result in _PROVEN:
            self._last_event_ms[channel] = now_ms

    def reservation(self, result: str) -> None:
        """Count one wish to hold."""
        self._reservations[result] += 1

    def collect(self) -> Iterator[Metric]:
        """Hand out every metric."""
        what = "Webhooks by what became of them."
        webhooks = CounterMetricFamily("flashd_webhooks_received", what, labels=("channel", "result"))
        for (channel, result), count in self._webhooks.items():
            webhooks.add_metric((channel, result), count)
        yield webhooks
        buckets, total = [], 0
        for limit, count in zip((*map(str, _ACK_BUCKETS_S), "+Inf"), self._acks, strict=True):
            total += count
            buckets.append((limit, total))
        what = "From the whole request to the answer."
        yield HistogramMetricFamily("flashd_webhook_ack_duration_seconds", what, buckets, self._ack_sum_s)
        last = GaugeMetricFamily(
            "flashd_channel_last_event_timestamp_seconds", "Last proven webhook.", labels=("channel",)
        )
        for channel, at_ms in self._last_event_ms.items():
            last.add_metric((channel,), at_ms / 1000)
        yield last
        what = "Wishes to hold by what became of them."
        reservations = CounterMetricFamily("flashd_reservations", what, labels=("result",))
        for result, count in self._reservations.items():
            reservations.add_metric((result,), count)
        yield reservations
