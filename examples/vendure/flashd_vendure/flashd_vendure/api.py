"""
Vendure's Admin API: stock written back, orders polled, products listed, prices changed.

What a shop may still sell of a variant is *on hand - allocated - threshold*; it allocates when an order is placed, and
lowers on hand only when it ships. Only on hand can be written, so a figure is written as that figure plus the rest.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

import msgspec

from flashd.channels.standard_webhooks import decode_order
from flashd.domain.catalogue import Entry, Product
from flashd.domain.listing import UNKNOWN, WriteMode
from flashd.ports import (
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
from flashd_vendure.link import Link, LostError, NotSentError, RefusedError
from flashd_vendure.orders import FIELDS, message_of

QUEUE = "flashd-orders"  # of the plug-in
PAGE = 100

_VARIANT = """
  id sku name trackInventory useGlobalOutOfStockThreshold outOfStockThreshold
  prices { currencyCode price } stockLevels { stockLocationId stockOnHand stockAllocated }
"""
_SHOP = """query { globalSettings { trackInventory outOfStockThreshold } activeChannel { code defaultCurrencyCode }
  stockLocations(options: { take: 1, sort: { createdAt: ASC } }) { items { id } } }"""
_VARIANTS = f"""query ($ids: [String!]!, $take: Int!) {{
  productVariants(options: {{ filter: {{ id: {{ in: $ids }} }}, take: $take }}) {{ items {{ {_VARIANT} }} }} }}"""
_ALL = f"""query ($skip: Int!, $take: Int!) {{
  productVariants(options: {{ skip: $skip, take: $take, sort: {{ id: ASC }} }}) {{ items {{ {_VARIANT} }} }} }}"""
_UPDATE = f"""mutation ($input: [UpdateProductVariantInput!]!) {{
  updateProductVariants(input: $input) {{ {_VARIANT} }} }}"""
_ORDERS = f"""query ($after: DateTime!, $skip: Int!, $take: Int!) {{
  orders(options: {{ filter: {{ updatedAt: {{ after: $after }}, orderPlacedAt: {{ isNull: false }} }},
    sort: {{ updatedAt: ASC, id: ASC }}, skip: $skip, take: $take }}) {{ items {{ {FIELDS} }} }} }}"""
_QUEUES = "query { jobQueues { name running } }"


class Shop(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for the whole shop; asked for once."""

    code: str
    currency: str
    location: str
    tracked: bool
    threshold: int


class Stock(msgspec.Struct, frozen=True):
    """A variant's stock at the one location that is written."""

    on_hand: int
    reserved: int  # allocated to placed orders, and kept back by the threshold
    tracked: bool
    threshold: int

    @property
    def units(self) -> int:
        """What the shop may still sell."""
        return self.on_hand - self.reserved


