"""
The oracle's hand: sells over the native API and by signed webhooks, and writes down what it was promised.

``python -m tests.chaos.oracle '{"ledger": ..., "intake": 8787, "rate": 50, "seconds": 120, "seed": 1, ...}'``. It
shares no code with the daemon. What is sent stands in the ledger, on the disk, before it leaves; so does each answer
before the next step. What is not answered is sent again, the same bytes under the same id, as platforms do.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp

from tests.chaos.ledger import Ledger

PLENTY = ("PLENTY-1", "PLENTY-2", "PLENTY-3")
RARE = "RARE"
PRICE = 1990
PATIENCE_S = 5.0  # Shopify's
GIVE_UP_S = 120.0  # after the last order was sent
STORIES = {"sell": 40, "reserve": 14, "change_mind": 6, "withdraw": 10, "webhook": 20, "twins": 4, "call_off": 6}


class Seller:
    """One customer a story; *order* ids are never used twice."""

    def __init__(self, wish: dict[str, Any], http: aiohttp.ClientSession) -> None:
        self._base = f"http://127.0.0.1:{wish['intake']}"
        self._token, self._secret = wish["token"], wish["secret"]
        self._rate, self._seconds, self._prefix = wish["rate"], wish["seconds"], wish["prefix"]
        self._till_name, self._shop_name = wish.get("till", "till"), wish.get("shop", "shop")  # the channels' names
        self._stories = {name: share for name, share in STORIES.items() if name not in wish["without"]}
        self._slower = wish.get("slower", 1)  # so many times as long is waited at most before the next try
        self._dice = random.Random(wish["seed"])
        self._ledger = Ledger(Path(wish["ledger"]))
        self._http = http
        self._serial = 0
        self._until_s = time.monotonic() + self._seconds + GIVE_UP_S

    async def run(self) -> None:
        """Begin a story at each tick, whatever becomes of those before."""
        began, told = time.monotonic(), []
        for number in range(round(self._seconds * self._rate)):
            await asyncio.sleep(max(0.0, began + number / self._rate - time.monotonic()))
            story = self._dice.choices(list(self._stories), list(self._stories.values()))[0]
            told.append(asyncio.create_task(getattr(self, f"_{story}")()))
        await asyncio.gather(*told)
        await self._ledger.flushed()

    # ------------------------------------------------------------------------------------------------------ the stories

    async def _sell(self) -> None:
        await self._order(*self._new("till"))

    async def _reserve(self) -> None:
        """Hold, and buy while it lasts."""
        order, sku, units = self._new("till")
        if await self._hold(order, sku, units):
            await self._order(order, sku, units, hold_id=f"h-{order}")

    async def _change_mind(self) -> None:
        order, sku, units = self._new("till")
        if await self._hold(order, sku, units) and self._dice.random() < 0.6:  # the others let it lapse
            await self._ask("unhold", order, lambda: self._till("DELETE", f"/v1/holds/h-{order}"))

    async def _withdraw(self) -> None:
        """Buy, and cancel a moment later: it may have left by then."""
        order, sku, units = self._new("till")
        if await self._order(order, sku, units) < 300:
            await asyncio.sleep(self._dice.choice([0.0, 0.0, 0.2, 2.0, 8.0]))
            await self._ask(
                "cancel", order, lambda: self._till("DELETE", f"/v1/orders/{self._till_name}/{order}?reason=regret")
            )

    async def _webhook(self) -> None:
        await self._shop(*self._new("shop"))

    async def _twins(self) -> None:
        """Have the platform tell the same thing several times at once."""
        new = self._new("shop")
        await asyncio.gather(*(self._shop(*new) for _ in range(3)))

    async def _call_off(self) -> None:
        """Have an order and its cancellation come in either order, or at once."""
        new = self._new("shop")
        steps = [self._shop(*new), self._shop(*new, cancelled=True)]
        if self._dice.random() < 0.5:
            await steps[0]
            await asyncio.sleep(self._dice.choice([0.0, 0.5, 4.0, 8.0]))
            await steps[1]
        else:
            await asyncio.gather(*reversed(steps))

    # ---------------------------------------------------------------------------------------------------- what they say

    def _new(self, channel: str) -> tuple[str, str, int]:
        """Draw an order: its id, what, and how many. Of the rare one nobody buys more than one."""
        self._serial += 1
        rare = self._dice.random() < 0.1
        order = f"{self._prefix}{self._serial:06}"
        units = 1 if rare else self._dice.choice([1, 1, 2, 3])
        return order if channel == "till" else str(int(order)), RARE if rare else self._dice.choice(PLENTY), units

    async def _hold(self, order: str, sku: str, units: int) -> bool:
        body = {"id": f"h-{order}", "lines": [{"sku": sku, "quantity": units}], "ttl_ms": 3000}
        return await self._ask("hold", order, lambda: self._till("POST", "/v1/holds", body)) < 300

    async def _order(self, order: str, sku: str, units: int, *, hold_id: str = "") -> int:
        line = {"sku": sku, "quantity": units, "unit_price": PRICE}
        body = {"id": order, "currency": "EUR", "lines": [line], "total": units * PRICE, "hold_id": hold_id}
        told = {"channel": self._till_name, "sku": sku, "units": units, "total": units * PRICE}
        return await self._ask("order", order, lambda: self._till("POST", "/v1/orders", body), **told)

    async def _shop(self, order: str, sku: str, units: int, *, cancelled: bool = False) -> int:
        body = json.dumps(shopify_order(int(order), sku, units, cancelled=cancelled)).encode()
        proof = base64.b64encode(hmac.new(self._secret.encode(), body, hashlib.sha256).digest()).decode()
        headers = {"Content-Type": "application/json", "X-Shopify-Hmac-Sha256": proof}
        told = {"channel": self._shop_name, "sku": sku, "units": units, "total": units * PRICE}
        what = "call_off" if cancelled else "order"
        return await self._ask(
            what, order, lambda: self._post("POST", f"/webhooks/{self._shop_name}", body, headers), **told
        )

    async def _till(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        return await self._post(method, path, data, headers)

    async def _post(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, str]:
        async with self._http.request(method, self._base + path, data=body, headers=headers) as answer:
            return answer.status, (await answer.read()).decode(errors="replace")[:200]

    async def _ask(self, what: str, order: str, send: Callable[[], Awaitable[tuple[int, str]]], **told: object) -> int:
        """Ask until there is an answer other than 5xx, and write it down; 599 if there never was one."""
        self._ledger.note("sent", that=what, order=order, **told)
        await self._ledger.flushed()
        tries = 0
        while time.monotonic() < self._until_s:
            tries += 1
            try:
                status, said = await send()
            except (aiohttp.ClientError, TimeoutError) as error:
                status, said = 0, type(error).__name__
            if 0 < status < 500:
                self._ledger.note(
                    "answered", that=what, order=order, status=status, said=said, tries=tries, at_s=time.time()
                )
                await self._ledger.flushed()
                return status
            self._ledger.note("unanswered", that=what, order=order, status=status, said=said, at_s=time.time())
            await asyncio.sleep(self._dice.uniform(0.3, 1.2) * min(tries, self._slower))
        return 599


def shopify_order(number: int, sku: str, units: int, *, cancelled: bool) -> dict[str, Any]:
    """Write an order as Shopify does (Admin REST, 2026-10): prices are text, amounts of the whole order repeat."""
    price, total = f"{PRICE / 100:.2f}", f"{units * PRICE / 100:.2f}"
    later = datetime.fromtimestamp(1_795_000_000 + number % 100_000 + cancelled, UTC).isoformat()
    line = {"id": number, "sku": sku, "variant_id": 1, "name": sku, "quantity": units, "current_quantity": units}
    return {
        "id": number,
        "admin_graphql_api_id": f"gid://shopify/Order/{number}",
        "name": f"#{number}",
        "created_at": datetime.fromtimestamp(1_795_000_000 + number % 100_000, UTC).isoformat(),
        "updated_at": later,
        "cancelled_at": later if cancelled else None,
        "financial_status": "paid",
        "currency": "EUR",
        "taxes_included": True,
        "test": False,
        "total_price": total,
        "current_total_price": total,
        "total_tax": "0.00",
        "current_total_tax": "0.00",
        "line_items": [line | {"price": price, "requires_shipping": True, "discount_allocations": []}],
        "shipping_lines": [],
        "shipping_address": {
            "name": "A B",
            "address1": "Lane 1",
            "city": "Bonn",
            "zip": "53111",
            "country_code": "DE",
        },
        "refunds": [],
    }


async def run(wish: dict[str, Any]) -> None:
    timeout = aiohttp.ClientTimeout(PATIENCE_S, sock_connect=1.0)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=400), timeout=timeout) as http:
        await Seller(wish, http).run()


def main(arguments: Sequence[str]) -> None:
    asyncio.run(run(json.loads(arguments[0])))


if __name__ == "__main__":
    main(sys.argv[1:])
