"""
A simulated WooCommerce shop, as a process of its own: it sells, and lowers its own stock when it does.

``/wp-json/wc/v3`` is the vendor's REST API; ``/sim`` is the hand that plays customers, humans and accidents. It
announces its address on stdout as one line of JSON and ends with SIGTERM. Nothing is kept beyond that.

=====================================  ===========================================================================
``POST /sim/products``                 a list of products, each with sku, stock, regular_price, backorders, variations
``POST /sim/orders``                   a list of purchases, each {lines: [{sku, quantity}], status}; an answer for each
``POST /sim/orders/{id}/status``       {status}: pay, cancel, refund, bin
``POST /sim/edit``                     {sku, and any of stock_quantity, manage_stock, backorders, prices}: by a human
``POST /sim/knobs``                    {webhooks: {...}, api: {...}, next: {...}, clock_offset_s, plugin_statuses}
``POST /sim/clear``                    everything is forgotten: products, orders, webhooks, knobs, counts
``POST /sim/webhooks-off``             {seconds}: all webhooks are disabled for that long
``GET /sim/books``                     stock, orders, calls, deliveries
``GET /sim/log``                       the newest deliveries of webhooks, each with what became of it
``GET /sim/orders``                    all orders in short
``GET /sim/moves/{sku}``               what moved one stock figure
=====================================  ===========================================================================
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from typing import Any

import click
import msgspec
from aiohttp import web

from flashd.demo.arrival import listen
from flashd.demo.woo_rest import NextCalls, RestDesk
from flashd.demo.woo_shop import Refusal, Short, WooOrder, WooShop
from flashd.demo.woo_webhooks import WebhookDesk

_LARGEST = 16 * 1024 * 1024


class SimDesk:
    """Answers ``/sim``."""

    def __init__(self, shop: WooShop, webhooks: WebhookDesk, rest: RestDesk) -> None:
        self._shop = shop
        self._webhooks = webhooks
        self._rest = rest

    def routes(self) -> list[web.RouteDef]:
        """Return the paths that it answers."""
        return [
            web.post("/sim/products", self.products),
            web.post("/sim/orders", self.purchases),
            web.get("/sim/orders", self.orders),
            web.post("/sim/orders/{id:[0-9]+}/status", self.status),
            web.post("/sim/edit", self.edit),
            web.post("/sim/knobs", self.turn),
            web.post("/sim/clear", self.clear),
            web.post("/sim/webhooks-off", self.webhooks_off),
            web.get("/sim/books", self.books),
            web.get("/sim/log", self.log),
            web.get("/sim/moves/{sku:.+}", self.moves),
        ]

    async def products(self, request: web.Request) -> web.Response:
        """Create products; answer with the id of every SKU."""
        for entry in await _body(request):
            self._shop.add_product(entry)
        return _json({product.sku: product.id for product in self._shop.products.values() if product.sku})

    async def purchases(self, request: web.Request) -> web.Response:
        """Let customers buy, one after the other: the id of each order, or what was short."""
        answers: list[dict[str, Any]] = []
        for purchase in await _body(request):
            lines = [(line["sku"], int(line["quantity"])) for line in purchase["lines"]]
            try:
                order = self._shop.place(lines, status=purchase.get("status", "processing"))
            except Short as short:
                answers.append({"short": short.skus})
            else:
                answers.append({"id": order.id, "status": order.status})
        return _json(answers)

    async def status(self, request: web.Request) -> web.Response:
        """Move an order."""
        order = self._shop.orders.get(int(request.match_info["id"]))
        if order is None:
            raise Refusal("sim", "there is no such order", 404)
        self._shop.change_status(order, (await _body(request))["status"])
        return _json(_shown(order))

    async def edit(self, request: web.Request) -> web.Response:
        """Let a human edit a product."""
        fields = await _body(request)
        product = self._shop.by_sku(fields.pop("sku"))
        if product is None:
            raise Refusal("sim", "there is no such SKU", 404)
        self._shop.update_product(product, fields, by="human")
        return _json({"stock": self._shop.holder(product).stock})

    async def turn(self, request: web.Request) -> web.Response:
        """Turn knobs; answer with how they stand."""
        asked = await _body(request)
        try:
            for desk, name in ((self._webhooks, "webhooks"), (self._rest, "api")):
                stood = msgspec.to_builtins(desk.knobs)
                desk.knobs = msgspec.convert(stood | asked.pop(name, {}), type(desk.knobs))
            if "next" in asked:
                self._rest.next = msgspec.convert(asked.pop("next"), NextCalls)
        except msgspec.ValidationError as error:
            raise Refusal("sim", str(error), 400) from None
        self._shop.plugin_statuses = set(asked.pop("plugin_statuses", self._shop.plugin_statuses))
        self._shop.clock_offset_s = float(asked.pop("clock_offset_s", self._shop.clock_offset_s))
        if asked:
            raise Refusal("sim", f"there is no knob {sorted(asked)}", 400)
        return _json({"webhooks": self._webhooks.knobs, "api": self._rest.knobs, "next": self._rest.next})

    async def webhooks_off(self, request: web.Request) -> web.Response:
        """Disable all webhooks for a time."""
        self._webhooks.switch_off(float((await _body(request))["seconds"]))
        return _json({})

    async def clear(self, _request: web.Request) -> web.Response:
        """Begin anew."""
        for desk in (self._shop, self._webhooks, self._rest):
            desk.clear()
        return _json({})

    async def books(self, _request: web.Request) -> web.Response:
        """Tell all that a test wants to add up."""
        orders = self._shop.orders.values()
        sold: Counter[str] = Counter()
        for order in orders:
            if order.status in {"processing", "on-hold", "completed"}:
                for line in order.lines:
                    sold[line.product.sku] += line.quantity
        stock = {one.sku: one.stock for one in self._shop.products.values() if one.sku and one.manage_stock is True}
        return _json(
            {
                "stock": stock,
                "sold": sold,
                "orders": Counter(order.status for order in orders),
                "refused": self._shop.refused,
                "calls": self._rest.calls,
                "deliveries": self._webhooks.counts,
                "webhooks": {one.id: one.status for one in self._webhooks.webhooks.values()},
                "idle": self._webhooks.idle,
            }
        )

    async def log(self, _request: web.Request) -> web.Response:
        """List the newest deliveries."""
        return _json(list(self._webhooks.log))

    async def orders(self, _request: web.Request) -> web.Response:
        """List every order in short."""
        return _json([_shown(order) for order in self._shop.orders.values()])

    async def moves(self, request: web.Request) -> web.Response:
        """Tell what moved one figure, oldest first."""
        product = self._shop.by_sku(request.match_info["sku"])
        return _json([] if product is None else self._shop.holder(product).moves)


def _shown(order: WooOrder) -> dict[str, Any]:
    return {
        "id": order.id,
        "status": order.status,
        "created_s": order.created_s,
        "modified_s": order.modified_s,
        "lines": [{"sku": line.product.sku, "quantity": line.quantity} for line in order.lines],
    }


async def _body(request: web.Request) -> Any:
    try:
        return msgspec.json.decode(await request.read())
    except msgspec.MsgspecError as error:
        raise Refusal("sim", str(error), 400) from None


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")


@web.middleware
async def _told(request: web.Request, handler: Any) -> web.StreamResponse:
    """Answer what is wrong with a call of ``/sim``; the REST API says so itself."""
    try:
        reply: web.StreamResponse = await handler(request)
    except Refusal as refusal:
        return _json({"error": refusal.message}, refusal.status)
    except (KeyError, TypeError, ValueError) as error:
        return _json({"error": f"{type(error).__name__}: {error}"}, 400)
    return reply


async def serve(*, port: int, key: str, secret: str, seed: int, read_only: bool, currency: str) -> None:
    """Run until SIGTERM or SIGINT; announce the address on stdout as one line of JSON."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    listening = listen(port)
    home = f"http://127.0.0.1:{listening.getsockname()[1]}"
    shop = WooShop(currency=currency)
    webhooks = WebhookDesk(shop, home=home, seed=seed)
    shop.told = webhooks.tell
    rest = RestDesk(shop, webhooks, home=home, key=key, secret=secret, seed=seed, read_only=read_only)
    app = web.Application(client_max_size=_LARGEST, middlewares=[_told])
    app.add_routes([*rest.routes(), *SimDesk(shop, webhooks, rest).routes()])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01, handle_signals=False)
    await runner.setup()
    await web.SockSite(runner, listening).start()
    click.echo(msgspec.json.encode({"url": home, "port": listening.getsockname()[1]}).decode())
    await stopping.wait()
    await webhooks.close()
    await runner.cleanup()


@click.command()
@click.option("--port", default=0, show_default=True, help="Port on loopback; 0 takes a free one and announces it.")
@click.option("--key", default="ck_sim", show_default=True, help="The consumer key of its REST API.")
@click.option("--secret", default="cs_sim", show_default=True, help="The consumer secret.")
@click.option("--read-only", is_flag=True, help="That key may only read.")
@click.option("--currency", default="EUR", show_default=True, help="What it sells in.")
@click.option("--seed", default=0, show_default=True, help="Repeats the accidents.")
def main(*, port: int, key: str, secret: str, read_only: bool, currency: str, seed: int) -> None:
    """Run a simulated WooCommerce shop on loopback."""
    asyncio.run(serve(port=port, key=key, secret=secret, seed=seed, read_only=read_only, currency=currency))


if __name__ == "__main__":
    main()
