"""
The clock of one pool's sales: what happens at the beginning and the end of a window, beside what the scripts decide.

No order waits for it: a window opens and ends inside the scripts. It says so, makes figures be looked at, and moves
prices; any of it may be late without harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import structlog

from flashd.actors.leadership import Election, Leadership
from flashd.actors.price_keeper import PriceKeeper
from flashd.domain.backoff import outage_delay_s
from flashd.domain.instant import to_ms
from flashd.domain.sale import SaleRecord, SaleState, next_boundary_ms
from flashd.errors import ChannelUnavailable, StoreUnavailable
from flashd.ports import Announcer, ChannelApi, Clock, Listings, PriceBook, Sales
from flashd.runtime.actor import Actor
from flashd.runtime.deadline import any_of

POLL_S = 1.0  # another process may have changed a sale
IDLE_S = 0.25  # while another leads
STORE_PAUSE_S = 0.5

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class SaleBooks:
    """What the store keeps of one pool's sales."""

    sales: Sales
    prices: PriceBook
    listings: Listings


async def _at_once(_channel: str) -> None:
    pass


class SaleClock(Actor[None]):
    """
    Looks after the windows and prices of one pool while it leads.

    Args:
        books: Those of the pool.
        apis: The channels of the pool that have an API of their own; those without prices are left alone.
        election: One process of all does it.
        ready_to_send: Waits until a request may leave to that channel.
    """

    def __init__(
        self,
        books: SaleBooks,
        apis: Mapping[str, ChannelApi],
        election: Election,
        *,
        clock: Clock,
        announcer: Announcer,
        ready_to_send: Callable[[str], Awaitable[None]] = _at_once,
    ) -> None:
        super().__init__(f"sale clock:{books.sales.pool}", clock=clock, mailbox_size=8)
        self.keepers = {
            name: PriceKeeper(
                name,
                api,
                books.prices,
                books.listings,
                may_write=lambda: self._leadership.term is not None,
                ready=partial(ready_to_send, name),
                announce=self._announce,
            )
            for name, api in apis.items()
            if api.traits.prices
        }
        self._sales = books.sales
        self._announcer = announcer
        self._leadership = Leadership(
            election.gate,
            election.owner,
            clock=clock,
            lease_s=lambda: election.lease_s,
            prepare=self._begin_term,
            what="sale_clock",
        )
        self._stir = asyncio.Event()
        self._work = {name: asyncio.Event() for name in self.keepers}
        self._known: object = None
        self._said: set[tuple[str, int, str]] = set()

    # ------------------------------------------------------------------------------------------------------ its life

    async def on_start(self) -> None:
        """Stand for election, watch the windows, keep each channel's prices."""
        self.spawn(self._leadership.run(), name="lead")
        self.spawn(self._watch(), name="watch")
        for keeper in self.keepers.values():
            self.spawn(self._keep(keeper), name=f"prices of {keeper.channel}")

    async def receive(self, message: None) -> None:
        """Take no message: there is none."""

    def wake(self) -> None:
        """Say that a sale was changed; never waits."""
        self._stir.set()

    async def on_stop(self) -> None:
        """Let another lead at once; prices under way are found by the next leader as they stand."""
        await self.end_children()
        await self._leadership.leave()

    async def _begin_term(self, _epoch: int) -> None:
        self._said.clear()
        self._known = None

    # --------------------------------------------------------------------------------------------------- the windows

    async def _watch(self) -> None:
        while True:
            self._stir.clear()
            try:
                wait_s = await self._round()
            except StoreUnavailable as error:
                log.warning("sales.not_watched", pool=self._sales.pool, reason=str(error))
                wait_s = STORE_PAUSE_S
            await self._nap(self._stir, wait_s)

    async def _round(self) -> float:
        """Say what begins or is over, hand changes to the prices; return when to look again."""
        if self._leadership.term is None:
            return IDLE_S
        records, now_ms = await self._sales.all(), await self._sales.clock_ms()
        for record in records:
            await self._say(record, now_ms)
        known = [(one.sale.name, one.version, one.state, _window(one, now_ms)) for one in records]
        if known != self._known:
            self._known = known
            for event in self._work.values():
                event.set()
        boundary_ms = next_boundary_ms(records, now_ms)
        return POLL_S if boundary_ms is None else min(POLL_S, (boundary_ms - now_ms) / 1000)

    async def _say(self, record: SaleRecord, now_ms: int) -> None:
        if record.state is SaleState.ENDED:
            return
        name, window = record.sale.name, _window(record, now_ms)
        if window == "opened" and record.state is SaleState.STOPPED:
            return
        if window is not None and (name, record.version, window) not in self._said:
            if await self._sales.boundary(record, window):
                log.info("sale.boundary_said", sale=name, pool=self._sales.pool, what=window, version=record.version)
            self._said.add((name, record.version, window))

    # ---------------------------------------------------------------------------------------------------- the prices

    async def _keep(self, keeper: PriceKeeper) -> None:
        outages, again_s = 0, 0.0
        work = self._work[keeper.channel]
        while True:
            if again_s:
                await self._nap(work, again_s)
            else:
                await work.wait()
            work.clear()
            again_s = 0.0
            if self._leadership.term is None:
                again_s = IDLE_S
                continue
            try:
                right = await keeper.look(await self._sales.all(), await self._sales.clock_ms())
            except (ChannelUnavailable, StoreUnavailable) as error:
                log.warning("prices.not_kept", channel=keeper.channel, reason=str(error))
                right = False
            outages = 0 if right else outages + 1
            again_s = 0.0 if right else outage_delay_s(outages)

    async def _nap(self, event: asyncio.Event, seconds: float) -> None:
        sleeper = asyncio.ensure_future(event.wait())
        try:
            await any_of([sleeper], seconds, clock=self.clock)
        finally:
            sleeper.cancel()

    async def _announce(self, kind: str, data: dict[str, object]) -> None:
        try:
            await self._announcer.announce(self._sales.pool, kind, data)
        except StoreUnavailable as error:
            log.warning("event.not_announced", kind=kind, reason=str(error))


def _window(record: SaleRecord, now_ms: int) -> Literal["opened", "over"] | None:
    if now_ms < to_ms(record.sale.start):
        return None
    return "opened" if now_ms < to_ms(record.sale.end) else "over"
