"""
A simulated Shopify, as a process of its own: ``python -m flashd.demo.simulated_shopify``.

It has the Admin GraphQL API under ``/admin/api/<version>/graphql.json`` and signed webhooks; it sells from its own
stock, as the real one does, whenever somebody asks it to over its control API:

    POST /sim/products       {"sku", "stock", "price", "policy", ...} or a list of them
    POST /sim/sell           {"sku", "quantity"} or {"lines": [...]}: 201 with the order, 409 when it is sold out
    POST /sim/orders/{id}/edit|refund {"quantities": {sku: n}, "restock"}   /cancel {"restock"}   /mark {"status", ...}
    POST /sim/stock          {"sku", "available"}: a human's edit
    POST /sim/subscribe      {"topics": [...], "uri"}      POST /sim/unsubscribe {"topic"}
    POST /sim/faults         what goes wrong from now on
    GET  /sim/books          all orders and levels, with their history      GET /sim/stats   the counters alone

Everything it does is in its books; a test asks them, and not the daemon, what was really sold.
"""

from __future__ import annotations

import asyncio
import hmac
import random
import signal
from typing import Any

import click
import msgspec
from aiohttp import web

from flashd.demo.arrival import listen
from flashd.demo.shopify_admin import Admin, Bucket
from flashd.demo.shopify_body import rest_order
from flashd.demo.shopify_books import Books, Level, RefusedError, Sold
from flashd.demo.shopify_reading import SCOPES
from flashd.demo.shopify_schema import API_VERSION
from flashd.demo.shopify_webhooks import Mischief, Webhooks

TOKEN = "shpat_demo"  # noqa: S105  # of a shop that does not exist
SECRET = "shpss_demo"  # noqa: S105  # as above


