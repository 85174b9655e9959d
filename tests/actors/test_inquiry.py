"""Asking everybody before a sale: what was answered becomes findings, and so does who does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from flashd.actors.inquiry import ASK_S, CATALOGUE_S, InquiredChannel, InquiredHouse, InquiredPool, Inquiry
from flashd.domain.catalogue import Component, Entry, Kit, Product
from flashd.domain.flow import BackendSnapshot, PollFlow
from flashd.domain.listing import WriteMode
from flashd.domain.preflight_facts import Level, Preflight
from flashd.domain.sale import Sale, SaleProduct
from flashd.domain.stock import StockLevel
from flashd.domain.terms import SellingTerms
from flashd.errors import NotFound
from flashd.ports import ApiTraits, PollMark, StoreHealth, Subscription
from tests.fakes.channel_api import FakeChannelApi
from tests.fakes.channel_book import FakeChannelBook
from tests.fakes.clock import FakeClock
from tests.fakes.gate import FakeGate
from tests.fakes.ledger import FakeLedger
from tests.fakes.listings import FakeListings
from tests.fakes.pool import FakePool
from tests.fakes.sales import FakePriceBook, FakeSales


@dataclass
class Shop(FakeChannelApi):
    """A shop whose products may be sold below zero, and which may have more of them than anybody reads."""

    below_zero: set[str] = field(default_factory=set)
    page_s: float = 0.0

    async def products(self) -> AsyncIterator[Product]:
        async for product in super().products():
            if self.page_s:
                await self.clock.sleep(self.page_s)
            yield replace(product, oversells=product.sku in self.below_zero)


class World:
    """One pool, one shop, one backend."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.pool = FakePool(clock=self.clock)
        self.shop = Shop(clock=self.clock, stock={"TEE": 5, "BOX": 2}, prices={"TEE": ("19.90", "")})
        self.shop.hooks = [Subscription(topic="orders/create", address="https://x", alive=True)]
        self.ledger, self.listings = FakeLedger(self.pool), FakeListings(self.pool)
        self.sales = FakeSales(now_ms=self.clock.now_ms)
        self.prices, self.book = FakePriceBook(), FakeChannelBook()
        self.gate, self.backend_gate = FakeGate(clock=self.clock), FakeGate(clock=self.clock)
        self.health = StoreHealth(ok=True, used_bytes=10, max_bytes=100)
        self.backends = [BackendSnapshot(name="erp", kind="http", rate="2/s", per_second=2.0)]
        self.alerts = ""
        self.polls: PollFlow | None = None
        self.asked_to_wait = 0
        for sku in ("TEE", "CAP"):
            self.pool.levels[sku, "main"] = StockLevel(sku=sku, on_hand=50)
        self.book.marks["shop"] = PollMark(seen_ms=1, polled_ms=self.clock.now_ms())

    async def sale(self, **more: Any) -> None:
        await self.listings.put_kits([Kit("BOX", (Component("TEE", 2), Component("CAP", 1)))], by="anna")
        await self.listings.place("shop", [Entry(sku=one, ids={"item": one}) for one in ("TEE", "BOX")], by="anna")
        now_s = self.clock.now_ms() / 1000
        document = Sale(
            name="friday",
            start=datetime.fromtimestamp(now_s + 600, UTC),
            end=datetime.fromtimestamp(now_s + 4200, UTC),
            products=(SaleProduct(sku="TEE", quota=10, price="9.90"), SaleProduct(sku="BOX", quota=20)),
            forecast_per_min=60,
        )
        await self.sales.put(replace(document, **more), by="anna")

    async def ready(self) -> None:
        self.asked_to_wait += 1

    async def counted(self, skus: Any) -> dict[str, int]:
        return dict.fromkeys(skus, self.clock.now_ms())

    def inquiry(self) -> Inquiry:
        shop = InquiredChannel(
            name="shop",
            terms=SellingTerms(mode="escrow"),
            api=self.shop,
            gate=self.gate,
            poll_ms=60_000,
            polling=lambda: self.polls,
            ready_to_send=self.ready,
        )
        pool = InquiredPool(
            ledger=self.ledger,
            listings=self.listings,
            sales=self.sales,
            prices=self.prices,
            book=self.book,
            counted=self.counted,
            channels=lambda: [shop, InquiredChannel(name="till", terms=SellingTerms(asks=True))],
            customer_key=False,
        )
        house = InquiredHouse(
            health=lambda: self.health,
            backends=lambda: self.backends,
            gates={"erp": self.backend_gate},
            alerts=lambda: self.alerts,
        )
        return Inquiry({"main": pool}, house, clock=self.clock)

    async def preflight(self) -> Preflight:
        return await self.inquiry().preflight("main", "friday")

    async def trouble(self) -> list[tuple[str, str, Level]]:
        found = (await self.preflight()).findings
        return [(one.check, one.subject, one.level) for one in found if one.level is not Level.OK]


@pytest.fixture
def world() -> World:
    return World()


async def test_all_that_is_right_is_a_go(world: World) -> None:
    await world.sale()
    verdict = await world.preflight()
    assert verdict.go
    assert [one for one in verdict.findings if one.level is not Level.OK] == []
    assert world.asked_to_wait == 4  # its clock, its webhooks, its products, its prices: each within its own pace


async def test_nothing_is_written_to_the_shop_or_the_store(world: World) -> None:
    await world.sale()
    dirty = dict(world.pool.own_dirty)
    await world.preflight()
    assert (world.shop.written, world.pool.own_dirty, world.prices.history) == ([], dirty, [])


