"""Two processes publish to one channel over the real scripts, and one of them stops for a while at the worst moment."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from flashd.domain.listing import Begin, Begun, Listing, ListingState
from flashd.domain.stock import StockLevel
from flashd.domain.terms import SellingTerms
from flashd.ports import FigureWrite, FigureWritten
from flashd.store.audit import audit
from flashd.store.listings import RedisListings
from tests.actors.test_publisher_on_redis import Floor
from tests.fakes.channel_api import FakeChannelApi, entry

LEASE_S = 0.4


class Sleeper(RedisListings):
    """The process falls asleep after a write was begun, before it knows."""

    begun: asyncio.Event
    wake: asyncio.Event
    asleep = False

    async def begin(self, channel: str, begins: Sequence[Begin]) -> list[Begun]:
        found = await super().begin(channel, begins)
        if self.asleep:
            self.begun.set()
            await self.wake.wait()
        return found


class SleepyApi(FakeChannelApi):
    """The process falls asleep with the request on its lips: it goes out when it wakes."""

    begun: asyncio.Event
    wake: asyncio.Event
    asleep = False

    async def write(self, writes: Sequence[FigureWrite]) -> list[FigureWritten]:
        if self.asleep:
            self.asleep = False
            self.begun.set()
            await self.wake.wait()
        return await super().write(writes)


async def row_of(floor: Floor, name: str) -> Listing:
    [row] = await floor.listings.get(name, ["tee"])
    return row


@pytest.mark.parametrize("where", ["before it sends", "while it sends"])
@pytest.mark.parametrize("name", ["a", "b"])
async def test_who_sleeps_past_its_lease_between_begin_and_write_breaks_nothing(
    client: Redis, monkeypatch: pytest.MonkeyPatch, name: str, where: str
) -> None:
    floor = Floor(client)
    floor.table = tuple(  # it sits at the table alone
        one if one.channel == name else replace(one, terms=SellingTerms()) for one in floor.table
    )
    await floor.ledger.recount(StockLevel(sku="tee", on_hand=40))
    await floor.listings.place(name, [entry("tee")], by="test")
    sleeper = Sleeper(client, "main", terms=floor.terms)
    sleeper.begun, sleeper.wake = asyncio.Event(), asyncio.Event()
    shop = SleepyApi(floor.clock, name, floor.traits(name), {"tee": 0})
    shop.begun, shop.wake = sleeper.begun, sleeper.wake
    asleep_too = replace(floor.books, listings=sleeper)
    first = floor.open(name, api=shop, books=asleep_too, lease_s=LEASE_S, doubt_s=1.0)
    for actor in floor.actors:
        actor.start()
    try:

        async def shown() -> bool:
            row = await row_of(floor, name)
            return row.state is ListingState.IDLE and row.figure == shop.stock["tee"] > 0

        await floor.until(shown, "the first one publishes")
        if where == "before it sends":
            sleeper.asleep = True
        else:
            shop.asleep = True
        await floor.ledger.recount(StockLevel(sku="tee", on_hand=6))
        await asyncio.wait_for(sleeper.begun.wait(), 30)

        async def asleep(_asked_s: float, _lease_s: float) -> bool:
            await sleeper.wake.wait()
            return False

        monkeypatch.setattr(first.leadership, "_stand", asleep)  # it sleeps: nobody renews its lease
        floor.open(name, api=shop, lease_s=LEASE_S, doubt_s=1.0)
        second = floor.publishers[name]
        for actor in floor.actors[-3:]:
            actor.start()

        async def taken_over() -> bool:
            return second.snapshot().leading and (await row_of(floor, name)).state is not ListingState.WRITING

        await floor.until(taken_over, "the second one leads and doubts")
        assert (await row_of(floor, name)).state is ListingState.IN_DOUBT
        calls = len(shop.keys)
        sleeper.asleep = False
        sleeper.wake.set()

        async def right() -> bool:
            row, level = await row_of(floor, name), await floor.level()
            return (
                row.state is ListingState.IDLE
                and row.figure == row.exposed == shop.stock["tee"] == level.exposed
                and level.exposed <= 6
            )

        await floor.until(right, "the figure and its exposure are right again")
        assert len(shop.keys) - calls <= 4
    finally:
        sleeper.wake.set()
        await floor.close()
    assert (await audit(client, "main")).differences == ()
