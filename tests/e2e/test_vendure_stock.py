"""flashd's figures in the real Vendure: the shop is imported, and its own stock follows what is sold anywhere."""

from __future__ import annotations

import json
import re
import subprocess
import time
from typing import Any

import aiohttp
import pytest

from tests.e2e.beside_vendure import SKU, TILL_TOKEN, address, level, ready, told
from tests.e2e.process import Flashd
from tests.erp.vendure import Vendure
from tests.erp.vendure_buyers import RefusedError
from tests.until import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def ask(flashd: Flashd, *arguments: str) -> str:
    """Run a command of flashd; return what it says."""
    done: subprocess.CompletedProcess[str] = flashd.run(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def at_the_till(flashd: Flashd, target: str, body: dict[str, Any]) -> int:
    headers = {"Authorization": f"Bearer {TILL_TOKEN}", "Content-Type": "application/json"}
    return flashd.call("POST", target, json.dumps(body).encode(), headers)[0]


def hold(flashd: Flashd, name: str, units: int) -> int:
    return at_the_till(flashd, "/v1/holds", {"id": name, "lines": [{"sku": SKU, "quantity": units}]})


def sell(flashd: Flashd, name: str, units: int) -> int:
    """Sell what was held."""
    line = {"sku": SKU, "quantity": units, "unit_price": 100}
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    order = {"id": name, "placed_at": now, "currency": "USD", "lines": [line], "total": 100 * units, "hold_id": name}
    return at_the_till(flashd, "/v1/orders", order)


def figures(shop: Vendure) -> tuple[int, int]:
    """Return what Vendure's own database lets it sell still, and units that are allocated to orders."""
    ((on_hand, allocated),) = shop.rows('SELECT "stockOnHand", "stockAllocated" FROM stock_level')
    return max(0, on_hand - allocated), allocated


async def until_shop_has(shop: Vendure, units: int, allocated: int = 0) -> None:
    try:
        await until(lambda: figures(shop) == (units, allocated), "", 60)
    except AssertionError:
        raise AssertionError(f"Vendure has {figures(shop)}, not {(units, allocated)}") from None


def take_over(flashd: Flashd) -> None:
    """Import the shop's catalogue and figures, and write the cut-over that is told."""
    found = re.search(r"write since = (\S+):", ask(flashd, "channel", "import", "vendure", "--stock"))
    assert found is not None
    flashd.terminate(60)
    flashd.config = flashd.config.replace('kind = "vendure"', f'since = {found[1]}\nkind = "vendure"')
    flashd.start(ready=False).wait_until_ready(90)


async def test_the_shop_is_imported_and_its_own_stock_follows_whatever_is_sold_and_counted_down_to_zero(
    uncounted: Flashd, installed: Vendure, session: aiohttp.ClientSession
) -> None:
    flashd, shop = uncounted, installed
    assert "publish" not in ask(flashd, "check")  # a mirror that asks is no cause for a warning
    said = ask(flashd, "channel", "import", "vendure", "--stock", "--dry-run")
    assert "1 would be mapped" in said
    assert "GAP" not in said
    take_over(flashd)
    said = ask(flashd, "channel", "import", "vendure", "--stock")
    assert "0 mapped, 1 unchanged" in said
    assert "as configured" in said
    assert f"variant={shop.variant(SKU)}" in ask(flashd, "channel", "map", "vendure")
    assert (level(flashd, "on_hand"), level(flashd, "free"), figures(shop)) == (10, 10, (10, 0))

    assert hold(flashd, "t-1", 3) == 201  # somebody at the till
    await until_shop_has(shop, 7)
    assert sell(flashd, "t-1", 3) == 201
    ask(flashd, "stock", "set", SKU, "8")  # a recount: two were broken
    await until_shop_has(shop, 5)

    buyer = await ready(session, shop, 1, units=5)
    await buyer.go_to_the_till()  # all that it shows: its own figure stands in nobody's way
    assert (level(flashd, "held"), level(flashd, "free")) == (5, 0)
    await until_shop_has(shop, 0)
    await told(flashd, await buyer.pay())  # at zero: who holds may pay
    await until_shop_has(shop, 0, allocated=5)
    assert hold(flashd, "t-2", 1) == 409

    ask(flashd, "stock", "set", SKU, "10")  # two came
    await until_shop_has(shop, 2, allocated=5)
    assert hold(flashd, "t-3", 2) == 201
    await until_shop_has(shop, 0, allocated=5)
    with pytest.raises(RefusedError):
        await ready(session, shop, 2)
    assert sell(flashd, "t-3", 2) == 201
    shop.cancel(buyer.code)
    await until(lambda: level(flashd, "free") == 5, "the cancellation is told", 60)
    await until_shop_has(shop, 5)
    await until(lambda: " 0 could be sold twice" in ask(flashd, "stock", "exposure"), "its figure is settled", 120, 1)


async def test_a_polled_order_leaves_the_shop_with_the_figure_that_flashd_has(
    uncounted: Flashd, installed: Vendure, session: aiohttp.ClientSession
) -> None:
    flashd, shop = uncounted, installed
    take_over(flashd)
    shop.kill()
    shop.go_on(address(flashd), FLASHD_CHANNEL="elsewhere")  # no such channel: no message is taken
    buyer = await ready(session, shop, 1, units=2)
    await buyer.go_to_the_till()
    await until_shop_has(shop, 8)
    assert (await told(flashd, await buyer.pay()))["hold_id"] == f"{buyer.code}-0"
    assert (level(flashd, "held"), level(flashd, "sold"), level(flashd, "free")) == (0, 2, 8)
    await until_shop_has(shop, 8, allocated=2)
    shown = ask(flashd, "channel", "show", "vendure")
    assert re.search(r"called at .* last -\n", shown)
    assert re.search(r"polls, [1-9]\d* orders,", shown)