async def test_an_unknown_sale_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        await world.preflight()


async def test_quotas_are_compared_over_kits(world: World) -> None:
    await world.sale(products=(SaleProduct(sku="TEE", quota=11), SaleProduct(sku="BOX", quota=20)))
    assert await world.trouble() == [("stock", "TEE", Level.FAIL)]


async def test_units_that_are_held_sold_or_kept_back_cover_no_quota(world: World) -> None:
    await world.sale()
    world.pool.levels["TEE", "main"] = StockLevel(sku="TEE", on_hand=60, held=3, sold=4, safety=4)
    assert await world.trouble() == [("stock", "TEE", Level.FAIL)]


async def test_units_that_channels_show_are_for_sale(world: World) -> None:
    await world.sale()
    world.pool.levels["TEE", "main"] = StockLevel(sku="TEE", on_hand=50, exposed=50)
    assert await world.trouble() == []


async def test_a_shop_that_sells_below_zero_is_found(world: World) -> None:
    await world.sale()
    world.shop.below_zero = {"BOX"}
    assert await world.trouble() == [("policy", "shop", Level.FAIL)]


async def test_a_product_is_found_by_fewer_ids_where_a_human_wrote_the_map(world: World) -> None:
    await world.sale()
    assert world.listings.state.entries["shop"]["TEE"].source == "hand"
    entry = Entry(sku="TEE", ids={"item": "TEE", "location": "elsewhere"}, source="import")
    await world.listings.place("shop", [entry], by="anna")
    assert ("map", "shop", Level.FAIL) in await world.trouble()


async def test_a_shop_that_does_not_answer_is_a_no_go_and_not_an_error(world: World) -> None:
    await world.sale()
    world.shop.down = True
    found = {(check, level) for check, subject, level in await world.trouble() if subject == "shop"}
    assert found == {
        ("clock", Level.WARN),
        ("policy", Level.FAIL),
        ("prices", Level.FAIL),
        ("webhooks", Level.WARN),
    }


async def test_nobody_is_waited_for_longer_than_the_bound(world: World) -> None:
    await world.sale()
    world.shop.latency_s = 10_000
    asked = asyncio.ensure_future(world.preflight())
    await world.clock.advance(2 * ASK_S + 2 * CATALOGUE_S + 1)
    verdict = await asked
    assert not verdict.go
    assert any("no answer within" in one.said for one in verdict.findings)


async def test_a_catalogue_without_end_is_looked_at_for_a_while(world: World) -> None:
    await world.sale()
    world.shop.page_s = CATALOGUE_S
    asked = asyncio.ensure_future(world.preflight())
    await world.clock.advance(2 * CATALOGUE_S)
    found = [one for one in (await asked).findings if one.check == "policy"]
    assert [(one.level, one.said) for one in found] == [(Level.WARN, "its catalogue is too long to be looked at whole")]


@pytest.mark.parametrize("skew_ms", [-2500, 2500])
async def test_clocks_are_compared_on_every_side(world: World, skew_ms: int) -> None:
    await world.sale()
    world.shop.skew_ms = skew_ms
    assert await world.trouble() == [("clock", "shop", Level.FAIL)]
    world.shop.skew_ms = 0
    now_ms = world.clock.now_ms
    world.sales.now_ms = lambda: now_ms() + skew_ms
    assert ("clock", "store", Level.FAIL) in await world.trouble()


async def test_the_time_that_an_answer_takes_is_not_taken_for_a_wrong_clock(world: World) -> None:
    await world.sale()
    world.shop.latency_s, world.shop.skew_ms = 5, -1000
    asked = asyncio.ensure_future(world.preflight())
    await world.clock.advance(60)
    assert [one.level for one in (await asked).findings if one.check == "clock"] == [Level.OK, Level.OK]


async def test_a_paused_channel_and_a_paused_backend_are_told_without_waiting_for_them(world: World) -> None:
    await world.sale()
    await world.gate.pause(reason="mending", by="anna")
    await world.backend_gate.pause(reason="mending", by="anna")
    assert await world.trouble() == [("publish", "shop", Level.FAIL), ("backend", "erp", Level.FAIL)]
    assert world.asked_to_wait == 0


async def test_what_another_process_polled_counts(world: World) -> None:
    await world.sale()
    world.polls = PollFlow(name="shop")
    assert await world.trouble() == []
    world.book.marks.clear()
    assert await world.trouble() == [("polling", "shop", Level.FAIL)]
    world.polls = PollFlow(name="shop", last_poll_ms=world.clock.now_ms(), silent="switched off")
    assert await world.trouble() == [("webhooks", "shop", Level.FAIL)]


async def test_limits_without_a_key_alerts_without_a_receiver_and_a_store_that_is_not_durable(world: World) -> None:
    await world.sale(limit=2)
    world.alerts = "[alerts] url is empty"
    world.health = StoreHealth(ok=False, reason="the disk is full")
    assert await world.trouble() == [
        ("durability", "store", Level.FAIL),
        ("limits", "main", Level.FAIL),
        ("alerts", "alerts", Level.WARN),
    ]


async def test_only_the_channels_of_the_sale_are_asked(world: World) -> None:
    await world.sale(channels=("till",))
    world.shop.down = True
    assert (await world.preflight()).go
    assert world.shop.calls == 0


async def test_a_shop_that_oversells_by_itself_is_told_what_helps(world: World) -> None:
    await world.sale()
    world.shop.traits = ApiTraits(mode=WriteMode.ABSOLUTE, oversells=True, prices=True)
    assert await world.trouble() == [("publish", "shop", Level.WARN)]
