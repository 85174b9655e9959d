"""
A sale's prices go back by themselves on simulated shops, and a price that a human changed meanwhile stays theirs.

Real adapters speak to a simulated Shopify and WooCommerce, each a process of its own; what is asked is read there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from flashd.actors.leadership import Election
from flashd.actors.sale_clock import SaleBooks, SaleClock
from flashd.domain.catalogue import Entry
from flashd.domain.price import PriceState
from flashd.domain.sale import Sale, SaleProduct, SaleState
from flashd.ports import ChannelApi, PriceWrite
from flashd.runtime.clock import SystemClock
from flashd.store.feed import RedisAnnouncer
from flashd.store.gate import RedisBackendGate
from flashd.store.keys import sale_key
from flashd.store.listings import RedisListings
from flashd.store.prices import RedisPriceBook
from flashd.store.sales import RedisSales
from tests.conformance.channel_shops import Processes, Shopify, Woo, entries_of
from tests.servers import Server

SKUS = ("ROLL-A", "ROLL-B", "ROLL-C")
CHANNELS = ("shopify", "woo")


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    made = Processes(tmp_path_factory.mktemp("shops"))
    yield made
    made.close()


@dataclass
class House:
    """The clock of sales of one pool, before two real adapters."""

    client: Any
    apis: dict[str, ChannelApi]
    entries: dict[str, dict[str, Entry]]

    def __post_init__(self) -> None:
        self.sales = RedisSales(self.client, "main")
        self.prices = RedisPriceBook(self.client, "main")
        self.clock = self.made()

    def made(self) -> SaleClock:
        clock = SystemClock()
        books = SaleBooks(
            sales=self.sales, prices=self.prices, listings=RedisListings(self.client, "main", location="main")
        )
        gate = RedisBackendGate(self.client, "main", clock, key=sale_key)
        election = Election(gate=gate, owner="test", lease_s=1.5)
        return SaleClock(books, self.apis, election, clock=clock, announcer=RedisAnnouncer(self.client))

    async def open_sale(self) -> None:
        now_s = await self.sales.clock_ms() / 1000
        start, end = (datetime.fromtimestamp(now_s + s, UTC) for s in (-1, 3600))
        products = tuple(SaleProduct(sku=sku, price="9.90", compare_at="20.00") for sku in SKUS)
        await self.sales.put(Sale(name="friday", start=start, end=end, products=products), by="ann")
        self.clock.wake()

    async def asked(self, channel: str) -> list[tuple[float, float | None]]:
        """What the shop asks, read there: price, and the crossed-out one."""
        found = await self.apis[channel].read_prices([self.entries[channel][sku] for sku in SKUS])
        return [(float(one.price), float(one.compare_at) if one.compare_at else None) for one in found]

    async def edit(self, channel: str, sku: str, price: str) -> None:
        """Let a human change a price on the platform."""
        await self.apis[channel].write_prices([PriceWrite(entry=self.entries[channel][sku], price=price)])

    async def until(self, state: PriceState, *, but: dict[str, PriceState]) -> None:
        """Wait until every price on every channel stands so, *but* these SKUs."""
        async with asyncio.timeout(30):
            for channel in CHANNELS:
                while not await self._stands(channel, state, but):  # noqa: ASYNC110  # shops are other processes
                    await asyncio.sleep(0.05)

    async def _stands(self, channel: str, state: PriceState, but: dict[str, PriceState]) -> bool:
        rows = {row.sku: row.state for row in await self.prices.rows(channel)}
        return rows == {sku: but.get(sku, state) for sku in SKUS}


@pytest.fixture
async def house(valkey: Server, processes: Processes) -> AsyncIterator[House]:
    pool = BlockingConnectionPool.from_url(valkey.url, max_connections=16)
    client = Redis(connection_pool=pool, retry=Retry(NoBackoff(), 0))
    await client.flushall()
    async with processes.shopify as shop:
        woo, shopify = Woo(processes.woo), Shopify(shop)
        await shop.create(*({"sku": sku, "stock": 5, "price": 2000} for sku in SKUS))
        await asyncio.to_thread(
            stock_with_prices, woo, [{"sku": sku, "stock": 5, "regular_price": "20.00"} for sku in SKUS]
        )
        apis: dict[str, ChannelApi] = {"shopify": shopify.api, "woo": woo.api}
        entries = {name: await entries_of(api) for name, api in apis.items()}
        listings = RedisListings(client, "main", location="main")
        for name, found in entries.items():
            await listings.place(name, [found[sku] for sku in SKUS], by="test")
        made = House(client, apis, entries)
        made.clock.start()
        yield made
        await made.clock.stop()
        for api in apis.values():
            await api.close()
    await client.aclose()
    await pool.disconnect()


def stock_with_prices(woo: Woo, products: list[dict[str, Any]]) -> None:
    woo._shop.stock(*products)  # with prices, which the few hands do not have


ORDINARY = (20.0, None)
OURS = (9.9, 20.0)
THEIRS = (12.5, None)


async def test_a_price_that_a_human_changed_during_the_sale_is_left_alone(house: House) -> None:
    for channel in CHANNELS:
        assert await house.asked(channel) == [ORDINARY] * 3
    await house.open_sale()
    await house.until(PriceState.PUSHED, but={})
    for channel in CHANNELS:
        assert await house.asked(channel) == [OURS] * 3
        await house.edit(channel, "ROLL-B", "12.50")
    await house.sales.set_state("friday", SaleState.ENDED, by="ann")
    house.clock.wake()
    await house.until(PriceState.RESTORED, but={"ROLL-B": PriceState.KEPT})
    for channel in CHANNELS:
        assert await house.asked(channel) == [ORDINARY, THEIRS, ORDINARY]
    kinds = [fields[b"k"].decode() for _, fields in await house.client.xrange("fd:{main}:j")]
    assert {kind: kinds.count(kind) for kind in kinds if kind.startswith("sale.price")} == {
        "sale.price_pushed": 2,
        "sale.price_restored": 2,
        "sale.price_kept": 2,
    }


async def test_prices_go_back_though_the_process_died_in_the_middle(house: House) -> None:
    await house.open_sale()
    await house.until(PriceState.PUSHED, but={})
    await house.clock.stop()
    await house.sales.set_state("friday", SaleState.ENDED, by="ann")
    house.clock = house.made()
    house.clock.start()
    await house.until(PriceState.RESTORED, but={})
    for channel in CHANNELS:
        assert await house.asked(channel) == [ORDINARY] * 3
