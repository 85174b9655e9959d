"""What tests of a daemon beside the real Vendure shop ask of both."""

from __future__ import annotations

from typing import Any

import aiohttp

from tests.e2e.process import Flashd
from tests.erp.vendure import TOKEN, Vendure
from tests.erp.vendure_buyers import Buyer
from tests.until import until

SKU = "SKU-01"
BEARER = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
TILL_TOKEN = "till-token-of-the-test"  # of a till beside the shop


def address(flashd: Flashd) -> str:
    return f"http://127.0.0.1:{flashd.intake}"


async def ready(session: aiohttp.ClientSession, shop: Vendure, number: int, units: int = 1) -> Buyer:
    """A buyer with everything in the cart, who has not gone to the till yet."""
    buyer = Buyer(session, shop.url, number)
    await buyer.fill_cart(shop.variant(SKU), units)
    return buyer


def level(flashd: Flashd, name: str) -> int:
    (found,) = flashd.ask_admin("GET", f"/admin/v1/stock/{SKU}")["levels"]
    return int(found[name])


def order(flashd: Flashd, code: str) -> dict[str, Any]:
    """What flashd has of an order; {} if it never heard of it."""
    status, _, _ = flashd.call("GET", f"/v1/orders/vendure/{code}", headers=BEARER)
    found: dict[str, Any] = flashd.ask_admin("GET", f"/admin/v1/orders/vendure/{code}") if status == 200 else {}
    return found


async def told(flashd: Flashd, code: str) -> dict[str, Any]:
    await until(lambda: bool(order(flashd, code)), f"flashd has order {code}", 60)
    return order(flashd, code)
