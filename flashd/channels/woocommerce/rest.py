"""
A WooCommerce shop's own REST API v3: figures, prices and webhooks, and the orders that no webhook told of.

A figure is written as it is and compared with nothing: a sale between our knowledge and the write is overwritten, so
whoever writes reckons with that (docs/adr/0019). Orders are listed by every status and the bin, by the second of their
change; they are decoded by exactly what decodes their webhooks.

Facts: woocommerce.github.io/woocommerce-rest-api-docs; woocommerce/woocommerce includes/rest-api (a time with an offset
is misread, status "any" leaves out the bin, ``include`` finds no variations and ``sku`` does).
"""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, ClassVar, TypeVar

import msgspec
from yarl import URL

from flashd.channels.exchange import FIGURE_PATIENCE_S, Answer, Link, Lost, Pace, checked_address, heard, told
from flashd.channels.woocommerce.answers import Place, Row, follow, repriced, trouble, written
from flashd.channels.woocommerce.catalogue import (
    BATCH,
    Shown,
    Target,
    by_call,
    figure_of,
    in_parts,
    in_queries,
    price_body,
    price_of,
    product_of,
    stock_body,
    target_of,
)
from flashd.channels.woocommerce.config import Config
from flashd.channels.woocommerce.orders import decode_order
from flashd.config import Secret, SecretText
from flashd.domain.catalogue import Entry, Product
from flashd.domain.listing import WriteMode
from flashd.domain.rate import Rate
from flashd.errors import ChannelUnavailable, ConfigError
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
    Unreadable,
    Unrelated,
    WriteCode,
)

T = TypeVar("T")

# Of every shop; those of plug-ins are asked for. A draft is no order yet: it changes when it becomes one.
_STATUSES = ("pending", "processing", "on-hold", "completed", "cancelled", "refunded", "failed")
_DRAFT = "checkout-draft"
_STATUSES_FOR_S = 3600.0
WRITE_S = 10.0  # no batch of one call begins later
_UNMAPPED = "the map does not say where it lies in WooCommerce: it wants a product id, and a variation id if it is one"

_ROWS = msgspec.json.Decoder(list[msgspec.Raw])
_SHOWN = msgspec.json.Decoder(list[Shown])
_ROW = msgspec.json.Decoder(Row)


class _Webhook(msgspec.Struct):
    topic: str
    delivery_url: str = ""
    status: str = ""
    id: int = 0


class _Status(msgspec.Struct):
    slug: str


