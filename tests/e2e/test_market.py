"""One truth of stock on a running daemon: three shops that sell by themselves, and a till that asks."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from tests.e2e.market import CHANNELS, Market
from tests.servers import Server


async def test_escrow_sells_every_unit_once_over_three_shops_and_a_till(tmp_path: Path, server: Server) -> None:
    stock, skus = 12, ("TEE", "CAP", "MUG")
    market = Market(tmp_path, server, skus, mode="escrow", poll_s=1.0)
    chance = random.Random(7)
    sold = dict.fromkeys(skus, 0)
    async with market.open(stock):
        await market.until(lambda figures: all(figures[channel][sku] > 0 for channel in CHANNELS for sku in skus))
        for number in range(2000):
            if all(units >= stock for units in sold.values()):
                break
            sku = chance.choice([sku for sku in skus if sold[sku] < stock])
            channel = chance.choice((*CHANNELS, "till"))
            if channel == "till":
                fine = await market.hold_and_order(f"till-{number}", sku)
            else:
                fine = await market.sell(channel, sku)
            sold[sku] += fine
            assert sold[sku] <= stock, "oversold"
            await asyncio.sleep(0.02 if fine else 0.1)
        assert sold == dict.fromkeys(skus, stock), "units were stranded"
        await market.until(lambda figures: all(units == 0 for shop in figures.values() for units in shop.values()))
        levels = await market.levels()
        for _ in range(100):
            if all(level["sold"] == stock for level in levels.values()):
                break
            await asyncio.sleep(0.1)
            levels = await market.levels()
        assert {sku: (level["sold"], level["held"]) for sku, level in levels.items()} == dict.fromkeys(skus, (stock, 0))
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
