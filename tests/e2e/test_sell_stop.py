"""Stopping a sale on a running daemon: every channel at zero, how long it took, and nothing sold by flashd after it."""

from __future__ import annotations

import asyncio
import json
import random
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from flashd.domain.order import OrderRecord, OrderState
from flashd.store.orderbook import RedisOrderBook
from tests.e2e.market import CHANNELS, Market
from tests.servers import Server

STOCK = 5_000  # more than anybody can buy meanwhile: what falls short is the stop's doing
PRICED = 3  # SKUs that have a price in the sale


class Rush:
    """Buyers at every shop and at the till, until told to stop; what they got is kept with when."""

    def __init__(self, market: Market, seed: int) -> None:
        self._market = market
        self._chance = random.Random(seed)
        self._over = False
        self._number = 0
        self.sold: list[tuple[float, str]] = []  # when a shop sold, and which
        self.held: list[float] = []  # when the till got a hold
        self.refused = 0

    async def run(self, channel: str) -> None:
        while not self._over:
            sku = self._chance.choice(self._market.skus)
            if channel == "till":
                await self._ask(sku)
            elif await self._market.sell(channel, sku):
                self.sold.append((time.time(), channel))
            await asyncio.sleep(0.05)

    async def _ask(self, sku: str) -> None:
        self._number += 1
        asked_s = time.time()
        body = {"id": f"hold-{self._number}", "lines": [{"sku": sku, "quantity": 1}]}
        status, answer = await self._market.native("POST", "/v1/holds", body)
        assert status in (201, 409), (status, answer, body)
        if status == 201:
            self.held.append(asked_s)
        else:
            self.refused += 1

    def stop(self) -> None:
        self._over = True


def write_sale(market: Market, folder: Path) -> Path:
    now = datetime.now(UTC)
    lines = [
        'name = "friday"',
        f"start = {(now - timedelta(minutes=1)).isoformat()}",
        f"end = {(now + timedelta(hours=1)).isoformat()}",
        *(f'[[products]]\nsku = "{sku}"\nprice = "5.00"' for sku in market.skus[:PRICED]),
        *(f'[[products]]\nsku = "{sku}"' for sku in market.skus[PRICED:]),
    ]
    path = folder / "friday.toml"
    path.write_text("\n".join(lines))
    return path


async def records(server: Server) -> list[OrderRecord]:
    client = Redis(unix_socket_path=server.socket_path)
    book, found = RedisOrderBook(client, "main"), list[OrderRecord]()
    while page := await book.page(offset=len(found), limit=1000):
        found += page
    await client.aclose()
    return found


async def flashd(market: Market, *words: str, code: int = 0) -> Any:
    done = await asyncio.to_thread(market.flashd.run, *words, timeout=120)
    assert done.returncode == code, (done.stdout, done.stderr)
    return done.stdout


async def stop_in_the_rush(folder: Path, server: Server, count: int, **market_options: Any) -> None:
    """Stop a sale of *count* SKUs while everybody buys."""
    market = Market(folder, server, [f"S{number:03d}" for number in range(count)], **market_options)
    async with market.open(STOCK):
        await flashd(market, "sale", "open", str(write_sale(market, folder)))
        await market.until(lambda figures: all(min(shop.values()) > 0 for shop in figures.values()))
        rush = Rush(market, count)
        buyers = [asyncio.create_task(rush.run(channel)) for channel in (*CHANNELS, "till")]
        await asyncio.sleep(1.0)  # something is sold everywhere
        sold_before = sum(level["sold"] for level in (await market.levels()).values())
        stopped = json.loads(await flashd(market, "sale", "stop", "friday", "--json", "--wait", "60"))
        figures = await market.figures()  # asked of the shops themselves
        assert stopped["zero"] is True
        assert {units for shop in figures.values() for units in shop.values()} == {0}
        assert [one["skus"] for one in stopped["channels"] if one["shows"]] == [count] * len(CHANNELS)
        sold_at = len(rush.sold)
        await asyncio.sleep(1.0)
        assert len(rush.sold) == sold_at  # no shop sells any more
        rush.stop()
        await asyncio.gather(*buyers)
        print(
            f"\nzero on {len(CHANNELS)} channels, {count} SKUs, after {stopped['seconds']:.2f} s;"
            f" {sold_before} units sold before, {rush.refused} holds refused"
        )
        await only_paid_orders_came_after(market, server, rush)
        await flashd(market, "sale", "resume", "friday")
        await market.until(lambda figures: all(min(shop.values()) > 0 for shop in figures.values()))
        await until_prices(market, "pushed")  # they outlived the stop
        await flashd(market, "sale", "close", "friday")
        await until_prices(market, "restored")


async def until_prices(market: Market, state: str) -> None:
    """Wait until all prices of the sale stand so on every shop."""
    deadline = time.monotonic() + 30
    while True:
        shown = json.loads(await flashd(market, "sale", "show", "friday", "--json"))["prices"]
        if {one["channel"]: one[state] for one in shown} == dict.fromkeys(CHANNELS, PRICED):
            return
        assert time.monotonic() < deadline, shown
        await asyncio.sleep(0.2)


async def only_paid_orders_came_after(market: Market, server: Server, rush: Rush) -> None:
    """What shops sold until they showed zero is shortfall; of the stock nothing was taken after the stop."""
    show = json.loads(await flashd(market, "sale", "show", "friday", "--json"))
    stop_ms = round(datetime.fromisoformat(show["changed_at"]).timestamp() * 1000)
    deadline = time.monotonic() + 30
    while len(found := await records(server)) < len(rush.sold):
        assert time.monotonic() < deadline, (len(found), len(rush.sold))
        await asyncio.sleep(0.2)
    after = [one for one in found if one.accepted_ms > stop_ms]
    before = [one for one in found if one.accepted_ms < stop_ms]
    assert {one.state for one in after} <= {OrderState.SHORTFALL}
    assert all(one.reason.startswith("stopped: sale friday") for one in after)
    assert OrderState.SHORTFALL not in {one.state for one in before}
    assert all(item.taken == 0 for one in after for item in one.items)
    assert rush.held
    assert max(rush.held) * 1000 <= stop_ms
    assert rush.refused > 0
    levels = (await market.levels()).values()
    assert sum(level["sold"] for level in levels) == sum(item.taken for one in before for item in one.items)
    assert sum(level["held"] for level in levels) == len(rush.held)
    print(f"{len(before)} orders before the stop, {len(after)} paid orders after it, all of them shortfall")


@pytest.mark.slow
async def test_a_sale_is_stopped_on_three_shops_and_a_till(tmp_path: Path, valkey: Server) -> None:
    await stop_in_the_rush(tmp_path, valkey, 12, mode="mirror", poll_s=1.0)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["mirror", "escrow"])
async def test_a_sale_of_two_hundred_skus_is_stopped_on_three_shops_and_a_till(
    tmp_path: Path, server: Server, mode: str
) -> None:
    await stop_in_the_rush(tmp_path, server, 200, mode=mode, poll_s=1.0)
