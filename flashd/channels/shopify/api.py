"""Shopify's Admin API as a sales channel's own API: stock by compare-and-set, orders by the time of their change."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from yarl import URL

from flashd.channels.exchange import Answer, Link, Pace, checked_address, plain
from flashd.channels.shopify import hooks, queries
from flashd.channels.shopify.admin import Admin, Failed, Told, TooDearError
from flashd.channels.shopify.answers import Login, Nodes, Page, Place, RestOfLines, Variant, product_of
from flashd.channels.shopify.config import Config
from flashd.channels.shopify.figures import (
    Item,
    all_ended,
    figure,
    gid,
    group_ended,
    groups_of,
    unfit,
    variables_of,
)
from flashd.channels.shopify.listed import Lines, ListedOrder, as_webhook
from flashd.channels.shopify.orders import decode_order
from flashd.channels.shopify.points import Points
from flashd.channels.shopify.prices import Priced, failed, input_of, price_of, variant_of, written
from flashd.config import Secret, SecretText
from flashd.domain.catalogue import Entry, Product
from flashd.domain.listing import WriteMode
from flashd.domain.rate import Rate
from flashd.errors import ChannelUnavailable, ConfigError
from flashd.ports.channel import Unreadable, Unrelated
from flashd.ports.channel_api import (
    ApiTraits,
    Figure,
    FigureWrite,
    FigureWritten,
    OrderPage,
    Polled,
    Price,
    PriceWrite,
    Subscription,
    WriteCode,
)

BATCH = 100  # figures in one call
PATIENCE_S = 2.5  # for points: a figure that waits longer is an old one, and whoever sent it may lead no more
READ_AT_ONCE = 250  # what an input array may hold
PAGE = 100
SCOPES = ("read_orders", "read_products", "write_products", "read_inventory", "write_inventory", "read_locations")


class ShopifyApi:
    """One shop's Admin API."""

    def __init__(self, name: str, config: Config, admin: Admin) -> None:
        self.name = name
        self.traits = ApiTraits(mode=WriteMode.COMPARE, batch=BATCH, idempotent=True, prices=True, lag_ms=5000)
        self._config = config
        self._admin = admin
        self._place = gid("Location", config.location)
        self._below: dict[str, int] = {}  # inventory items that stood below zero when they were read last
        self._page = PAGE  # orders at once; less as soon as Shopify finds that too dear

    @property
    def calls(self) -> int:
        """Requests sent since the start."""
        return self._admin.link.calls

    # ---------------------------------------------------------------------------------------------------------- stock

    async def read(self, entries: Sequence[Entry]) -> list[Figure]:
        """Return what the platform shows, in the order of *entries*."""
        location = await self._location()
        found: list[Figure] = []
        for start in range(0, len(entries), READ_AT_ONCE):
            found += await self._read(entries[start : start + READ_AT_ONCE], location)
        return found

    async def _read(self, entries: Sequence[Entry], location: str) -> list[Figure]:
        names = [gid("InventoryItem", entry.ids.get("inventory_item", "")) for entry in entries]
        asked = [name for name in dict.fromkeys(names) if name]
        items: dict[str, Item] = {}
        at_ms = 0
        if asked:
            try:
                told = await self._admin.read(
                    "figures", queries.FIGURES, {"ids": asked, "location": location}, size=len(asked)
                )
            except TooDearError as error:
                if len(entries) == 1:
                    raise ChannelUnavailable(f"channel {self.name}: {error}") from None
                half = len(entries) // 2
                return await self._read(entries[:half], location) + await self._read(entries[half:], location)
            nodes = self._admin.convert(told.data, Nodes).of_the_kind
            items = {item.id: item for item in self._admin.convert(nodes, list[Item])}
            at_ms = _latest_ms(told.answer)
        for name in asked:
            self._below.pop(name, None)
        below = {item.id: item.standing for item in items.values()}
        self._below |= {name: units for name, units in below.items() if units is not None and units < 0}
        return [figure(entry.sku, items.get(name), at_ms=at_ms) for entry, name in zip(entries, names, strict=True)]

    async def write(self, writes: Sequence[FigureWrite]) -> list[FigureWritten]:
        """Write at most ``traits.batch`` figures in one call; the answers are in the order of *writes*."""
        reasons = [unfit(write) for write in writes]
        fit = [write for write, reason in zip(writes, reasons, strict=True) if not reason]
        ended = iter(await self._write(fit) if fit else ())
        return [
            FigureWritten(sku=write.entry.sku, code=WriteCode.REFUSED, reason=reason) if reason else next(ended)
            for write, reason in zip(writes, reasons, strict=True)
        ]

    async def _write(self, writes: Sequence[FigureWrite]) -> list[FigureWritten]:
        try:
            location = await self._location()
        except ChannelUnavailable as error:
            return all_ended(writes, WriteCode.LATER, plain(str(error)))
        groups = groups_of(writes, self._config.together)
        told = await self._admin.ask(
            "set figures",
            queries.set_figures(len(groups)),
            variables_of(groups, location, self._below),
            size=len(groups),
            patience_s=PATIENCE_S,
        )
        if isinstance(told, Failed):
            return all_ended(writes, told.code, told.reason)
        at_ms = _latest_ms(told.answer)
        return [
            ended
            for number, group in enumerate(groups)
            for ended in group_ended(group, told, f"group{number}", at_ms=at_ms)
        ]

    async def _location(self) -> str:
        """Return the location whose stock this channel shows."""
        if not self._place:
            told = await self._admin.read("locations", queries.LOCATIONS, {})
            nodes = self._admin.convert(told.data.get("locations"), Nodes).of_the_kind
            there = self._admin.convert(nodes, list[Place])
            active = [one for one in there if one.is_active]
            if len(active) != 1:
                names = ", ".join(f"{one.id.rpartition('/')[2]} ({plain(one.name)})" for one in active) or "none"
                raise ChannelUnavailable(
                    f'channel {self.name}: the shop has {len(active)} active locations: write location = "..." with'
                    f" one of {names}"
                )
            self._place = active[0].id
        return self._place

    # --------------------------------------------------------------------------------------------------------- orders

    async def orders(self, changed_since_ms: int, *, cursor: str = "", limit: int = 100) -> OrderPage:
        """Return a page of orders changed at or after that instant of the platform's clock."""
        since = datetime.fromtimestamp(changed_since_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        variables = {
            "query": f"updated_at:>='{since}'",
            "after": cursor or None,
            "lines": queries.LINES,
            "shippings": queries.SHIPPINGS,
        }
        told = await self._order_page(variables, limit)
        page = self._admin.convert(told.data.get("orders"), Page)
        orders = [await self._polled(node) for node in page.nodes]
        return OrderPage(
            orders=tuple(order for order in orders if order is not None),
            cursor=page.after,
            upto_ms=_earliest_ms(told.answer),
        )

    async def _order_page(self, variables: dict[str, Any], limit: int) -> Told:
        while True:
            first = max(1, min(limit, self._page))
            try:
                return await self._admin.read(
                    "orders", queries.ORDERS, {**variables, "first": first}, size=first, spare=True
                )
            except TooDearError as error:
                if first == 1:
                    raise ChannelUnavailable(f"channel {self.name}: {error}") from None
                self._page = first // 2

    async def _polled(self, node: Any) -> Polled | None:
        """Read one listed order; None where it changed while its lines were fetched: it is listed again."""
        raw = msgspec.json.encode(node)
        try:
            order = msgspec.json.decode(raw, type=ListedOrder)
        except msgspec.ValidationError as error:
            return Polled(found=Unreadable(plain(str(error))), raw=raw)
        while order.line_items.page_info.has_next_page:
            variables = {"id": order.id, "after": order.line_items.page_info.end_cursor, "first": READ_AT_ONCE // 5}
            told = await self._admin.read("lines", queries.LINES_OF, variables, spare=True)
            if told.data.get("order") is None:
                return None
            rest = self._admin.convert(told.data["order"], RestOfLines)
            if rest.updated_at != order.updated_at:
                return None
            more = rest.line_items
            order.line_items = Lines(nodes=order.line_items.nodes + more.nodes, page_info=more.page_info)
        body = as_webhook(order)
        found = decode_order(body, self.name, self._config)
        if isinstance(found, Unrelated):
            found = Unreadable(f"it was read as {found.subject}")
        return Polled(found=found, raw=body)

    # ------------------------------------------------------------------------------------------------------ catalogue

    async def products(self) -> AsyncIterator[Product]:
        """Hand out everything that the platform sells, variant by variant."""
        location, size, after = await self._location(), PAGE, ""
        while True:
            variables = {"first": size, "after": after or None, "location": location}
            try:
                told = await self._admin.read("products", queries.PRODUCTS, variables, size=size, spare=True)
            except TooDearError as error:
                if size == 1:
                    raise ChannelUnavailable(f"channel {self.name}: {error}") from None
                size //= 2
                continue
            page = self._admin.convert(told.data.get("productVariants"), Page)
            for variant in self._admin.convert(page.nodes, list[Variant]):
                yield product_of(variant)
            after = page.after
            if not after:
                return

    async def subscriptions(self) -> list[Subscription]:
        """
        Return the webhooks for orders that point to anybody.

        Shopify deletes a subscription that failed too often, so one that is needed and not there is told as not
        alive. Those of the settings page cannot be listed by any app: ``webhooks = "notifications"`` says nothing.
        """
        return [] if self._config.webhooks == "notifications" else await hooks.listed(self._admin)

    async def restore(self) -> list[Subscription]:
        """Make the webhooks again that Shopify deleted, where the section says whither they go."""
        if self._config.webhooks == "notifications" or not self._config.webhooks_url:
            return []
        return await hooks.make_again(self._admin, self._config.webhooks_url)

    # --------------------------------------------------------------------------------------------------------- prices

    async def read_prices(self, entries: Sequence[Entry]) -> list[Price]:
        """Return prices in the order of *entries*."""
        variants = await self._variants(entries)
        return [price_of(entry.sku, variants.get(variant_of(entry))) for entry in entries]

    async def _variants(self, entries: Sequence[Entry]) -> dict[str, Priced]:
        names = [name for name in dict.fromkeys(variant_of(entry) for entry in entries) if name]
        found: dict[str, Priced] = {}
        for start in range(0, len(names), READ_AT_ONCE):
            asked = names[start : start + READ_AT_ONCE]
            try:
                told = await self._admin.read("prices", queries.PRICES, {"ids": asked}, size=len(asked))
            except TooDearError as error:
                raise ChannelUnavailable(f"channel {self.name}: {error}") from None
            nodes = self._admin.convert(told.data, Nodes).of_the_kind
            found |= {variant.id: variant for variant in self._admin.convert(nodes, list[Priced])}
        return found

    async def write_prices(self, writes: Sequence[PriceWrite]) -> list[Price]:
        """Write prices and return what the platform says they are now; a reason where one was not written."""
        try:
            variants = await self._variants([write.entry for write in writes])
        except ChannelUnavailable as error:
            return failed(writes, plain(str(error)))
        by_product: dict[str, list[PriceWrite]] = {}
        ended: dict[str, Price] = {}
        for write in writes:
            variant = variants.get(variant_of(write.entry))
            if variant is None or variant.product is None:
                ended[write.entry.sku] = price_of(write.entry.sku, None)
            else:
                by_product.setdefault(variant.product.id, []).append(write)
        for product, some in by_product.items():
            for start in range(0, len(some), READ_AT_ONCE):
                part = some[start : start + READ_AT_ONCE]
                variables = {"product": product, "variants": [input_of(write) for write in part]}
                told = await self._admin.ask("set prices", queries.SET_PRICES, variables)
                ended |= {price.sku: price for price in written(part, told)}
        return [ended[write.entry.sku] for write in writes]

    # ---------------------------------------------------------------------------------------------------------- login

    async def now_ms(self) -> int:
        """Return the platform's clock; its answers carry whole seconds."""
        answer = (await self._admin.read("now", queries.NOW, {})).answer
        date_ms = answer.date_ms
        if date_ms is None:
            raise ChannelUnavailable(f"channel {self.name}: the answer carries no time")
        return date_ms + 500

    async def check(self) -> str:
        """
        Log in and say who answered.

        Raises:
            ChannelUnavailable: It did not answer, or refused the login; the message says what to mend.
        """
        told = await self._admin.read("shop", queries.SHOP, {})
        login = self._admin.convert(told.data, Login)
        given = {scope.handle for scope in login.current_app_installation.access_scopes}
        # Who may write may read: Shopify lists a write scope without the read scope that it implies.
        lacking = [name for name in SCOPES if not {name, name.replace("read_", "write_")} & given]
        if lacking:
            raise ChannelUnavailable(f"channel {self.name}: the app lacks the scopes {', '.join(lacking)}")
        location = (await self._location()).rpartition("/")[2]
        served = told.answer.headers.get("x-shopify-api-version", self._config.api_version)
        note = "" if served == self._config.api_version else f", which answers as {plain(served)}"
        return (
            f"Shopify {plain(login.shop.name)} ({plain(login.shop.myshopify_domain)}), location {location},"
            f" API {self._config.api_version}{note}"
        )

    async def close(self) -> None:
        """Close connections; fine to call twice."""
        await self._admin.link.close()


def _latest_ms(answer: Answer) -> int:
    """Return an instant of the platform's clock, not before it was done; ours where it does not tell its own."""
    latest_ms = answer.latest_ms
    return int(time.time() * 1000) if latest_ms is None else latest_ms


def _earliest_ms(answer: Answer) -> int:
    """Return an instant of the platform's clock, not after it began; ours where it does not tell its own."""
    earliest_ms = answer.earliest_ms
    return int(time.time() * 1000) - answer.elapsed_ms if earliest_ms is None else earliest_ms


def connect_api(name: str, config: Config, reveal: Callable[[Secret], SecretText]) -> ShopifyApi | None:
    """
    Return the channel's API, or None where none is configured.

    Raises:
        ConfigError: An address or the access token is missing or malformed.
    """
    key = f"channels.{name}"
    if not config.url:
        if config.access_token is not None:
            raise ConfigError(f'{key}.url: is missing; write url = "https://my-shop.myshopify.com"')
        return None
    shop: URL = checked_address(f"{key}.url", config.url)
    if config.webhooks_url:
        checked_address(f"{key}.webhooks_url", config.webhooks_url)
    if config.access_token is None:
        raise ConfigError(f'{key}.access_token: is missing; write access_token = {{ file = "{name}.token" }}')
    token = str(reveal(config.access_token))
    if not token or not token.isascii() or not token.isprintable():
        raise ConfigError(f"{key}.access_token: is empty or no access token; copy the one of the app")
    pace = Pace(Rate.parse(config.publish.rate))
    link = Link(headers={"X-Shopify-Access-Token": token}, timeout_s=config.timeout_s, pace=pace)
    url = shop / "admin" / "api" / config.api_version / "graphql.json"
    return ShopifyApi(name, config, Admin(name, url, link, Points()))
