"""
WooCommerce's REST API v3, as far as stock, orders and webhooks go, with faults on demand.

Facts from woocommerce/woocommerce, includes/rest-api/Controllers: pages of at most 100 with X-WP-Total and
X-WP-TotalPages; a batch of at most 100 (413 above) that answers 200 with an error in the place of an item that failed;
``modified_after`` is exclusive, and a time *with* an offset is turned into local time before it is compared with the
GMT column; ``include`` on products finds no variations, ``sku`` does; status ``any`` leaves out the bin.

Real WooCommerce takes basic authentication over TLS only. This one stands on loopback as if behind a proxy that ended
TLS.
"""

from __future__ import annotations

import asyncio
import base64
import random
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from typing import Any

import msgspec
from aiohttp import web

from flashd.demo.woo_documents import order_document, php_json, product_document, webhook_document
from flashd.demo.woo_shop import STATUSES, Product, Refusal, WooShop, gmt_s
from flashd.demo.woo_webhooks import WebhookDesk

ROOT = "/wp-json/wc/v3"
BATCH = 100
_LOCAL_S = 3600
_WEBHOOK_STATUSES = frozenset({"active", "paused", "disabled"})
Query = Mapping[str, str]


class ApiKnobs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens to API calls; fractions are of all calls."""

    lost_replies: float = 0.0  # done, and the connection is cut instead of an answer
    lost_requests: float = 0.0  # cut before anything is done
    errors: float = 0.0  # 500, nothing is done
    latency_s: tuple[float, float] = (0.0, 0.0)  # before anything is done
    rate_limit: int = 0  # calls in any second; beyond it the host answers 429. 0: no limit


class NextCalls(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Faults of the next calls, counted down; for tests that want exactly one."""

    lose_replies: int = 0
    lose_requests: int = 0
    errors: int = 0
    status: int = 500  # of those errors
    writes_only: bool = False


