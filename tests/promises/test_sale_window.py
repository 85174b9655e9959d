"""
A sale's window is half open and decided to the millisecond, by the clock of the store and by no other.

The servers run under libfaketime: their clock is an hour or a week off ours, and ours does not matter.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from flashd.domain.event import Event
from flashd.domain.order import Line
from flashd.domain.reservation import HoldCode, HoldReply, HoldRequest
from flashd.domain.sale import Sale, SaleProduct
from flashd.domain.stock import StockLevel
from flashd.store.feed import RedisFeed
from flashd.store.ledger import RedisLedger
from flashd.store.sales import RedisSales
from tests.faketime import shifted
from tests.servers import KINDS, Server

TTL_MS = 600_000
OPEN_MS, BUYERS = 500, 8


@dataclass
class Attempt:
    """One hold: what was answered, and between which two instants of the server's clock."""

    reply: HoldReply
    after_ms: int
    before_ms: int

    @property
    def at_ms(self) -> int:
        """The server's instant at which it was taken."""
        return self.reply.expires_ms - TTL_MS


class Counter:
    """One pool of a server: its sales, and buyers before it."""

    def __init__(self, client: Redis) -> None:
        self.client: Any = client
        self.sales = RedisSales(client, "main")
        self.ledger = RedisLedger(client, "main")

    async def now_ms(self) -> int:
        return await self.sales.clock_ms()

    async def open_sale(self, start_ms: int, end_ms: int, name: str = "friday") -> None:
        start, end = (datetime.fromtimestamp(ms / 1000, UTC) for ms in (start_ms, end_ms))
        await self.sales.put(Sale(name=name, start=start, end=end, products=(SaleProduct(sku="TEE"),)), by="ann")

    async def hold(self, hold_id: str) -> HoldReply:
        request = HoldRequest(id=hold_id, lines=(Line("TEE", 1),), ttl_ms=TTL_MS, digest=hold_id)
        return (await self.ledger.hold([request]))[0]

    async def buy_until(self, past_ms: int, buyer: int) -> list[Attempt]:
        """Ask for holds, one after the other, until the server's clock is past that instant."""
        attempts: list[Attempt] = []
        after_ms = await self.now_ms()
        while after_ms < past_ms:
            reply = await self.hold(f"{buyer}-{len(attempts)}")
            before_ms = await self.now_ms()
            attempts.append(Attempt(reply, after_ms, before_ms))
            after_ms = before_ms
        return attempts

    async def rush(self, open_ms: int) -> tuple[int, list[Attempt]]:
        """
        Open a sale soon and for so long; return its start, and what all buyers came to from now until it was over.

        Whoever came to nothing before, in or after the window, for the machine stood still just then, begins anew.
        """
        while True:
            await self.client.flushall()
            await self.ledger.recount(StockLevel(sku="TEE", on_hand=1_000_000))
            start_ms = await self.now_ms() + 200
            end_ms = start_ms + open_ms
            await self.open_sale(start_ms, end_ms)
            rounds = await asyncio.gather(*(self.buy_until(end_ms + 100, buyer) for buyer in range(BUYERS)))
            attempts = [attempt for found in rounds for attempt in found]
            whole = (
                any(one.before_ms <= start_ms for one in attempts),
                any(start_ms <= one.after_ms and one.before_ms < end_ms for one in attempts),
                any(one.after_ms >= end_ms for one in attempts),
            )
            if all(whole):
                return start_ms, attempts


async def connect(server: Server) -> AsyncIterator[Counter]:
    pool = BlockingConnectionPool.from_url(server.url, max_connections=BUYERS + 2)
    client = Redis(connection_pool=pool, retry=Retry(NoBackoff(), 0))
    counter = Counter(client)
    await counter.ledger.recount(StockLevel(sku="TEE", on_hand=1_000_000))
    yield counter
    await client.aclose()
    await pool.disconnect()


@pytest.fixture(params=[(kind, shift) for kind in KINDS for shift in ("+3600.137", "-604800.5")], ids=str)
def off_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    server = shifted(*request.param)
    yield server
    server.close()


@pytest.fixture
async def off(off_server: Server) -> AsyncIterator[Counter]:
    async for counter in connect(off_server):
        yield counter


@pytest.fixture(params=KINDS)
def still_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    server = shifted(request.param, "2026-11-27 08:00:00")
    yield server
    server.close()


@pytest.fixture
async def still(still_server: Server) -> AsyncIterator[Counter]:
    async for counter in connect(still_server):
        yield counter


NOON_MS = round(datetime(2026, 11, 27, 8, tzinfo=UTC).timestamp() * 1000)  # at which it stands still


@pytest.mark.parametrize(
    ("start", "end", "code"),
    [
        (0, 1, HoldCode.HELD),  # the first instant of a window is inside
        (1, 1000, HoldCode.CLOSED),  # a millisecond early
        (-1000, 1, HoldCode.HELD),  # the last millisecond
        (-1000, 0, HoldCode.CLOSED),  # the end is outside
    ],
)
async def test_the_window_is_half_open_to_the_millisecond(still: Counter, start: int, end: int, code: HoldCode) -> None:
    assert await still.now_ms() == NOON_MS
    await still.open_sale(NOON_MS + start, NOON_MS + end)
    reply = await still.hold("a")
    assert reply.code is code
    if code is HoldCode.CLOSED:
        assert (reply.sale, reply.start_ms, reply.end_ms) == ("friday", NOON_MS + start, NOON_MS + end)


async def test_buyers_who_never_cease_get_in_exactly_while_the_window_is_open(off: Counter) -> None:
    now_ms = await off.now_ms()
    assert abs(now_ms - time.time() * 1000) > 3_500_000  # the server's clock is an hour off ours
    start_ms, attempts = await off.rush(OPEN_MS)
    end_ms = start_ms + OPEN_MS
    taken = sorted((one for one in attempts if one.reply.code is HoldCode.HELD), key=lambda one: one.at_ms)
    closed = [one for one in attempts if one.reply.code is HoldCode.CLOSED]
    assert len(taken) + len(closed) == len(attempts)
    assert all(one.after_ms <= one.at_ms <= one.before_ms for one in taken)  # what is compared is the server's clock
    print(
        f"{len(attempts)} holds by {BUYERS} buyers: {len(taken)} taken, the first {taken[0].at_ms - start_ms} ms after"
        f" the start, the last {end_ms - taken[-1].at_ms} ms before the end; none of {len(closed)} outside"
    )
    assert start_ms <= taken[0].at_ms
    assert taken[-1].at_ms < end_ms
    assert not [one for one in closed if start_ms <= one.after_ms and one.before_ms < end_ms]
    assert any(one.before_ms <= start_ms for one in closed)
    assert any(one.after_ms >= end_ms for one in closed)


async def test_the_journal_tells_of_no_hold_outside_the_window(off: Counter) -> None:
    start_ms, _ = await off.rush(150)
    feed, after, held = RedisFeed(off.client, off.client, "main"), "0", []
    while page := await feed.read(after):
        held += [event for event in page if isinstance(event, Event) and event.kind == "hold.held"]
        after = getattr(page[-1], "id", after)
    assert held
    # By when they were decided: the entry's id is made after that, on Redis 7.0 by a clock that went on meanwhile.
    assert all(start_ms <= event.data["expires_ms"] - TTL_MS < start_ms + 150 for event in held)
    assert all(event.data["expires_ms"] - TTL_MS <= event.at_ms for event in held)