class Faults(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What goes wrong from now on; fractions of 1 are thrown by the seeded dice, counts are of the next calls."""

    webhooks: Mischief = msgspec.field(default_factory=Mischief)
    lose_replies: float = 0.0  # applied, and the connection is cut
    lose_next: int = 0
    fail: float = 0.0  # 503 before anything was applied
    fail_next: int = 0
    fail_after_next: int = 0  # applied, and answered 502
    reset_next: int = 0  # cut before anything was applied
    latency_ms: tuple[int, int] = (0, 0)
    index_lag_s: float = 0.0  # how far the search for orders is behind
    token: str = ""  # a new access token: the old one is answered 401
    scopes: tuple[str, ...] = SCOPES  # of the app


class Shop:
    """The doors of the shop: its API for apps, and its control API for tests."""

    def __init__(self, books: Books, webhooks: Webhooks, bucket: Bucket, *, seed: int) -> None:
        self._books = books
        self._webhooks = webhooks
        self._admin = Admin(books, webhooks, bucket)
        self._faults = Faults()
        self._token = TOKEN
        self._dice = random.Random(seed)  # noqa: S311  # dice, not secrets

    def application(self) -> web.Application:
        """Return the routes."""
        app = web.Application(client_max_size=4 * 1024 * 1024)
        app.router.add_post("/admin/api/{version}/graphql.json", self.graphql)
        app.router.add_post("/sim/products", self.products)
        app.router.add_post("/sim/sell", self.sell)
        app.router.add_post("/sim/orders/{id}/{action}", self.change)
        app.router.add_post("/sim/stock", self.stock)
        app.router.add_post("/sim/subscribe", self.subscribe)
        app.router.add_post("/sim/unsubscribe", self.unsubscribe)
        app.router.add_post("/sim/faults", self.faults)
        app.router.add_get("/sim/books", self.books)
        app.router.add_get("/sim/orders/{id}", self.order)
        app.router.add_get("/sim/stats", self.stats)
        return app

    # ------------------------------------------------------------------------------------------------------- for apps

    async def graphql(self, request: web.Request) -> web.StreamResponse:
        """Answer one call of the Admin API, or fail to."""
        offered = request.headers.get("X-Shopify-Access-Token", "")
        if not hmac.compare_digest(offered.encode(), self._token.encode()):
            text = "[API] Invalid API key or access token (unrecognized login or wrong password)"
            return _json({"errors": text}, 401)
        body = await request.read()
        await asyncio.sleep(self._dice.uniform(*self._faults.latency_ms) / 1000)
        if self._strikes("reset_next"):
            return _hang_up(request)
        if self._strikes("fail_next", "fail"):
            return _page(503, "Service Unavailable")
        answer = self._answered(body)
        if self._strikes("fail_after_next"):
            return _page(502, "Bad Gateway")
        if self._strikes("lose_next", "lose_replies"):
            self._admin.calls["lost"] += 1
            return _hang_up(request)
        return answer

    def _answered(self, body: bytes) -> web.Response:
        try:
            asked = msgspec.json.decode(body, type=dict[str, Any])
        except msgspec.MsgspecError:
            return _json({"errors": {"query": "Required parameter missing or invalid"}}, 400)
        answer = _json(self._admin.answer(str(asked.get("query", "")), asked.get("variables") or {}))
        answer.headers["X-Shopify-API-Version"] = API_VERSION
        return answer

    def _strikes(self, count: str, fraction: str = "") -> bool:
        left = getattr(self._faults, count)
        if left > 0:
            setattr(self._faults, count, left - 1)
            return True
        return bool(fraction) and self._dice.random() < getattr(self._faults, fraction)

    # ------------------------------------------------------------------------------------------------------ for tests

    async def products(self, request: web.Request) -> web.Response:
        """Put products on sale."""
        told = msgspec.json.decode(await request.read())
        made = [self._books.create_product(product) for product in (told if isinstance(told, list) else [told])]
        shown = [
            {"sku": variant.sku, "variant": variant.id, "item": variant.item, "product": variant.product}
            for variant in made
        ]
        return _json({"products": shown, "locations": self._books.locations}, 201)

    async def sell(self, request: web.Request) -> web.Response:
        """Sell, tell of it, and return the order as a webhook has it."""
        try:
            order = self._books.sell(msgspec.json.decode(await request.read()))
        except RefusedError as error:
            return _json({"error": str(error)}, error.status)
        self._tell(order, "ORDERS_CREATE", *(["ORDERS_PAID"] if order.status == "paid" else []))
        return _json(rest_order(order), 201)

    async def change(self, request: web.Request) -> web.Response:
        """Edit, refund, cancel or mark an order."""
        asked = msgspec.json.decode(await request.read() or b"{}")
        number, action = int(request.match_info["id"]), request.match_info["action"]
        restock = bool(asked.get("restock", True))
        try:
            if action == "cancel":
                self._tell(self._books.cancel(number, restock=restock), "ORDERS_CANCELLED", "ORDERS_UPDATED")
            elif action in {"edit", "refund"}:
                refund = action == "refund"
                order = self._books.edit(number, asked["quantities"], restock=restock, refund=refund)
                self._tell(order, "ORDERS_UPDATED")
            elif action == "mark":
                order = self._books.mark(number, asked)
                self._tell(order, "ORDERS_UPDATED", *(["ORDERS_PAID"] if asked.get("status") == "paid" else []))
            else:
                return _json({"error": "edit, refund, cancel or mark"}, 404)
        except RefusedError as error:
            return _json({"error": str(error)}, error.status)
        return _json(rest_order(self._books.orders[number]))

    def _tell(self, order: Sold, *topics: str) -> None:
        self._webhooks.order_changed(order, *topics)
        for line in order.lines:
            for location in line.taken:
                self._webhooks.level_changed(self._books.levels[line.variant.item, location])

    async def stock(self, request: web.Request) -> web.Response:
        """Let a human change what is available."""
        asked = msgspec.json.decode(await request.read())
        variant = self._books.by_sku.get(asked["sku"])
        if variant is None:
            return _json({"error": "there is no such SKU"}, 404)
        location = asked.get("location", self._books.locations[0])
        level = self._books.levels[variant.item, location]
        to = int(asked["available"]) if "available" in asked else level.available + int(asked["delta"])
        self._webhooks.level_changed(self._books.set_available(variant.item, location, to, "human"))
        return _json(self._shown(level))

    async def subscribe(self, request: web.Request) -> web.Response:
        """Add subscriptions."""
        asked = msgspec.json.decode(await request.read())
        for topic in asked["topics"]:
            self._webhooks.subscribe(topic.upper().replace("/", "_"), asked["uri"])
        return _json(self._webhooks.shown())

    async def unsubscribe(self, request: web.Request) -> web.Response:
        """Delete subscriptions: those of a topic, or all."""
        asked = msgspec.json.decode(await request.read() or b"{}")
        self._webhooks.unsubscribe(str(asked.get("topic", "")).upper().replace("/", "_"))
        return _json(self._webhooks.shown())

    async def faults(self, request: web.Request) -> web.Response:
        """Take the whole list of what goes wrong; what is not in it goes right again."""
        try:
            self._faults = msgspec.json.decode(await request.read(), type=Faults)
        except msgspec.MsgspecError as error:
            return _json({"error": str(error)}, 400)
        self._webhooks.mischief = self._faults.webhooks
        self._admin.reading.index_lag_s = self._faults.index_lag_s
        self._token = self._faults.token or TOKEN
        self._admin.reading.scopes = [{"handle": name} for name in self._faults.scopes]
        return _json(msgspec.to_builtins(self._faults))

    async def books(self, request: web.Request) -> web.Response:  # noqa: ARG002  # aiohttp's signature
        """Show everything."""
        orders = [rest_order(order) for order in self._books.orders.values()]
        levels = [self._shown(level, history=True) for level in self._books.levels.values()]
        return _json({"orders": orders, "levels": levels, **self._counters()})

    async def order(self, request: web.Request) -> web.Response:
        """Show one order as a webhook has it."""
        order = self._books.orders.get(int(request.match_info["id"]))
        return _json({"error": "there is no such order"}, 404) if order is None else _json(rest_order(order))

    async def stats(self, request: web.Request) -> web.Response:  # noqa: ARG002  # as above
        """Show the counters."""
        return _json(self._counters())

    def _counters(self) -> dict[str, Any]:
        return {"calls": dict(self._admin.calls), "webhooks": self._webhooks.shown(), "sold": len(self._books.orders)}

    def _shown(self, level: Level, *, history: bool = False) -> dict[str, Any]:
        variant = self._books.variant_of_item(level.item)
        shown = {
            "sku": variant.sku if variant else "",
            "item": level.item,
            "location": level.location,
            "available": level.available,
            "committed": level.committed,
        }
        return shown | ({"history": level.history} if history else {})


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")


def _page(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=f"<html>{text}</html>", content_type="text/html")


def _hang_up(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()  # goes nowhere: the connection is gone


async def serve(shop: Shop, webhooks: Webhooks, port: int) -> None:
    """Run until SIGTERM or SIGINT; announce the address on stdout as one line of JSON."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    runner = web.AppRunner(shop.application(), access_log=None, shutdown_timeout=0.01, handle_signals=False)
    await runner.setup()
    await web.SockSite(runner, listen(port)).start()
    port = runner.addresses[0][1]
    told = {"port": port, "url": f"http://127.0.0.1:{port}", "token": TOKEN, "secret": SECRET}
    click.echo(msgspec.json.encode(told).decode())
    await stopping.wait()
    await webhooks.close()
    await runner.cleanup()


@click.command()
@click.option("--port", default=0, show_default=True, help="Port on loopback; 0 takes a free one and announces it.")
@click.option("--locations", default=1, show_default=True, help="How many locations have stock.")
@click.option("--points", default=2000.0, show_default=True, help="Size of the bucket of query cost.")
@click.option("--restore", default=100.0, show_default=True, help="Points that come back in a second.")
@click.option("--seed", default=0, show_default=True, help="Throws the dice of the faults.")
@click.option("--shrink", default=1.0, show_default=True, help="Times between repeated webhooks are multiplied by it.")
@click.option("--distinct-times", is_flag=True, help="No two versions of an order within one second.")
def main(
    *, port: int, locations: int, points: float, restore: float, seed: int, shrink: float, distinct_times: bool
) -> None:
    """Run a simulated Shopify on loopback."""
    books = Books(locations=locations, distinct_times=distinct_times)
    webhooks = Webhooks(SECRET, seed=seed, shrink=shrink)
    shop = Shop(books, webhooks, Bucket(points, restore), seed=seed + 1)
    asyncio.run(serve(shop, webhooks, port))


if __name__ == "__main__":
    main()