class WooCommerceApi:
    """One shop's REST API."""

    traits: ClassVar[ApiTraits] = ApiTraits(mode=WriteMode.ABSOLUTE, batch=BATCH, prices=True, lag_ms=3000)

    def __init__(self, name: str, config: Config, url: URL, login: str) -> None:
        self.name = name
        self._config = config
        self._host = url.host or ""
        self._root = str(url).rstrip("/") + "/wp-json/wc/v3/"
        headers = {"Authorization": f"Basic {b64encode(login.encode()).decode()}", "Cache-Control": "no-cache"}
        self._link = Link(headers=headers, timeout_s=config.timeout_s, pace=Pace(Rate.parse(config.publish.rate)))
        self._statuses: tuple[str, ...] = ()
        self._statuses_until_s = 0.0

    @property
    def calls(self) -> int:
        """Requests sent since the start."""
        return self._link.calls

    # ------------------------------------------------------------------------------------------------------- figures

    async def read(self, entries: Sequence[Entry]) -> list[Figure]:
        """Return what the shop shows: a call for a hundred SKUs, or for each parent where the map knows no SKU."""
        seen = await self._look(entries)
        figures = []
        for entry in entries:
            target = target_of(entry)
            if target is None:
                figures.append(Figure(sku=entry.sku, reason=_UNMAPPED))
            else:
                shown, at_ms = seen[target.id]
                figures.append(figure_of(entry, shown, at_ms))
        return figures

    async def write(self, writes: Sequence[FigureWrite]) -> list[FigureWritten]:
        """Set figures, whatever they were: one batch for products and one for the variations of each parent."""
        answers = {
            id(write): FigureWritten(sku=write.entry.sku, code=WriteCode.REFUSED, reason=_UNMAPPED) for write in writes
        }
        mapped = [(target, write) for write in writes if (target := target_of(write.entry)) is not None]
        until_s = time.monotonic() + WRITE_S
        for path, group in _batches(mapped):
            body = stock_body((target, write.units) for target, write in group)
            answer: Answer | Lost = Lost(reason="not sent: the call took too long", sent=False)
            if time.monotonic() < until_s:  # figures that waited longer are old ones
                answer = await self._link.ask("POST", self._url(path), body, patience_s=FIGURE_PATIENCE_S)
            for (_, write), said in zip(group, written(answer, group), strict=True):
                answers[id(write)] = said
        return [answers[id(write)] for write in writes]

    # -------------------------------------------------------------------------------------------------------- orders

    async def orders(self, changed_since_ms: int, *, cursor: str = "", limit: int = BATCH) -> OrderPage:
        """Return a page of orders changed at or after that instant of the shop's clock, whatever their status."""
        place = Place.parse(cursor) if cursor else Place(max(0, changed_since_ms // 1000 - 1))
        size = min(BATCH, max(2, limit))
        statuses = ",".join(await self._known_statuses())
        answer = await self._ask("orders", status=statuses, per_page=str(size), **place.query)
        if answer.status == 400:
            self._statuses_until_s = 0.0  # the plug-in of one of them may be gone
        self._good(answer)
        bodies = [bytes(raw) for raw in self._read(answer, _ROWS)]
        rows = [_row(body) for body in bodies]
        known, following = follow(place, rows, size)
        return OrderPage(
            orders=tuple(self._polled(body) for body in bodies[known:]),
            cursor="" if following is None else str(following),
            upto_ms=told(self.name, answer.earliest_ms),
        )

    def _polled(self, body: bytes) -> Polled:
        found = decode_order(body, self.name, self._config)
        if isinstance(found, Unrelated):
            found = Unreadable(f"a list of orders holds a {found.subject}")
        return Polled(found=found, raw=body)

    async def _known_statuses(self) -> tuple[str, ...]:
        """Return every status but drafts, with those of plug-ins; a key that may not see the report gets the rest."""
        if time.monotonic() >= self._statuses_until_s:
            answer = await self._link.ask("GET", self._url("reports/orders/totals"))
            slugs: list[str] = []
            if isinstance(answer, Answer) and answer.status == 200:
                slugs = [status.slug for status in self._convert(answer, list[_Status])]
            found = dict.fromkeys((*_STATUSES, *slugs, "trash"))
            self._statuses = tuple(status for status in found if status != _DRAFT)
            self._statuses_until_s = time.monotonic() + (_STATUSES_FOR_S if slugs else 60.0)
        return self._statuses

    # ----------------------------------------------------------------------------------------------------- catalogue

    async def products(self) -> AsyncIterator[Product]:
        """Hand out all that is sold by its own number: simple products, and the variations of variable ones."""
        async for shown in self._each("products", list[Shown], orderby="id", order="asc"):
            if (product := product_of(shown)) is not None:
                yield product
            if shown.type == "variable":
                async for variation in self._each(f"products/{shown.id}/variations", list[Shown]):
                    if (product := product_of(variation, shown)) is not None:
                        yield product

    async def subscriptions(self) -> list[Subscription]:
        """Return the webhooks for orders: WooCommerce disables one after more than five failures in a row."""
        return [
            Subscription(
                topic=webhook.topic,
                address=webhook.delivery_url,
                alive=webhook.status == "active",
                reason="" if webhook.status == "active" else f"WooCommerce says that it is {webhook.status}",
            )
            async for webhook in self._each("webhooks", list[_Webhook])
            if webhook.topic.startswith("order.")
        ]

    async def restore(self) -> list[Subscription]:
        """Make webhooks active again that WooCommerce disabled; a paused one is a human's, and so is a deleted one."""
        made: list[Subscription] = []
        if not self._config.webhooks_url:
            return made
        async for webhook in self._each("webhooks", list[_Webhook]):
            ours = webhook.delivery_url == self._config.webhooks_url and webhook.topic.startswith("order.")
            if ours and webhook.status == "disabled":
                url = self._url(f"webhooks/{webhook.id}")
                answer = heard(self.name, await self._link.ask("PUT", url, b'{"status":"active"}'))
                reason = "" if answer.status == 200 else trouble(answer)
                made.append(
                    Subscription(topic=webhook.topic, address=webhook.delivery_url, alive=not reason, reason=reason)
                )
        return made

    # -------------------------------------------------------------------------------------------------------- prices

    async def read_prices(self, entries: Sequence[Entry]) -> list[Price]:
        """Return what customers pay, and the regular price beside a reduced one."""
        seen = await self._look(entries)
        targets = [target_of(entry) for entry in entries]
        return [
            Price(sku=entry.sku, price="", reason=_UNMAPPED)
            if target is None
            else price_of(entry.sku, seen[target.id][0])
            for entry, target in zip(entries, targets, strict=True)
        ]

    async def write_prices(self, writes: Sequence[PriceWrite]) -> list[Price]:
        """Set prices: with a compare-at price as a sale without dates, else as the regular price without a sale."""
        answers = {id(write): Price(sku=write.entry.sku, price="", reason=_UNMAPPED) for write in writes}
        mapped = [(target, write) for write in writes if (target := target_of(write.entry)) is not None]
        for path, group in _batches(mapped):
            answer = await self._link.ask("POST", self._url(path), price_body(group))
            for (_, write), said in zip(group, repriced(answer, group), strict=True):
                answers[id(write)] = said
        return [answers[id(write)] for write in writes]

    # --------------------------------------------------------------------------------------------------------- whole

    async def now_ms(self) -> int:
        """Return the shop's clock, to half a second."""
        answer = await self._get("data/currencies/current")
        return told(self.name, answer.date_ms) + 500

    async def check(self) -> str:
        """
        Log in, prove that the key may write, and say who answered.

        Raises:
            ChannelUnavailable: It did not answer, or refused the login; the message says what to mend.
        """
        currency = self._convert(await self._get("data/currencies/current"), dict[str, Any]).get("code", "")
        answer = heard(self.name, await self._link.ask("POST", self._url("products/batch"), stock_body(())))
        if answer.status != 200:
            raise ChannelUnavailable(f"channel {self.name}: writing nothing at all was refused: {trouble(answer)}")
        return f"WooCommerce at {self._host}, selling in {currency or 'an unknown currency'}"

    async def close(self) -> None:
        """Close connections; fine to call twice."""
        await self._link.close()

    # ------------------------------------------------------------------------------------------------------- reading

    async def _look(self, entries: Sequence[Entry]) -> dict[int, tuple[Shown | None, int]]:
        """Return each mapped product by its id, or None, with the instant for which that is true."""
        targets = {target.id: target for entry in entries if (target := target_of(entry)) is not None}
        skus = {entry.ids["sku"] for entry in entries if entry.ids.get("sku") and "," not in entry.ids["sku"]}
        seen: dict[int, tuple[Shown | None, int]] = {}
        for part in in_queries(sorted(skus)):
            await self._see(seen, targets, "products", sku=",".join(part))
        rest = [(target, target.id) for target in targets.values() if target.id not in seen]
        for path, group in _batches(rest):
            ids = [number for _, number in group]
            at_ms = await self._see(seen, targets, path.removesuffix("/batch"), include=",".join(map(str, ids)))
            for number in ids:
                seen.setdefault(number, (None, at_ms))
        return seen

    async def _see(
        self, seen: dict[int, tuple[Shown | None, int]], targets: dict[int, Target], path: str, **query: str
    ) -> int:
        answer = await self._ask(path, per_page=str(BATCH), **query)
        at_ms = told(self.name, answer.latest_ms)
        if answer.status == 404 and b"_invalid_" in answer.body:  # the parent is gone, and its variations with it
            return at_ms
        for shown in self._read(self._good(answer), _SHOWN):
            if shown.id in targets:
                seen[shown.id] = (shown, at_ms)
        return at_ms

    async def _each(self, path: str, shape: type[list[T]], **query: str) -> AsyncIterator[T]:
        page = 1
        while True:
            answer = await self._get(path, per_page=str(BATCH), page=str(page), **query)
            found = self._convert(answer, shape)
            for one in found:
                yield one
            if len(found) < BATCH:
                return
            page += 1

    async def _get(self, path: str, **query: str) -> Answer:
        return self._good(await self._ask(path, **query))

    async def _ask(self, path: str, **query: str) -> Answer:
        return heard(self.name, await self._link.ask("GET", self._url(path, **query)))

    def _good(self, answer: Answer) -> Answer:
        if answer.status != 200:
            raise ChannelUnavailable(f"channel {self.name}: {trouble(answer)}")
        return answer

    def _read(self, answer: Answer, decoder: msgspec.json.Decoder[T]) -> T:
        try:
            return decoder.decode(answer.body)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            raise ChannelUnavailable(f"channel {self.name}: {trouble(answer)}: not as it is documented") from None

    def _convert(self, answer: Answer, shape: type[T]) -> T:
        return self._read(answer, msgspec.json.Decoder(shape))

    def _url(self, path: str, **query: str) -> URL:
        return URL(self._root + path).with_query(query) if query else URL(self._root + path)


def _row(body: bytes) -> Row:
    try:
        return _ROW.decode(body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return Row(id="")  # `decode_order` says what is wrong with it


def _batches(found: Sequence[tuple[Target, T]]) -> list[tuple[str, Sequence[tuple[Target, T]]]]:
    """Return the path of each batch and what goes into it."""
    return [
        (f"products/{parent}/variations/batch" if parent else "products/batch", part)
        for parent, group in by_call(found).items()
        for part in in_parts(group)
    ]


def connect_api(name: str, config: Config, reveal: Callable[[Secret], SecretText]) -> WooCommerceApi | None:
    """
    Return the shop's API, or None where no address is given.

    Raises:
        ConfigError: Stock is to be published and there is no address, or an address and no key, or one is malformed.
    """
    if not config.url:
        if config.publish.mode != "none":
            raise ConfigError(
                f"[channels.{name}] url: is empty, so no stock can be published; write the shop's address, or"
                ' publish.mode = "none"'
            )
        return None
    url = checked_address(f"channels.{name}.url", config.url)
    if config.webhooks_url:
        checked_address(f"channels.{name}.webhooks_url", config.webhooks_url)
    login = []
    for key, secret in (("consumer_key", config.consumer_key), ("consumer_secret", config.consumer_secret)):
        text = "" if secret is None else str(reveal(secret)).strip()
        if not text:
            raise ConfigError(
                f"[channels.{name}] {key}: is missing; make a key with read and write access in WooCommerce > Settings"
                f" > Advanced > REST API, and write {key} = {{ file = ... }}"
            )
        login.append(text)
    return WooCommerceApi(name, config, url, ":".join(login))
