"""The metrics of sales channels, taken from the actors' own snapshots when somebody asks: none is kept twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from flashd.domain.flow import ChannelFlow, Lag, PollFlow
from flashd.domain.pace import LAG_BUCKETS_S

Flows = Mapping[str, tuple[ChannelFlow, PollFlow | None]]

_GAUGES: Sequence[tuple[str, str, Callable[[ChannelFlow], float]]] = (
    ("dirty", "SKUs whose figure must be looked at.", lambda flow: flow.dirty),
    ("in_doubt", "Figures that were written, and the outcome is not known.", lambda flow: flow.in_doubt),
    ("settling", "Figures whose exposure is exact once all orders before them were seen.", lambda flow: flow.settling),
    ("leading", "1 in the process that publishes to the channel and polls it.", lambda flow: flow.leading),
    ("away", "1 while the channel's own API does not answer.", lambda flow: flow.away),
    ("gaps", "SKUs of the pool that changed and are not in the channel's map.", lambda flow: len(flow.gaps)),
    ("refused", "SKUs whose figure the platform did not take.", lambda flow: len(flow.refused)),
)


class ChannelMetrics(Collector):
    """
    All that is told of channels with an API of their own.

    Attributes:
        flows: Asked at each scrape; costs no I/O.
        exposed: Units that each channel may have sold unseen or may still sell, by channel, as last read.
        twice: Units that could be sold twice, by pool, as last read.
    """

    def __init__(self) -> None:
        self.flows: Callable[[], Flows] = dict
        self.exposed: dict[str, int] = {}
        self.twice: dict[str, int] = {}

    def collect(self) -> Iterator[Metric]:
        """Hand out every metric."""
        flows = self.flows()
        yield from _lags(flows)
        for name, what, value in _GAUGES:
            yield _gauge(f"channel_{name}", what, {each: float(value(flow)) for each, (flow, _) in flows.items()})
        budgets = {each: float(flow.revisions_left) for each, (flow, _) in flows.items() if flow.revisions_left >= 0}
        what = "Revisions left today of the listing that used most; none where there is no budget."
        yield _gauge("channel_push_budget_remaining", what, budgets)
        yield _counter("channel_calls", "Requests to the channel's own API.", _of_flows(flows, lambda flow: flow.calls))
        what = "Figures that were applied."
        yield _counter("channel_figures_written", what, _of_flows(flows, lambda flow: flow.written))
        yield from _polls(flows)
        what = "Units that the channel may have sold unseen or may still sell; kits count as their components."
        yield _gauge("exposure_units", what, self.exposed)
        what = "Units that could be sold twice, were all sold at once that mirror channels show."
        yield _gauge("could_sell_twice_units", what, self.twice, label="pool")


def _of_flows(flows: Flows, value: Callable[[ChannelFlow], float]) -> dict[str, float]:
    return {each: value(flow) for each, (flow, _) in flows.items()}


def _lags(flows: Flows) -> Iterator[Metric]:
    lag = HistogramMetricFamily(
        "flashd_channel_push_lag_seconds", "From a change of stock to the platform.", labels=["channel"]
    )
    zero = HistogramMetricFamily(
        "flashd_channel_zero_lag_seconds",
        "The same, of figures that became zero or more than zero.",
        labels=["channel"],
    )
    for name, (flow, _) in flows.items():
        lag.add_metric([name], list(_buckets(flow.lag)), flow.lag.sum_s)
        zero.add_metric([name], list(_buckets(flow.zero_lag)), flow.zero_lag.sum_s)
    yield lag
    yield zero


def _buckets(lag: Lag) -> Iterable[tuple[str, float]]:
    """Hand out the upper bound of each bucket and what lies below it, as Prometheus counts."""
    total = 0.0
    for bound, count in zip((*map(str, LAG_BUCKETS_S), "+Inf"), lag.buckets or [0] * 99, strict=False):
        total += count
        yield bound, total


def _polls(flows: Flows) -> Iterator[Metric]:
    polled = {name: poll for name, (_, poll) in flows.items() if poll is not None}
    yield _counter("channel_polls", "Polls of the channel's orders.", {name: one.polls for name, one in polled.items()})
    missed = {name: float(one.missed) for name, one in polled.items()}
    yield _counter("channel_orders_missed", "Orders that a poll found and no webhook had told of.", missed)
    what = "Platform's clock up to which every order was seen."
    seen = {name: one.seen_ms / 1000 for name, one in polled.items()}
    yield _gauge("channel_orders_seen_timestamp_seconds", what, seen)
    silent = {name: float(bool(one.silent)) for name, one in polled.items()}
    yield _gauge("channel_webhooks_silent", "1 while the channel's webhooks are taken for dead.", silent)


def _gauge(name: str, what: str, values: Mapping[str, float], *, label: str = "channel") -> Metric:
    family = GaugeMetricFamily(f"flashd_{name}", what, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _counter(name: str, what: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(f"flashd_{name}", what, labels=["channel"])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
