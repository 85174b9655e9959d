"""
Publishing: three simulated shops, 200 SKUs, 500 sales a second at the till, and how late the shops' figures were.

Nothing is asked of flashd: the buyers know when they sent each order, the shops' books when each figure was written. A
sale that left n units is published on a shop as soon as that shop shows n or less; intake is in the figure, too.
"""

from __future__ import annotations

import asyncio
import bisect
import random
import tempfile
import time
from pathlib import Path

import msgspec

from tests.e2e.market import CHANNELS, Market
from tests.servers import Server

SKUS = 200
PER_S = 500
_BUYERS = 64
_AFTER_S = 20.0


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """How late figures were on three shops."""

    seconds: float
    sales: int
    per_s: float
    lags_ms: tuple[float, float]  # order sent to figure written, p50 and p99, over every sale and shop
    zero_ms: tuple[float, float]  # of the sales that left none
    zeros: int
    missing: int  # sales that a shop had not been told of at the end
    calls: int  # writes that reached the shops' books, figure by figure
    requests: int  # requests that the shops were sent, reads and polls included


def measure(seconds: int) -> Published:
    """Run it once."""
    return asyncio.run(_measure(seconds))


async def _measure(seconds: int) -> Published:
    skus = [f"SKU-{number:03}" for number in range(SKUS)]
    stock = PER_S * seconds // SKUS * 4 // 5  # most are sold out in the end, so that zero is crossed
    with tempfile.TemporaryDirectory(prefix="flashd-bench-") as name:
        server = Server("valkey", folder=Path(tempfile.mkdtemp(prefix="fd-"))).start()
        try:
            market = Market(Path(name), server, skus, mode="mirror", poll_s=10.0, publish='rate = "20/s"')
            async with market.open(stock):
                await market.until(
                    lambda all_: all(all_[channel][sku] == stock for channel in CHANNELS for sku in skus), 120
                )
                before, began_s = await _requests(market), time.time()
                sold = await _sell(market, skus, stock, seconds)
                took_s = time.time() - began_s
                await asyncio.sleep(2.0)
                requests = await _requests(market) - before
                return await _judge(market, sold, stock, took_s, requests, began_s)
        finally:
            server.close()


async def _sell(market: Market, skus: list[str], stock: int, seconds: int) -> dict[str, list[float]]:
    """Sell at a steady rate; return for each SKU when the order of each unit was sent, as they were acknowledged."""
    sold: dict[str, list[float]] = {sku: [] for sku in skus}
    chance, number = random.Random(1), iter(range(10**9))
    began_s = time.monotonic()

    async def buyer(offset: float) -> None:
        for turn in range(seconds * PER_S // _BUYERS):
            due_s = began_s + offset + turn * _BUYERS / PER_S
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            left = [sku for sku in chance.choices(skus, k=8) if len(sold[sku]) < stock]
            if left:
                order = {"id": f"o-{next(number)}", "currency": "EUR", "total": 1000, "status": "paid"}
                line = {"sku": left[0], "quantity": 1, "unit_price": 1000}
                sent_s = time.time()
                status, _ = await market.native("POST", "/v1/orders", {**order, "lines": [line]})
                if status == 201:
                    sold[left[0]].append(sent_s)

    await asyncio.gather(*(buyer(index / PER_S) for index in range(_BUYERS)))
    return sold


async def _requests(market: Market) -> int:
    """Return how many requests the shops were sent so far."""
    counts = [(await shop.stats())["calls"] for shop in market.shopify.values()]
    counts.append((await asyncio.to_thread(lambda: market.woo.books))["calls"])
    return sum(int(number) for each in counts for number in each.values())


async def _judge(
    market: Market, sold: dict[str, list[float]], stock: int, took_s: float, requests: int, began_s: float
) -> Published:
    lags: list[float] = []
    zeros: list[float] = []
    missing = calls = 0
    for channel in CHANNELS:
        for sku, history in (await _histories(market, channel)).items():
            writes = [(at, to) for at, by, to in history if by == "api" and at >= began_s]
            calls += len(writes)
            stamps = [at for at, _ in writes]
            lowest: list[int] = []
            for _, to in writes:
                lowest.append(min(to, lowest[-1] if lowest else to))
            for index, sold_s in enumerate(sold[sku]):
                left = stock - index - 1
                found = bisect.bisect_left([-units for units in lowest], -left)
                if found == len(lowest):
                    missing += 1
                    continue
                lag_ms = max(0.0, stamps[found] - sold_s) * 1000
                lags.append(lag_ms)
                if left == 0:
                    zeros.append(lag_ms)
    sales = sum(map(len, sold.values()))
    return Published(
        seconds=took_s,
        sales=sales,
        per_s=sales / took_s,
        lags_ms=_spread(lags),
        zero_ms=_spread(zeros),
        zeros=len(zeros),
        missing=missing,
        calls=calls,
        requests=requests,
    )


async def _histories(market: Market, channel: str) -> dict[str, list[tuple[float, str, int]]]:
    if channel == "woo":
        moves = {sku: await asyncio.to_thread(market.woo.call, "GET", f"moves/{sku}") for sku in market.skus}
        return {sku: [(one["at_s"], one["by"], one["after"]) for one in found] for sku, found in moves.items()}
    levels = (await market.shopify[channel].books())["levels"]
    return {level["sku"]: [(at, cause, after) for at, cause, _, after in level["history"]] for level in levels}


def _spread(values: list[float]) -> tuple[float, float]:
    ranked = sorted(values) or [0.0]
    return ranked[len(ranked) // 2], ranked[min(len(ranked) - 1, len(ranked) * 99 // 100)]


if __name__ == "__main__":
    print(measure(15))