class RestDesk:
    """Answers the REST API."""

    def __init__(
        self, shop: WooShop, webhooks: WebhookDesk, *, home: str, key: str, secret: str, seed: int, read_only: bool
    ) -> None:
        self._shop = shop
        self._webhooks = webhooks
        self._home = home
        self._key = key
        self._login = "Basic " + base64.b64encode(f"{key}:{secret}".encode()).decode()
        self._read_only = read_only
        self._seed = seed + 1
        self.clear()

    def clear(self) -> None:
        """Set faults and counts back."""
        self._random = random.Random(self._seed)  # noqa: S311  # repeatable on purpose
        self._recent: deque[float] = deque()
        self.knobs = ApiKnobs()
        self.next = NextCalls()
        self.calls: Counter[str] = Counter()

    def routes(self) -> list[web.RouteDef]:
        """Return the paths that it answers."""
        table: list[tuple[str, str, Callable[[web.Request], Awaitable[web.Response]]]] = [
            ("GET", "/data/currencies/current", self._currency),
            ("GET", "/products", self._products),
            ("GET", "/products/{id:[0-9]+}", self._product),
            ("PUT", "/products/{id:[0-9]+}", self._write_product),
            ("POST", "/products/batch", self._batch),
            ("GET", "/products/{parent:[0-9]+}/variations", self._variations),
            ("PUT", "/products/{parent:[0-9]+}/variations/{id:[0-9]+}", self._write_product),
            ("POST", "/products/{parent:[0-9]+}/variations/batch", self._batch),
            ("GET", "/orders", self._orders),
            ("GET", "/reports/orders/totals", self._totals),
            ("GET", "/orders/{id:[0-9]+}", self._order),
            ("PUT", "/orders/{id:[0-9]+}", self._write_order),
            ("GET", "/webhooks", self._list_webhooks),
            ("POST", "/webhooks", self._subscribe),
            ("PUT", "/webhooks/{id:[0-9]+}", self._write_webhook),
        ]
        return [web.route(method, ROOT + path, self._guarded(path, answer)) for method, path, answer in table]

    # ----------------------------------------------------------------------------------------------------- the way in

    def _guarded(
        self, path: str, answer: Callable[[web.Request], Awaitable[web.Response]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            self.calls[f"{request.method} {path.partition(':')[0].replace('{id', '{id}')}"] += 1
            if not self._admitted():
                self.calls["429"] += 1
                return web.Response(status=429, text="<h1>Too Many Requests</h1>", headers={"Retry-After": "1"})
            fault = self._fault(request.method)
            arrived_s = self._shop.now_s()
            if self.knobs.latency_s[1] > 0:
                await asyncio.sleep(self._random.uniform(*self.knobs.latency_s))
            if fault == "lose_request":
                return _hang_up(request)
            if fault == "error":
                return self._refused(
                    Refusal("internal_server_error", "There has been a critical error.", self._status())
                )
            try:
                self._authenticate(request)
                reply = await answer(request)
            except Refusal as refusal:
                reply = self._refused(refusal)
            if fault == "lose_reply":
                return _hang_up(request)
            reply.headers["Date"] = formatdate(int(arrived_s), usegmt=True)  # as Apache: when the request came
            return reply

        return handle

    def _admitted(self) -> bool:
        if self.knobs.rate_limit <= 0:
            return True
        now = time.monotonic()
        while self._recent and self._recent[0] <= now - 1.0:
            self._recent.popleft()
        if len(self._recent) >= self.knobs.rate_limit:
            return False
        self._recent.append(now)
        return True

    def _fault(self, method: str) -> str:
        if not (self.next.writes_only and method == "GET"):
            for name in ("lose_replies", "lose_requests", "errors"):
                if getattr(self.next, name) > 0:
                    setattr(self.next, name, getattr(self.next, name) - 1)
                    return {"lose_replies": "lose_reply", "lose_requests": "lose_request", "errors": "error"}[name]
        drawn = self._random.random()
        for fault, share in (
            ("lose_reply", self.knobs.lost_replies),
            ("lose_request", self.knobs.lost_requests),
            ("error", self.knobs.errors),
        ):
            if drawn < share:
                return fault
            drawn -= share
        return ""

    def _status(self) -> int:
        return self.next.status

    def _authenticate(self, request: web.Request) -> None:
        offered = request.headers.get("Authorization", "")
        if not offered:
            raise Refusal("woocommerce_rest_cannot_view", "Sorry, you cannot list resources.", 401)
        if offered != self._login:
            known = base64.b64encode(f"{self._key}:".encode()).decode().rstrip("=")[:-1]
            what = "secret" if offered.startswith(f"Basic {known}") else "key"
            raise Refusal("woocommerce_rest_authentication_error", f"Consumer {what} is invalid.", 401)
        if self._read_only and request.method != "GET":
            message = "The API key provided does not have write permissions."
            raise Refusal("woocommerce_rest_authentication_error", message, 401)

    # ------------------------------------------------------------------------------------------------------- products

    async def _currency(self, _request: web.Request) -> web.Response:
        return self._json({"code": self._shop.currency, "name": self._shop.currency, "symbol": "&euro;"})

    async def _products(self, request: web.Request) -> web.Response:
        query = request.query
        found = list(self._shop.products.values())
        if query.get("sku"):
            skus = {*query["sku"].split(","), query["sku"]}
            found = [product for product in found if product.sku in skus]
        else:
            found = [product for product in found if product.type != "variation"]
        if query.get("type"):
            found = [product for product in found if product.type == query["type"]]
        return self._page(request, self._chosen(found, query), self._show)

    async def _variations(self, request: web.Request) -> web.Response:
        found = self._shop.variations(self._find(request.match_info["parent"]))
        return self._page(request, self._chosen(found, request.query), self._show)

    def _chosen(self, found: list[Product], query: Query) -> list[Product]:
        if query.get("include"):
            wanted = {int(text) for text in query["include"].split(",") if text.isdigit()}
            found = [product for product in found if product.id in wanted]
        newest = query.get("order", "desc") == "desc"
        by_id = query.get("orderby", "date") == "id"
        return sorted(found, key=lambda one: (0 if by_id else int(one.created_s), one.id), reverse=newest)

    async def _product(self, request: web.Request) -> web.Response:
        return self._json(self._show(self._find(request.match_info["id"])))

    async def _write_product(self, request: web.Request) -> web.Response:
        fields = await _object(request)
        return self._json(self._write(int(request.match_info["id"]), fields, request.match_info.get("parent")))

    async def _batch(self, request: web.Request) -> web.Response:
        items = (await _object(request)).get("update") or []
        if not items:
            return self._json([])
        if len(items) > BATCH:
            message = f"Unable to accept more than {BATCH} items for this request."
            raise Refusal("woocommerce_rest_request_entity_too_large", message, 413)
        answers = []
        for item in items:
            try:
                answers.append(self._write(int(item.get("id", 0)), item, request.match_info.get("parent")))
            except Refusal as refusal:
                answers.append({"id": item.get("id", 0), "error": _error(refusal)})
        return self._json({"update": answers})

    def _write(self, product_id: int, fields: dict[str, Any], parent: str | None) -> dict[str, Any]:
        kind = "product" if parent is None else "product_variation"
        product = self._shop.products.get(product_id)
        if product is None or (parent is not None and product.parent_id != int(parent)):
            raise Refusal(f"woocommerce_rest_{kind}_invalid_id", "Invalid ID.", 400 if parent is None else 404)
        if parent is None and product.type == "variation":
            message = (
                "To manipulate product variations you should use the /products/<product_id>/variations/<id> endpoint."
            )
            raise Refusal("woocommerce_rest_invalid_product_id", message, 404)
        self._shop.update_product(product, fields, by="api")
        return self._show(product)

    def _find(self, product_id: str) -> Product:
        product = self._shop.products.get(int(product_id))
        if product is None:
            raise Refusal("woocommerce_rest_product_invalid_id", "Invalid ID.", 404)
        return product

    def _show(self, product: Product) -> dict[str, Any]:
        return product_document(product, self._shop, self._home)

    # --------------------------------------------------------------------------------------------------------- orders

    async def _orders(self, request: web.Request) -> web.Response:
        query = request.query
        statuses = set(query.get("status", "any").split(","))
        if statuses - STATUSES - {"any", "checkout-draft", *self._shop.plugin_statuses}:
            raise Refusal("rest_invalid_param", "Invalid parameter(s): status", 400)
        found = [
            order
            for order in self._shop.orders.values()
            if (order.status != "trash" if "any" in statuses else order.status in statuses)
        ]
        if query.get("modified_after"):
            after = _compared(query["modified_after"], gmt=query.get("dates_are_gmt") == "true")
            found = [order for order in found if int(order.modified_s) > after]
        newest = query.get("order", "desc") == "desc"
        by_change = query.get("orderby", "date") == "modified"
        found.sort(key=lambda one: (int(one.modified_s if by_change else one.created_s), one.id), reverse=newest)
        return self._page(request, found, lambda order: order_document(order, self._shop, self._home))

    async def _totals(self, _request: web.Request) -> web.Response:
        counts = Counter(order.status for order in self._shop.orders.values())
        slugs = sorted(STATUSES - {"trash"} | {"checkout-draft", *self._shop.plugin_statuses})
        return self._json([{"slug": slug, "name": slug.title(), "total": counts[slug]} for slug in slugs])

    async def _order(self, request: web.Request) -> web.Response:
        order = self._shop.orders.get(int(request.match_info["id"]))
        if order is None:
            raise Refusal("woocommerce_rest_shop_order_invalid_id", "Invalid ID.", 404)
        return self._json(order_document(order, self._shop, self._home))

    async def _write_order(self, request: web.Request) -> web.Response:
        fields = await _object(request)
        order = self._shop.orders.get(int(request.match_info["id"]))
        if order is None:
            raise Refusal("woocommerce_rest_shop_order_invalid_id", "Invalid ID.", 400)
        if "status" in fields:
            self._shop.change_status(order, str(fields["status"]))
        return self._json(order_document(order, self._shop, self._home))

    # ------------------------------------------------------------------------------------------------------- webhooks

    async def _list_webhooks(self, request: web.Request) -> web.Response:
        wanted = request.query.get("status", "all")
        found = [one for one in self._webhooks.webhooks.values() if wanted in ("all", one.status)]
        return self._page(request, found, lambda one: webhook_document(one, self._home))

    async def _subscribe(self, request: web.Request) -> web.Response:
        fields = await _object(request)
        if fields.get("topic") not in {"order.created", "order.updated"}:
            raise Refusal("woocommerce_rest_webhook_invalid_topic", "Webhook topic is required and must be valid.", 400)
        url = str(fields.get("delivery_url", ""))
        if not url.startswith(("http://", "https://")):
            message = "Webhook delivery URL must be a valid URL starting with http:// or https://."
            raise Refusal("woocommerce_rest_webhook_invalid_delivery_url", message, 400)
        name = str(fields.get("name", "Webhook created by the API"))
        webhook = await self._webhooks.subscribe(name, fields["topic"], url, str(fields.get("secret", "")))
        return self._json(webhook_document(webhook, self._home), status=201)

    async def _write_webhook(self, request: web.Request) -> web.Response:
        fields = await _object(request)
        webhook = self._webhooks.webhooks.get(int(request.match_info["id"]))
        if webhook is None:
            raise Refusal("woocommerce_rest_shop_webhook_invalid_id", "Invalid ID.", 400)
        if fields.get("status", webhook.status) not in _WEBHOOK_STATUSES:
            raise Refusal("woocommerce_rest_shop_webhook_invalid_status", "Webhook status must be valid.", 400)
        webhook.status = fields.get("status", webhook.status)
        webhook.modified_s = self._shop.now_s()
        return self._json(webhook_document(webhook, self._home))

    # -------------------------------------------------------------------------------------------------------- answers

    def _page(self, request: web.Request, found: list[Any], show: Callable[[Any], dict[str, Any]]) -> web.Response:
        page, size = _number(request.query, "page", 1, 10**6), _number(request.query, "per_page", 10, 100)
        begin = int(request.query.get("offset", (page - 1) * size))
        fields = set(filter(None, request.query.get("_fields", "").split(",")))
        shown = [show(one) for one in found[begin : begin + size]]
        if fields:
            shown = [{name: one[name] for name in one if name in fields or name == "id"} for one in shown]
        pages = -(-len(found) // size)
        return self._json(shown, headers={"X-WP-Total": str(len(found)), "X-WP-TotalPages": str(pages)})

    def _refused(self, refusal: Refusal) -> web.Response:
        return self._json(_error(refusal), status=refusal.status)

    def _json(self, body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
        return web.Response(status=status, body=php_json(body), content_type="application/json", headers=headers)


def _error(refusal: Refusal) -> dict[str, Any]:
    return {"code": refusal.code, "message": refusal.message, "data": {"status": refusal.status}}


def _number(query: Query, name: str, default: int, highest: int) -> int:
    text = query.get(name, str(default))
    if not text.isdigit() or not 1 <= int(text) <= highest:
        raise Refusal("rest_invalid_param", f"Invalid parameter(s): {name}", 400)
    return int(text)


def _compared(text: str, *, gmt: bool) -> int:
    """Return what a given time is compared as, with the columns of GMT or of local time put on one scale."""
    naive, has_offset = gmt_s(text), text.endswith("Z") or "+" in text[10:]
    if has_offset:
        return naive + _LOCAL_S if gmt else naive
    return naive if gmt else naive - _LOCAL_S


async def _object(request: web.Request) -> dict[str, Any]:
    try:
        body = msgspec.json.decode(await request.read())
    except (msgspec.MsgspecError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise Refusal("rest_invalid_json", "Invalid JSON body passed.", 400)
    return body


def _hang_up(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()  # goes nowhere: the connection is gone