class VendureApi:
    """One shop's Admin API; the port ChannelApi."""

    traits: ClassVar[ApiTraits] = ApiTraits(
        mode=WriteMode.ABSOLUTE,
        batch=50,
        oversells=True,  # it checks its stock and allocates later, so only holds keep it from selling twice
        prices=True,
        lag_ms=15_000,  # updatedAt is from inside a transaction, or its beginning; one that waits may take that long
    )

    def __init__(self, name: str, link: Link, *, location: str = "") -> None:
        self.name = name
        self._link = link
        self._location = location
        self._known: Shop | None = None

    @property
    def calls(self) -> int:
        """How many requests were sent."""
        return self._link.calls

    async def read(self, entries: Sequence[Entry]) -> list[Figure]:
        """Return what the shop may still sell."""
        shop = await self._shop()
        found: list[Figure] = []
        for first in range(0, len(entries), PAGE):
            page = entries[first : first + PAGE]
            variants, at_ms = await self._variants(page)
            found += [_figure(shop, entry, variants.get(_id(entry)), at_ms) for entry in page]
        return found

    async def write(self, writes: Sequence[FigureWrite]) -> list[FigureWritten]:
        """Set stock on hand so that the shop may sell exactly the figures."""
        try:
            shop = await self._shop()
            variants, _ = await self._variants([write.entry for write in writes])
        except RefusedError as error:
            return [_written(write, WriteCode.REFUSED, str(error)) for write in writes]
        except (NotSentError, LostError) as error:  # only read so far
            return [_written(write, WriteCode.LATER, str(error)) for write in writes]
        answers: dict[str, FigureWritten] = {}
        wanted = []
        for write in writes:
            variant = variants.get(_id(write.entry))
            stock = _stock(shop, variant) if variant else None
            if stock is None or not stock.tracked:
                reason = "the shop does not count its stock" if stock else "the shop has no such variant"
                answers[write.entry.sku] = _written(write, WriteCode.REFUSED, reason)
            else:
                level = {"stockLocationId": shop.location, "stockOnHand": max(0, write.units + stock.reserved)}
                wanted.append((write, {"id": _id(write.entry), "stockLevels": [level]}))
        if wanted:
            answers |= await self._set(shop, [write for write, _ in wanted], [change for _, change in wanted])
        return [answers[write.entry.sku] for write in writes]

    async def _set(
        self, shop: Shop, writes: list[FigureWrite], changes: list[dict[str, Any]]
    ) -> dict[str, FigureWritten]:
        try:
            said = await self._link.ask(_UPDATE, input=changes)
        except NotSentError as error:
            return {write.entry.sku: _written(write, WriteCode.LATER, str(error)) for write in writes}
        except RefusedError as error:
            return {write.entry.sku: _written(write, WriteCode.REFUSED, str(error)) for write in writes}
        except LostError as error:
            return {write.entry.sku: _written(write, WriteCode.UNKNOWN, str(error)) for write in writes}
        now = {variant["id"]: _stock(shop, variant) for variant in said.data["updateProductVariants"] if variant}
        return {write.entry.sku: _applied(write, now.get(_id(write.entry)), said.latest_ms) for write in writes}

    async def orders(self, changed_since_ms: int, *, cursor: str = "", limit: int = PAGE) -> OrderPage:
        """Return placed orders that changed, oldest change first."""
        since, _, given = cursor.partition("+")
        since_ms, skip = int(since or changed_since_ms), int(given or 0)
        said = await self._link.ask(_ORDERS, after=_text(since_ms - 1), skip=skip, take=limit)
        items: list[dict[str, Any]] = said.data["orders"]["items"]
        more = ""
        if len(items) == limit:
            last_ms = _instant_ms(items[-1]["updatedAt"])
            # The next page repeats those of the last millisecond; only a whole page of one is passed over by number.
            more = str(last_ms) if last_ms > since_ms else f"{since_ms}+{skip + limit}"
        bodies = [message_of(item) for item in items]
        polled = tuple(Polled(found=decode_order(body, self.name), raw=body) for body in bodies)
        return OrderPage(orders=polled, cursor=more, upto_ms=said.earliest_ms)

    async def products(self) -> AsyncIterator[Product]:
        """Hand out every variant."""
        shop, skip = await self._shop(), 0
        while True:
            said = await self._link.ask(_ALL, skip=skip, take=PAGE)
            items = said.data["productVariants"]["items"]
            for variant in items:
                yield _product(shop, variant)
            if len(items) < PAGE:
                return
            skip += PAGE

    async def subscriptions(self) -> list[Subscription]:
        """Say whether the plug-in is there: its job queue is what sends the messages."""
        said = await self._link.ask(_QUEUES)
        names = [queue["name"] for queue in said.data["jobQueues"]]
        return [Subscription(topic="orders", address=f"job queue {QUEUE}", alive=True)] if QUEUE in names else []

    async def read_prices(self, entries: Sequence[Entry]) -> list[Price]:
        """Return prices as the shop keeps them, with or without tax as its channel is set."""
        shop = await self._shop()
        found: list[Price] = []
        for first in range(0, len(entries), PAGE):
            page = entries[first : first + PAGE]
            variants, _ = await self._variants(page)
            found += [_price(shop, entry, variants.get(_id(entry))) for entry in page]
        return found

    async def write_prices(self, writes: Sequence[PriceWrite]) -> list[Price]:
        """Set prices in the shop's currency; it has no price to compare with."""
        try:
            shop = await self._shop()
            changes = [{"id": _id(write.entry), "price": _cents(write.price)} for write in writes]
            said = await self._link.ask(_UPDATE, input=changes)
        except (NotSentError, RefusedError, LostError, ValueError) as error:
            return [Price(sku=write.entry.sku, price="", reason=str(error)) for write in writes]
        now = {variant["id"]: variant for variant in said.data["updateProductVariants"] if variant}
        return [_price(shop, write.entry, now.get(_id(write.entry))) for write in writes]

    async def now_ms(self) -> int:
        """Return the shop's clock, as exactly as its answers tell it."""
        said = await self._link.ask(_SHOP)
        return (said.earliest_ms + said.latest_ms) // 2

    async def check(self) -> str:
        """Log in, and say who answered."""
        self._known = None
        shop = await self._shop()
        return f"Vendure, channel {shop.code}, {shop.currency}"

    async def close(self) -> None:
        """Close connections; fine to call twice."""
        await self._link.close()

    async def _shop(self) -> Shop:
        if self._known is None:
            data = (await self._link.ask(_SHOP)).data
            locations = data["stockLocations"]["items"]
            self._known = Shop(
                code=data["activeChannel"]["code"],
                currency=data["activeChannel"]["defaultCurrencyCode"],
                location=self._location or (locations[0]["id"] if locations else ""),
                tracked=data["globalSettings"]["trackInventory"],
                threshold=data["globalSettings"]["outOfStockThreshold"],
            )
        return self._known

    async def _variants(self, entries: Sequence[Entry]) -> tuple[dict[str, dict[str, Any]], int]:
        said = await self._link.ask(_VARIANTS, ids=[_id(entry) for entry in entries], take=max(1, len(entries)))
        return {variant["id"]: variant for variant in said.data["productVariants"]["items"]}, said.latest_ms


