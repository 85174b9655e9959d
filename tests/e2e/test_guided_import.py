"""A shop that already sells is taken over: catalogue and stock imported, the cut-over written, figures published."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.configuration import configuration, fed, keep, signed
from tests.e2e.process import Flashd
from tests.servers import Server
from tests.shops.shopify import SimulatedShopify
from tests.until import until


async def until_shown(shop: SimulatedShopify, sku: str, units: int, within_s: float = 20.0) -> None:
    async with asyncio.timeout(within_s):
        while await shop.available(sku) != units:  # noqa: ASYNC110  # a process of its own: nothing to wait for
            await asyncio.sleep(0.05)


async def pause_and_resume(flashd: Flashd, shop: SimulatedShopify) -> None:
    await asyncio.to_thread(flashd.run, "channel", "pause", "shop", "--reason", "a test")
    await asyncio.to_thread(flashd.run, "stock", "set", "TEE", "20")
    await asyncio.sleep(1.0)  # long enough for a figure, were it not paused
    assert await shop.available("TEE") == 7
    assert "paused" in (await asyncio.to_thread(flashd.run, "channel", "list")).stdout
    await asyncio.to_thread(flashd.run, "channel", "resume", "shop")
    await until_shown(shop, "TEE", 20)
    events = (await asyncio.to_thread(flashd.run, "events", "--topic", "channel", "--json")).stdout
    assert re.search(r'"channel.paused".*"channel.resumed"', events, re.DOTALL), events
    shown = (await asyncio.to_thread(flashd.run, "stock", "exposure")).stdout
    assert "could be sold twice" in shown
    status = (await asyncio.to_thread(flashd.run, "status")).stdout
    assert re.search(r"(?m)^shop +mirror +publishing", status), status


@pytest.mark.slow
async def test_a_running_shop_is_taken_over_without_losing_or_doubling_a_unit(tmp_path: Path, valkey: Server) -> None:
    async with Redis(unix_socket_path=valkey.socket_path) as client:
        await client.flushall()
    with_shop = SimulatedShopify(tmp_path).start()
    keep(tmp_path, shop_secret=with_shop.secret, shop_access=with_shop.token)

    def text(mode: str, since: datetime) -> str:
        login: dict[str, object] = {"url": with_shop.url, "access_token": {"file": "shop.access"}}
        publish = {"mode": mode, "rate": "50/s"}
        channel = signed("shop", **login, poll_s=0.5, since=since, publish=publish)
        return configuration(tmp_path, channel, fed(), store=valkey.url)

    flashd = Flashd(tmp_path, "")
    try:
        async with with_shop as shop:
            await shop.create({"sku": "TEE", "stock": 9}, {"sku": "CAP", "stock": 4})
            assert await shop.sell("TEE", 2) is not None  # before flashd knows the shop
            await asyncio.sleep(1.1)  # a cut-over is written in whole seconds: this one is surely after the sale
            flashd.config = text("none", datetime.now(UTC).replace(microsecond=0))
            await asyncio.to_thread(flashd.start)

            dry = await asyncio.to_thread(flashd.run, "channel", "import", "shop", "--stock", "--dry-run")
            assert dry.returncode == 0, dry.stdout + dry.stderr
            assert "2 products read; 2 would be mapped" in dry.stdout
            done = await asyncio.to_thread(flashd.run, "channel", "import", "shop", "--stock")
            assert "2 SKUs counted, 11 units on hand in all" in done.stdout, done.stdout + done.stderr
            found = re.search(r"write since = (\S+):", done.stdout)
            assert found is not None, done.stdout
            assert await shop.sell("CAP") is not None  # while nothing is published yet

            await asyncio.to_thread(flashd.terminate)
            flashd.config = text("mirror", datetime.fromisoformat(found[1]))
            await asyncio.to_thread(flashd.start)
            again = await asyncio.to_thread(flashd.run, "channel", "import", "shop", "--stock")
            assert "0 mapped, 2 unchanged" in again.stdout, again.stdout
            assert "as configured" in again.stdout
            await until(lambda: ("CAP", 1) in {(one["sku"], one["sold"]) for one in _levels(flashd)}, "CAP is sold")
            await until_shown(shop, "CAP", 3)
            levels = {one["sku"]: one for one in await asyncio.to_thread(_levels, flashd)}
            assert (levels["TEE"]["on_hand"], levels["TEE"]["sold"], levels["TEE"]["free"]) == (7, 0, 7)

            await pause_and_resume(flashd, shop)
    finally:
        flashd.close()
        with_shop.close()


def _levels(flashd: Flashd) -> list[dict[str, Any]]:
    levels: list[dict[str, Any]] = flashd.ask_admin("GET", "/admin/v1/stock")["levels"]
    return levels
