"""Looking at what no event tells: orders long in doubt, what a running sale cannot show, alerts that are over."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from flashd.domain.alarm import End, Raise, Signal
from flashd.domain.alert import MANY, AlertKind, Standing
from flashd.domain.condition import BY_BACKEND, ENDS_WITHOUT, figures, in_doubt, is_covered
from flashd.domain.flow import BackendSnapshot, ChannelFlow, PollFlow
from flashd.domain.instant import to_ms
from flashd.domain.order import OrderState
from flashd.domain.sale import SaleState
from flashd.ports import AlertBook, Clock, Listings, OrderBook, Sales, Skimmer, StockLedger

QUIET_MS = 86_400_000  # what has no other end is over after a day without news
SETTLED_MS = 120_000  # an answering channel proves nothing about an alert younger than this
DOUBTFUL_AT_MOST = 500  # orders in doubt that are looked at

_OF_BACKENDS = frozenset({AlertKind.BACKEND_AWAY, AlertKind.BACKEND_PAUSED})
_QUIET_ENDS = frozenset({AlertKind.EVENTS_MISSED, AlertKind.PRICE, AlertKind.TEST})


@dataclass(frozen=True, kw_only=True)
class PoolSources:
    """One pool, as far as alerts are made of it."""

    feed: Skimmer
    book: AlertBook
    orders: OrderBook
    ledger: StockLedger
    listings: Listings
    sales: Sales

    @property
    def pool(self) -> str:
        """Its name."""
        return self.book.pool


@dataclass(frozen=True, kw_only=True)
class Flow:
    """How this process sees one channel with an API of its own."""

    pool: str
    figures: ChannelFlow
    polls: PollFlow | None = None


@dataclass(frozen=True, kw_only=True)
class Sights:
    """What this process sees of both sides by itself; asking costs no I/O."""

    flows: Callable[[], Sequence[Flow]] = lambda: ()
    backends: Callable[[], Sequence[BackendSnapshot]] = lambda: ()


class Lookout:
    """Asks the store and the actors of this process; changes nothing."""

    def __init__(self, sights: Sights, *, clock: Clock, in_doubt_ms: Callable[[], int]) -> None:
        self._sights = sights
        self._clock = clock
        self._in_doubt_ms = in_doubt_ms

    async def look(self, pool: PoolSources, standing: Collection[Standing]) -> list[Signal]:
        """
        Return what is wrong in one pool now, and which of its standing alerts are over.

        Raises:
            StoreUnavailable: Look again.
        """
        now_ms = self._clock.now_ms()
        records = await pool.orders.page([OrderState.IN_DOUBT], limit=DOUBTFUL_AT_MOST)
        doubted = [one.alert.subject for one in standing if one.alert.kind is AlertKind.IN_DOUBT]
        found = in_doubt(records, doubted, now_ms=now_ms, after_ms=self._in_doubt_ms())
        found += await self._figures(pool)
        found += self._answers(standing)
        for one in standing:
            if one.is_open and await self._is_over(pool, one, now_ms):
                found.append(End(one.alert.kind, one.alert.subject))
        return found

    async def _on_sale(self, pool: PoolSources) -> dict[str, tuple[str, ...]]:
        """Return the SKUs of running sales, with the channels that sell them; () is all."""
        now_ms = await pool.sales.clock_ms()
        return {
            product.sku: record.sale.channels
            for record in await pool.sales.all()
            if record.state is SaleState.READY and to_ms(record.sale.start) <= now_ms < to_ms(record.sale.end)
            for product in record.sale.products
        }

    async def _figures(self, pool: PoolSources) -> list[Signal]:
        """
        Return what channels with an API of their own do not show of running sales.

        Who is mapped, the store knows. What a platform refused, only the process knows that publishes to it.
        """
        found: list[Signal] = []
        on_sale = await self._on_sale(pool)
        for flow in self._sights.flows():
            seen = flow.figures
            if flow.pool != pool.pool or seen.mode == "none":
                continue
            skus = {sku for sku, channels in on_sale.items() if not channels or seen.name in channels}
            mapped = await pool.listings.entries(seen.name, sorted(skus)) if skus else {}
            signals = figures(seen.name, gaps=skus - mapped.keys(), refused=seen.refused, on_sale=skus)
            blind = bool(skus) and not seen.leading
            found += [one for one in signals if not (blind and _kind_of(one) is AlertKind.REFUSED_FIGURE)]
        return found

    def _answers(self, standing: Collection[Standing]) -> Iterable[Signal]:
        """End what was told by a process that is gone, and that its own eyes would see to be over."""
        flows = {flow.figures.name: flow for flow in self._sights.flows() if flow.figures.leading}
        backends = self._sights.backends()
        leading = {one.name: one for one in backends if one.leading}
        removed = {one.alert.subject for one in standing} - {one.name for one in backends}
        for one in standing:
            kind, name = one.alert.kind, one.alert.subject
            if kind in _OF_BACKENDS and backends and name in removed:
                yield End(kind, name)  # it left the configuration
                continue
            flow, backend = flows.get(name), leading.get(name)
            old = one.is_open and self._clock.now_ms() - one.last_ms >= SETTLED_MS
            if kind is AlertKind.BACKEND_AWAY and backend is not None:
                if backend.circuit == "closed" and backend.last_answer_ms > one.last_ms:
                    yield End(kind, name)
            elif kind is AlertKind.CHANNEL_AWAY and flow is not None and old:
                if not flow.figures.away and flow.figures.calls:
                    yield End(kind, name)
            elif kind is AlertKind.WEBHOOKS_SILENT and flow is not None and old and _webhooks_come(flow, one.last_ms):
                yield End(kind, name)

    async def _is_over(self, pool: PoolSources, one: Standing, now_ms: int) -> bool:
        kind, subject = one.alert.kind, one.alert.subject
        if subject == MANY or kind in _QUIET_ENDS:
            return now_ms - one.last_ms >= QUIET_MS
        if kind in ENDS_WITHOUT:
            backend = subject if kind in BY_BACKEND else ""
            return not await pool.orders.page([ENDS_WITHOUT[kind]], backend=backend, limit=1)
        if kind is AlertKind.QUARANTINED:
            return not await pool.orders.quarantined(limit=1)
        if kind is AlertKind.DEFICIT:
            return is_covered(await pool.ledger.levels([subject]))
        if kind is AlertKind.OVEREXPOSED:
            skus = [str(sku) for sku in one.alert.facts.get("skus", ())]
            return now_ms - one.last_ms >= SETTLED_MS and (not skus or is_covered(await pool.ledger.levels(skus)))
        return False


def _kind_of(signal: Signal) -> AlertKind:
    return signal.alert.kind if isinstance(signal, Raise) else signal.kind


def _webhooks_come(flow: Flow, since_ms: int) -> bool:
    polls = flow.polls
    return polls is not None and not polls.silent and polls.last_poll_ms >= since_ms + SETTLED_MS
