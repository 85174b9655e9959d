"""One truth of stock on a running daemon: three shops that sell by themselves, and a till that asks."""

from __future__ import annotations

import asyncio
import contextlib
import random
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.market import CHANNELS, Away, Market
from tests.servers import Server

SKUS = ("TEE", "CAP", "MUG")


async def sell_out(market: Market, stock: int, chance: random.Random, *, patience_s: float) -> dict[str, int]:
    """Ask for units everywhere until all are sold, or nothing was for so long; return how many were."""
    sold = dict.fromkeys(SKUS, 0)
    loop = asyncio.get_running_loop()
    last_s, number = loop.time(), 0
    while min(sold.values()) < stock and loop.time() - last_s < patience_s:
        number += 1
        sku = chance.choice([sku for sku in SKUS if sold[sku] < stock])
        channel = chance.choice((*CHANNELS, "till"))
        fine = await (until_told(market, f"till-{number}", sku) if channel == "till" else market.sell(channel, sku))
        if fine:
            last_s = loop.time()
        sold[sku] += fine
        assert sold[sku] <= stock, "oversold"
        await asyncio.sleep(0.02 if fine else 0.1)
    return sold


async def until_told(market: Market, order_id: str, sku: str) -> bool:
    """Sell at the till; while the daemon is away ask again under the same id, as a till does."""
    while True:
        with contextlib.suppress(aiohttp.ClientError, Away):
            return await market.hold_and_order(order_id, sku)
        await asyncio.sleep(0.2)


async def until_all_is_counted(market: Market, stock: int) -> None:
    """Wait until flashd has counted every unit as sold, and nothing as held."""
    loop = asyncio.get_running_loop()
    over_s = loop.time() + 30
    while True:
        levels = await market.levels()
        counted = {sku: (level["sold"], level["held"], level["exposed"]) for sku, level in levels.items()}
        if counted == dict.fromkeys(SKUS, (stock, 0, 0)):
            return
        assert loop.time() < over_s, counted
        await asyncio.sleep(0.1)


async def test_escrow_sells_every_unit_once_over_three_shops_and_a_till(tmp_path: Path, valkey: Server) -> None:
    stock = 10
    market = Market(tmp_path, valkey, SKUS, mode="escrow", poll_s=1.0)
    async with market.open(stock):
        await market.until(lambda figures: all(figures[channel][sku] > 0 for channel in CHANNELS for sku in SKUS))
        sold = await sell_out(market, stock, random.Random(7), patience_s=30)
        assert sold == dict.fromkeys(SKUS, stock), "units were stranded"
        await market.until(lambda figures: all(units == 0 for shop in figures.values() for units in shop.values()))
        await until_all_is_counted(market, stock)
        audit = await asyncio.to_thread(market.flashd.run, "audit")
        assert audit.returncode == 0, audit.stdout


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_escrow_survives_kills_lost_replies_and_lost_webhooks(tmp_path: Path, server: Server, seed: int) -> None:
    """The daemon is killed every few seconds, shops lose one reply in ten, and one webhook in five."""
    stock, kills = 25, 0
    chance = random.Random(seed)
    market = Market(tmp_path, server, SKUS, mode="escrow", poll_s=1.0)
    async with market.open(stock):
        await market.until(lambda figures: all(figures[channel][sku] > 0 for channel in CHANNELS for sku in SKUS))
        for shop in market.shopify.values():
            await shop.faults(lose_replies=0.1, webhooks={"drop": 0.2})
        await asyncio.to_thread(market.woo.turn, api={"lost_replies": 0.1}, webhooks={"drop": 0.2})
        selling = asyncio.create_task(sell_out(market, stock, chance, patience_s=60))
        while not selling.done() and kills < 8:
            await asyncio.wait({selling}, timeout=chance.uniform(1, 5))
            await asyncio.to_thread(market.flashd.kill)
            kills += 1
            await asyncio.sleep(chance.uniform(0, 1))
            await asyncio.to_thread(market.flashd.start)
        sold = await selling
        print(f"seed {seed}: {kills} kills, sold {sold}")
        for shop in market.shopify.values():
            await shop.faults()
        await asyncio.to_thread(market.woo.turn, api={}, webhooks={})
        assert sold == dict.fromkeys(SKUS, stock), "units were stranded"
        await until_all_is_counted(market, stock)
        audit = await asyncio.to_thread(market.flashd.run, "audit")
        assert audit.returncode == 0, audit.stdout


@pytest.mark.slow
async def test_orders_that_no_webhook_told_of_are_found_within_a_poll_cycle_and_none_twice(
    tmp_path: Path, server: Server
) -> None:
    """One webhook in a hundred is dropped everywhere, and those of one shop are switched off for 90 s."""
    poll_s, skus = 5.0, tuple(f"SKU-{number}" for number in range(20))
    market = Market(tmp_path, server, skus, mode="mirror", poll_s=poll_s)
    chance = random.Random(4)
    async with market.open(5000):
        await market.until(lambda figures: all(figures[channel][sku] > 0 for channel in CHANNELS for sku in skus))
        for shop in market.shopify.values():
            await shop.faults(webhooks={"drop": 0.01})
        await asyncio.to_thread(market.woo.turn, webhooks={"drop": 0.01})
        await asyncio.to_thread(market.woo.webhooks_off, 90)
        told: dict[str, int] = dict.fromkeys(CHANNELS, 0)
        loop = asyncio.get_running_loop()
        over_s = loop.time() + 100
        while loop.time() < over_s:
            for channel in CHANNELS:
                told[channel] += await market.sell(channel, chance.choice(skus))
            await asyncio.sleep(0.05)
        silent = await asyncio.to_thread(market.flashd.ask_admin, "GET", "/admin/v1/status")
        total, began_s = sum(told.values()), loop.time()
        while (sold := sum(level["sold"] for level in (await market.levels()).values())) < total:
            assert loop.time() - began_s < 3 * poll_s + 20, (sold, total)
            await asyncio.sleep(0.2)
        late_s = loop.time() - began_s
        await asyncio.sleep(2 * poll_s)  # what is found twice would be counted twice by now
        sold = sum(level["sold"] for level in (await market.levels()).values())
        assert sold == total
        orders = await market.accepted()
        assert len(orders) == total
        delays = sorted(orders.values())
        print(f"{told}, last found {late_s:.1f} s after the last sale, latest order after {delays[-1]:.1f} s; {silent}")
        assert delays[-1] <= poll_s + 10, "lag of the listing (5 s at Shopify) and whole seconds included"
        assert "channel.webhooks_silent" in await market.said()
        audit = await asyncio.to_thread(market.flashd.run, "audit")
        assert audit.returncode == 0, audit.stdout