def _id(entry: Entry) -> str:
    return entry.ids.get("variant", "")


def _stock(shop: Shop, variant: dict[str, Any]) -> Stock:
    levels = [level for level in variant["stockLevels"] if level["stockLocationId"] == shop.location]
    own = not variant["useGlobalOutOfStockThreshold"]
    threshold = variant["outOfStockThreshold"] if own else shop.threshold
    return Stock(
        on_hand=sum(level["stockOnHand"] for level in levels),
        reserved=sum(level["stockAllocated"] for level in levels) + threshold,
        tracked={"TRUE": True, "FALSE": False}.get(variant["trackInventory"], shop.tracked),
        threshold=threshold,
    )


def _figure(shop: Shop, entry: Entry, variant: dict[str, Any] | None, at_ms: int) -> Figure:
    if variant is None:
        return Figure(sku=entry.sku, at_ms=at_ms, reason="the shop has no such variant")
    stock = _stock(shop, variant)
    if not stock.tracked:
        return Figure(sku=entry.sku, at_ms=at_ms, reason="the shop does not count its stock")
    return Figure(sku=entry.sku, units=max(0, stock.units), at_ms=at_ms)


def _applied(write: FigureWrite, now: Stock | None, at_ms: int) -> FigureWritten:
    """A sale between reading and writing leaves less than the figure; more can only mean that units came back."""
    if now is None:
        return _written(write, WriteCode.UNKNOWN, "the answer does not have this variant")
    if now.units > write.units:
        return _written(write, WriteCode.UNKNOWN, f"the shop shows {now.units}: something was given back meanwhile")
    return FigureWritten(sku=write.entry.sku, code=WriteCode.APPLIED, at_ms=at_ms)


def _written(write: FigureWrite, code: WriteCode, reason: str) -> FigureWritten:
    return FigureWritten(sku=write.entry.sku, code=code, figure=UNKNOWN, reason=reason)


def _product(shop: Shop, variant: dict[str, Any]) -> Product:
    stock = _stock(shop, variant)
    return Product(
        sku=variant["sku"],
        ids={"variant": variant["id"]},
        title=variant["name"],
        units=max(0, stock.units) if stock.tracked else None,
        tracked=stock.tracked,
        oversells=stock.threshold < 0,
        price=_price_text(shop, variant),
    )


def _price(shop: Shop, entry: Entry, variant: dict[str, Any] | None) -> Price:
    if variant is None:
        return Price(sku=entry.sku, price="", reason="the shop has no such variant")
    return Price(sku=entry.sku, price=_price_text(shop, variant))


def _price_text(shop: Shop, variant: dict[str, Any]) -> str:
    """Vendure keeps prices in hundredths, whatever the currency."""
    cents = [price["price"] for price in variant["prices"] if price["currencyCode"] == shop.currency]
    return f"{cents[0] // 100}.{cents[0] % 100:02}" if cents else ""


def _cents(price: str) -> int:
    whole, _, fraction = price.partition(".")
    if not (whole.isdecimal() and len(fraction) <= 2 and (fraction or "0").isdecimal()):
        raise ValueError(f"{price} is no price with at most two decimals")
    return int(whole) * 100 + int(fraction.ljust(2, "0"))


def _text(instant_ms: int) -> str:
    return datetime.fromtimestamp(instant_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _instant_ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)
