"""
A sick backend slows no other one, and an order that a backend cannot bear holds up no other order.

Judged by what came before what, not by the time: a well backend has all its orders before a sick one has given up the
first of its own, and where it answers at once, while it is still sick.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import pytest
from aiohttp import web
from redis.asyncio import Redis

from flashd.config import SecretText, StoreConfig
from flashd.domain.order import Effect, Incoming, Line, Order, OrderRef, OrderState
from flashd.domain.stock import StockLevel
from flashd.store.connection import connect
from flashd.store.ledger import RedisLedger
from flashd.store.orderbook import RedisOrderBook
from tests.promises.test_in_doubt import outflow
from tests.servers import Server
from tests.until import until

COUNT = 40
SICK = ("black hole", "tarpit", "garbage", "login page", "cut", "500", "503", "429")
POISONS = ("422", "500", "cut", "login page", "black hole")
CAN = ("lookup", "keys", "only keys", "neither")
PATIENCE_S = 3.0  # of the sick backend's requests: far more than the other one needs for all of its orders


@dataclass
class Erp:
    """Books each order under its key, but for those that meet its *illness*."""

    illness: str = ""
    only: str = ""  # the one order that meets it; without one all do
    booked: list[str] = field(default_factory=list)
    came: list[str] = field(default_factory=list)
    _keys: dict[str, str] = field(default_factory=dict)

    async def book(self, request: web.Request) -> web.StreamResponse:
        order, key = await request.json(), request.headers["Idempotency-Key"]
        name = order["order_id"]
        self.came.append(name)
        if self.illness and self.only in ("", name):
            return await self._suffer(request)
        self._keys[key] = name
        self.booked.append(name)
        return web.json_response({"id": f"SO{name}", "key": key}, status=201)

    async def _suffer(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        match self.illness:
            case "black hole":
                await asyncio.Event().wait()
            case "tarpit":
                answer = web.StreamResponse()
                await answer.prepare(request)
                while True:
                    await answer.write(b" ")
                    await asyncio.sleep(0.05)
            case "garbage":
                return web.Response(body=b"\x00\xff{{{", content_type="application/json")
            case "login page":
                return web.Response(text="<html>Please log in</html>", content_type="text/html")
            case "cut":
                request.transport.abort()
        status = int(self.illness) if self.illness.isdigit() else 500
        headers = {"Retry-After": "1"} if status in {429, 503} else {}
        return web.json_response({"error": self.illness}, status=status, headers=headers)

    async def find(self, request: web.Request) -> web.StreamResponse:
        if self.illness and not self.only:
            return await self._suffer(request)
        key = request.query["key"]
        name = self._keys.get(key)
        lines = [{"sku": "tee", "quantity": 1, "unit_price": 100}]
        told = {"id": f"SO{name}", "key": key, "order_id": name, "lines": lines, "total": 100}
        return web.json_response([told] if name else [])

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_post("/orders", self.book)
        app.router.add_get("/orders", self.find)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/orders"
        finally:
            await runner.cleanup()


@dataclass
class Shop:
    """One pool whose orders go to several backends."""

    client: Redis
    pool: str

    def __post_init__(self) -> None:
        self.ledger, self.book = RedisLedger(self.client, self.pool), RedisOrderBook(self.client, self.pool)

    async def sell(self, backend: str, names: list[str]) -> None:
        await self.ledger.recount(StockLevel(sku="tee", on_hand=1000))
        for name in names:
            lines = (Line("tee", 1, 100),)
            order = Order(channel="shop", id=name, placed_ms=1, currency="EUR", lines=lines, total=100)
            incoming = Incoming(order=order, version=1, effect=Effect.DELIVER)
            await self.ledger.accept([incoming], [backend], since_ms=0)

    async def states(self, names: list[str]) -> Counter[OrderState]:
        records = [await self.book.get(OrderRef("shop", name)) for name in names]
        return Counter(record.state for record in records if record is not None)

    async def delivered(self, names: list[str]) -> None:
        """Return when all of them are."""
        while (await self.states(names))[OrderState.DELIVERED] < len(names):  # noqa: ASYNC110  # the store sets no event
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def shop_of(server: Server, pool: str) -> AsyncIterator[Shop]:
    async with connect(StoreConfig(url=server.url, connections=8), lambda _: SecretText("")) as client:
        await client.flushall()
        yield Shop(client, pool)


def slow_but(cases: Sequence[Any], quick: Collection[Any]) -> list[Any]:
    """Mark all but the quick ones: together they take minutes."""
    marks = {False: [pytest.mark.slow], True: []}
    return [pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=marks[case in quick]) for case in cases]


def numbered(prefix: str) -> list[str]:
    return [f"{prefix}{number:02}" for number in range(COUNT)]


@pytest.mark.parametrize("illness", slow_but(SICK, {"429"}))
async def test_a_sick_backend_slows_no_other_one_and_gets_its_own_orders_once_when_it_is_well(
    valkey: Server, illness: str
) -> None:
    sick, well = Erp(illness), Erp()
    async with shop_of(valkey, "main") as shop, sick.open() as sick_url, well.open() as well_url:
        await shop.sell("sick", numbered("s"))
        await shop.sell("well", numbered("w"))
        async with (
            outflow(shop.client, "main", sick_url, "lookup", 0.1, backend_name="sick", timeout_s=PATIENCE_S),
            outflow(shop.client, "main", well_url, "lookup", 0.1, backend_name="well"),
            asyncio.timeout(60),
        ):
            await until(lambda: len(sick.came) > 0, "the sick one was asked")
            await until(lambda: len(well.booked) == COUNT, "the well one has all of its orders", 30)
            assert sick.booked == []
            states = await shop.states(numbered("s"))
            assert states[OrderState.DELIVERED] == 0
            if illness in {"black hole", "tarpit"}:  # not even the first was given up meanwhile
                assert states[OrderState.IN_DOUBT] == 0
            sick.illness = ""
            await shop.delivered(numbered("s"))
    assert sorted(sick.booked) == numbered("s")
    assert sorted(well.booked) == numbered("w")


@pytest.mark.parametrize(("poison", "can"), slow_but(tuple(product(POISONS, CAN)), {("500", "lookup")}))
async def test_an_order_that_the_backend_cannot_bear_ends_at_a_human_and_the_others_go_on(
    valkey: Server, poison: str, can: str
) -> None:
    erp, names, late = Erp(poison, only="p07"), numbered("p"), 0
    others = [name for name in names if name != "p07"]
    async with shop_of(valkey, "main") as shop, erp.open() as url:
        await shop.sell("erp", names)
        async with (
            outflow(shop.client, "main", url, can, 0.1, backend_name="erp", max_refusals=2),
            asyncio.timeout(60),
        ):
            await shop.delivered(others)
            while not (ended := set(await shop.states(["p07"])) & {OrderState.DEAD, OrderState.MANUAL}):
                late += 1  # that the backend answers others meanwhile is what speaks against the order
                await shop.sell("erp", [f"late{late}"])
                await asyncio.sleep(0.1)
            record = await shop.book.get(OrderRef("shop", "p07"))
    assert ended == ({OrderState.DEAD} if poison == "422" or can in {"lookup", "keys"} else {OrderState.MANUAL})
    assert record is not None
    assert record.reason
    assert 1 <= erp.came.count("p07") <= 4
    assert erp.came[erp.came.index("p07") + 1] != "p07"  # nobody waited for its end
    assert set(others) <= set(erp.booked)
    assert max(Counter(erp.booked).values()) == 1
