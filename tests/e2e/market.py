"""Three simulated shops around one daemon (two Shopify, one WooCommerce), and a till that asks before it sells."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from redis.asyncio import Redis

from flashd.domain.catalogue import Entry
from flashd.store.listings import RedisListings
from flashd.store.orderbook import RedisOrderBook
from tests.e2e.process import Flashd
from tests.servers import Server
from tests.shops.shopify import SimulatedShopify
from tests.shops.woocommerce import SimulatedWooCommerce

CHANNELS = ("north", "south", "woo")
PATIENCE_S = 60.0
TILL = "a token of the till"

_CONFIG = """
[store]
url = "unix://{socket}"
state_dir = "{state}"
[intake]
listen = "127.0.0.1:{{intake}}"
[admin]
listen = "127.0.0.1:{{admin}}"
[logs]
level = "warning"
[pools.main]
customer_key = {{ file = "customer.key" }}
{channels}
[channels.till]
kind = "native"
tokens = [{{ name = "till", secret = {{ file = "till.token" }} }}]
[backends.erp]
kind = "http"
url = "http://127.0.0.1:9/orders"
[[routes]]
backend = "erp"
"""
_SHOPIFY = """
[channels.{name}]
kind = "shopify"
secrets = [{{ file = "{name}.secret" }}]
url = "{url}"
access_token = {{ file = "{name}.access" }}
poll_s = {poll_s}
since = 2020-01-01T00:00:00Z
[channels.{name}.publish]
{publish}
"""
_WOO = """
[channels.woo]
kind = "woocommerce"
secrets = [{{ file = "woo.secret" }}]
url = "{url}"
consumer_key = {{ file = "woo.key" }}
consumer_secret = {{ file = "woo.consumer" }}
poll_s = {poll_s}
since = 2020-01-01T00:00:00Z
[channels.woo.publish]
{publish}
"""


class Away(Exception):  # noqa: N818  # it says what is the matter
    """The daemon cannot answer now: send the same id again."""


class Market:
    """The shops, the daemon, and the hand that sells; every figure is asked of the shops, not of flashd."""

    def __init__(
        self,
        folder: Path,
        server: Server,
        skus: Sequence[str],
        *,
        mode: str = "escrow",
        poll_s: float = 2.0,
        publish: str = 'rate = "50/s"\ndoubt_s = 3.0',
    ) -> None:
        self.folder = folder
        self.skus = list(skus)
        self._server = server
        self._publish = f'mode = "{mode}"\n{publish}'
        self._poll_s = poll_s
        self.shopify = {name: SimulatedShopify(folder, "--restore", "2000", name=name) for name in ("north", "south")}
        self.woo = SimulatedWooCommerce(folder)
        self.flashd: Flashd
        self._http: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def open(self, stock: int) -> AsyncIterator[Market]:
        """Start everything, with so many units of each SKU on hand, and wait until every channel shows something."""
        async with contextlib.AsyncExitStack() as stack:
            for shop in self.shopify.values():
                stack.callback(shop.close)
                shop.start()
                await stack.enter_async_context(shop)
            stack.callback(self.woo.close)
            self.woo.start()
            self._write_secrets()
            channels = "".join(self._section(name) for name in CHANNELS)
            self.flashd = Flashd(
                self.folder,
                _CONFIG.format(socket=self._server.socket_path, state=self.folder / "state", channels=channels),
            )
            stack.callback(self.flashd.close)
            entries = await self._fill()
            client = Redis(unix_socket_path=self._server.socket_path)
            await client.flushall()
            await client.aclose()
            self.flashd.start()
            await self._map(entries)
            self._http = await stack.enter_async_context(
                aiohttp.ClientSession(f"http://127.0.0.1:{self.flashd.intake}")
            )
            await self._subscribe()
            rows = "sku,on_hand\n" + "".join(f"{sku},{stock}\n" for sku in self.skus)
            await asyncio.to_thread(
                self.flashd.call,
                "POST",
                "/admin/v1/stock/import",
                rows.encode(),
                {"Content-Type": "text/csv"},
                port=self.flashd.admin,
                timeout=120,
            )
            yield self

    def _section(self, name: str) -> str:
        if name == "woo":
            return _WOO.format(url=self.woo.url, poll_s=self._poll_s, publish=self._publish)
        return _SHOPIFY.format(name=name, url=self.shopify[name].url, poll_s=self._poll_s, publish=self._publish)

    def _write_secrets(self) -> None:
        secrets = {"customer.key": "k" * 32, "till.token": TILL, "woo.secret": "a webhook secret"}
        secrets |= {"woo.key": self.woo.key, "woo.consumer": self.woo.secret}
        for name, shop in self.shopify.items():
            secrets |= {f"{name}.secret": shop.secret, f"{name}.access": shop.token}
        for name, text in secrets.items():
            (self.folder / name).write_text(text)
            (self.folder / name).chmod(0o600)

    async def _fill(self) -> dict[str, list[Entry]]:
        """Put the products on every shelf, with none in stock; return the map of each channel."""
        found = {}
        for name, shop in self.shopify.items():
            told = await shop.create(*({"sku": sku, "stock": 0, "price": 1000} for sku in self.skus))
            found[name] = [_entry(one) for one in told["products"]]
        ids = self.woo.stock(**dict.fromkeys(self.skus, 0))
        found["woo"] = [Entry(sku=sku, ids={"product": str(number)}) for sku, number in ids.items()]
        return found

    async def _map(self, entries: dict[str, list[Entry]]) -> None:
        client = Redis(unix_socket_path=self._server.socket_path)
        listings = RedisListings(client, "main")
        for name, found in entries.items():
            await listings.place(name, found, by="test")
        await client.aclose()

    async def _subscribe(self) -> None:
        base = f"http://127.0.0.1:{self.flashd.intake}/webhooks"
        for name, shop in self.shopify.items():
            await shop.subscribe(f"{base}/{name}", ("orders/create", "orders/updated"))
        await asyncio.to_thread(self.woo.subscribe, f"{base}/woo")

    # ------------------------------------------------------------------------------------------------------ selling

    async def sell(self, channel: str, sku: str, quantity: int = 1) -> bool:
        """Let a shop sell from its own figure; say whether it had enough."""
        if channel == "woo":
            answer = await asyncio.to_thread(self.woo.buy, sku, quantity)
            return "id" in answer
        return await self.shopify[channel].sell(sku, quantity) is not None

    async def hold_and_order(self, order_id: str, sku: str, quantity: int = 1) -> bool:
        """Sell at the till, which asks first; say whether it got a hold."""
        body = {"id": order_id, "lines": [{"sku": sku, "quantity": quantity}]}
        status, _ = await self.native("POST", "/v1/holds", body)
        if status == 409:
            return False
        assert status in (200, 201), status
        order = {
            "id": order_id,
            "hold_id": order_id,
            "currency": "EUR",
            "total": 1000 * quantity,
            "status": "paid",
            "lines": [{"sku": sku, "quantity": quantity, "unit_price": 1000}],
        }
        status, answer = await self.native("POST", "/v1/orders", order)
        assert status in (200, 201), answer
        return True

    async def native(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Call the native API as the till."""
        assert self._http is not None
        data = None if body is None else msgspec.json.encode(body)
        headers = {"Authorization": "Bearer " + TILL, "Content-Type": "application/json"}
        async with self._http.request(method, path, data=data, headers=headers) as reply:
            if reply.status == 503:
                raise Away
            return reply.status, msgspec.json.decode(await reply.read())

    # ----------------------------------------------------------------------------------------------------- watching

    async def figures(self) -> dict[str, dict[str, int]]:
        """Return what every shop shows, asked of the shops."""
        found: dict[str, dict[str, int]] = {}
        for name, shop in self.shopify.items():
            found[name] = {}
            for level in (await shop.books())["levels"]:
                found[name][level["sku"]] = found[name].get(level["sku"], 0) + level["available"]
        books = await asyncio.to_thread(lambda: self.woo.books)
        found["woo"] = {sku: int(units or 0) for sku, units in books["stock"].items()}
        return found

    async def levels(self) -> dict[str, dict[str, Any]]:
        """Return flashd's counters by SKU."""
        answer = await asyncio.to_thread(self.flashd.ask_admin, "GET", "/admin/v1/stock")
        return {row["sku"]: row for row in answer["levels"]}

    async def accepted(self) -> dict[str, float]:
        """Return every order in flashd with the seconds from its placing until it was accepted."""
        client = Redis(unix_socket_path=self._server.socket_path)
        book = RedisOrderBook(client, "main")
        found: dict[str, float] = {}
        offset = 0
        while page := await book.page(offset=offset, limit=1000):
            offset += len(page)
            for record in page:
                assert record.order is not None
                assert str(record.ref) not in found
                found[str(record.ref)] = (record.accepted_ms - record.order.placed_ms) / 1000
        await client.aclose()
        return found

    async def said(self) -> set[str]:
        """Return the kinds of all events so far."""
        client: Any = Redis(unix_socket_path=self._server.socket_path)
        kinds = {fields[b"k"].decode() for _, fields in await client.xrange("fd:{main}:j")}
        await client.aclose()
        return kinds

    async def until(self, holds: Callable[[dict[str, dict[str, int]]], bool], within_s: float = PATIENCE_S) -> float:
        """Wait until the shops' figures are so; return how long it took."""
        began = time.monotonic()
        while True:
            figures = await self.figures()
            if holds(figures):
                return time.monotonic() - began
            assert time.monotonic() - began < within_s, (figures, self.flashd.log.read_text()[-3000:])
            await asyncio.sleep(0.1)  # other processes: there is no signal to wait for


def _entry(made: dict[str, Any]) -> Entry:
    return Entry(sku=made["sku"], ids={"variant": str(made["variant"]), "inventory_item": str(made["item"])})
