"""
Tryton 8.2 and later by its native REST API: a sale of a web shop, unique by (web_shop, web_id), quoted and confirmed.

A sale is made in up to three steps, each its own transaction in Tryton: create, quote, confirm. So it can be half done.
Sending again under the same key reads where it stands and goes on from there; docs/backends/tryton.md tells the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import msgspec

from flashd.backends.exchange import Answer, EndedError, Link, by_status, checked_url, plain, plain_refusal, unread
from flashd.backends.tryton_batch import Batches
from flashd.backends.tryton_catalogue import EXTRA, Catalogue, decode_refusal
from flashd.backends.tryton_sale import (
    RANK,
    SALE_FIELDS,
    STEP,
    amount,
    compare,
    decode_decimal,
    encode_lines,
    encode_sale,
    is_sale,
)
from flashd.backends.tryton_session import Session
from flashd.config import BackendConfig, PositiveInt, Secret, SecretText
from flashd.domain.count import Count, CountKind
from flashd.domain.delivery import (
    Absent,
    BackendTraits,
    Declined,
    Delivered,
    Delivery,
    Doubtful,
    Finding,
    Found,
    Mismatch,
    Outcome,
    Unknown,
    Unsupported,
)
from flashd.domain.order import Kind
from flashd.errors import BackendUnavailable, ConfigError


class Config(BackendConfig, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Where Tryton is, and which of its records orders refer to; numbers are record ids."""

    database: str = ""  # by default the last part of url's path
    secret: Secret  # key of a user application "rest", validated in Tryton
    shop: PositiveInt  # a web.shop
    party: PositiveInt  # who buys; not the guest party of the shop, which Tryton lets no sale be quoted for
    address: PositiveInt | None = None  # of the party, for invoices; by default its first
    ship_to: Literal["address", "comment"] = "address"  # a party.address for each place, or only words
    # SKU = product; by default the product whose code is the SKU
    products: dict[str, PositiveInt] = msgspec.field(default_factory=dict)
    # The products of extra lines; by default a line with words only
    extras: dict[Literal["shipping", "discount", "tax", "rounding"], PositiveInt] = msgspec.field(default_factory=dict)
    until: Literal["draft", "quotation", "confirmed"] = "confirmed"
    # Who quotes and confirms several sales at once, which the key cannot; needed where batch is above 1
    user: str = ""
    password: Secret | None = None
    counts: Literal["", "physical", "available"] = (
        ""  # what to tell of the shop's warehouse: quantity, forecast_quantity
    )


class TrytonBackend:
    """Feeds one web shop of one Tryton database."""

    kind: ClassVar[str] = "tryton"

    def __init__(self, name: str, config: Config, key: str, password: str = "") -> None:
        self.name = name
        kinds = frozenset({Kind.CREATE, Kind.CANCEL})
        self.traits = BackendTraits(
            idempotent=True, lookup=True, kinds=kinds, counts=bool(config.counts), batch=config.batch
        )
        self._config = config
        database_url = f"{config.url.rstrip('/')}{'/' if config.database else ''}{config.database}"
        self._model = f"{database_url}/rest/model"
        self._link = Link(
            headers={"Authorization": f"bearer {key}", "Accept-Language": "en"},
            max_in_flight=config.max_in_flight,
            timeout_s=config.timeout_s,
        )
        self._catalogue = Catalogue(
            self._link,
            self._model,
            shop=config.shop,
            party=config.party,
            address=config.address,
            products={**config.products, **{EXTRA + name: product for name, product in config.extras.items()}},
        )
        self._session = Session(self._link, database_url, config.user, password) if config.user else None
        self._batches = Batches(
            self._link,
            self._model,
            self._catalogue,
            self._session,
            shop=config.shop,
            until=config.until,
            in_words=config.ship_to == "comment",
            advance=self._advance,
        )

    async def deliver(self, delivery: Delivery) -> Outcome:
        """Bring the sale to the state that the configuration wants, or cancel it, in at most `timeout_s`."""
        try:
            async with asyncio.timeout(self._config.timeout_s):
                if delivery.ref.kind is Kind.CREATE:
                    return await self._create(delivery)
                if delivery.ref.kind is Kind.CANCEL and delivery.backend_ref.isdecimal():
                    return await self._cancel(delivery)
        except EndedError as ended:
            return ended.nothing_written
        except TimeoutError:
            return Doubtful(reason=f"not finished after {self._config.timeout_s:g} s")
        return Unsupported(reason=f"sale {delivery.backend_ref or '?'} must be changed in Tryton by hand")

    async def find(self, delivery: Delivery) -> Finding:  # noqa: PLR0911  # a decision table
        """Look the sale up by its web id, and compare lines and total."""
        create = delivery.ref.kind is Kind.CREATE
        if not create and not delivery.backend_ref.isdecimal():
            return Mismatch(reason="there is no sale that it could follow")
        try:
            async with asyncio.timeout(self._config.timeout_s):
                sales = await self._sales(delivery)
                if not create:
                    done = bool(sales) and sales[0]["state"] == "cancelled"
                    return Found(backend_ref=delivery.backend_ref) if done else Absent()
                if not sales:
                    return Absent()
                difference = await self._compare(delivery, sales)
        except EndedError as ended:
            return ended.nothing_known
        except TimeoutError:
            return Unknown(reason=f"no answer within {self._config.timeout_s:g} s")
        backend_ref = str(sales[0]["id"])
        if difference:
            return Mismatch(reason=difference, backend_ref=backend_ref)
        half = RANK[sales[0]["state"]] < RANK[self._config.until]
        return Absent(half_done=backend_ref) if half else Found(backend_ref=backend_ref)

    async def deliver_many(self, deliveries: Sequence[Delivery]) -> Sequence[Outcome]:
        """Bring the sales of new orders where the configuration wants them, in `timeout_s` for all of them."""
        if len(deliveries) == 1:
            return [await self.deliver(deliveries[0])]
        return await self._batches.deliver(deliveries, self._config.timeout_s)

    async def find_many(self, deliveries: Sequence[Delivery]) -> Sequence[Finding]:
        """Look the sales of new orders up by their web ids with one request, and compare each."""
        return await self._batches.find(deliveries, self._config.timeout_s)

    async def check(self) -> str:
        """
        Read the web shop, try a look-up, and the login where there is one.

        Raises:
            BackendUnavailable: It did not answer, refused the key, or lacks a record that the configuration names.
        """
        try:
            shop = await self._catalogue.read_shop()
            await self._catalogue.search("sale.sale", [["web_id", "=", "fd-check"]], ("state",))
            if self._session is not None:
                await self._session.open()
        except EndedError as ended:
            raise BackendUnavailable(f"backend {self.name}: {ended.outcome.reason}") from None
        return f"Tryton at {self._config.url}, database {self._config.database}, web shop {shop.name}"

    async def counts(self, now_ms: int) -> list[Count]:
        """Read the stock of the shop's warehouse. Raises BackendUnavailable."""
        kind = CountKind(self._config.counts or "available")
        try:
            return await self._catalogue.counts(kind, source=self.name, now_ms=now_ms)
        except EndedError as ended:
            raise BackendUnavailable(f"backend {self.name}: no counts: {ended.outcome.reason}") from None

    async def close(self) -> None:
        """Close connections; fine to call twice."""
        await self._link.close()

    # ------------------------------------------------------------------------------------------------------- writing

    async def _create(self, delivery: Delivery) -> Outcome:  # noqa: PLR0911  # a decision table
        if delivery.sends > 1:
            sales = await self._sales(delivery)
            if sales:
                return await self._go_on(delivery, sales)
        order, catalogue = delivery.order, self._catalogue
        shop = await catalogue.shop()
        lines = encode_lines(order, await catalogue.products(order))
        in_words = self._config.ship_to == "comment"
        sale = encode_sale(
            delivery,
            lines,
            shop,
            currency=await catalogue.currency(order.currency),
            ship_to=shop.address if in_words else await catalogue.address(order.ship_to, shop),
        )
        answer = await self._link.post(f"{self._model}/sale.sale?f=state&f=web_id&f=total_amount", sale)
        if not isinstance(answer, Answer):
            return answer
        trouble, refusal, body = by_status(answer), decode_refusal(answer), answer.json
        if trouble is not None:
            return trouble
        if refusal is not None:
            return await self._refused(delivery, refusal)
        if answer.status != 200 or not is_sale(body) or body.get("web_id") != delivery.key:
            return unread(answer)
        if decode_decimal(body.get("total_amount")) != amount(order.total, order.currency):
            return Doubtful(reason=f"sale {body['id']} has another total than was sent")
        return await self._advance(delivery, body["id"], body["state"])

    async def _refused(self, delivery: Delivery, refusal: str) -> Outcome:
        # The refusal that matters, "must be unique per shop", is translated text: the look-up says the same for sure.
        sales = await self._sales_or_doubt(delivery)
        if isinstance(sales, Doubtful):
            return sales
        if sales:
            return await self._go_on(delivery, sales)
        self._catalogue.forget(delivery.order)  # what was mended in Tryton is read again
        return Declined(reason=plain_refusal(refusal, delivery.order))

    async def _go_on(self, delivery: Delivery, sales: list[dict[str, Any]]) -> Outcome:
        try:
            difference = await self._compare(delivery, sales)
        except EndedError as ended:
            return Doubtful(reason=ended.outcome.reason)
        if difference:
            return Doubtful(reason=f"sale {sales[0]['id']} has its key: {difference}")
        return await self._advance(delivery, sales[0]["id"], sales[0]["state"])

    async def _advance(self, delivery: Delivery, sale_id: int, state: str) -> Outcome:
        while RANK[state] < RANK[self._config.until]:
            answer = await self._link.post(f"{self._model}/sale.sale/{sale_id}/{STEP[state]}?f=state", {})
            before, refusal = state, decode_refusal(answer) if isinstance(answer, Answer) else None
            if refusal is not None:  # perhaps only because somebody else did this step: a repeated one is refused
                sales = await self._sales_or_doubt(delivery)
                if isinstance(sales, Doubtful):
                    return sales
                state = sales[0]["state"] if sales else "cancelled"
                if state == before:
                    reason = plain_refusal(refusal, delivery.order)[:140]
                    return Declined(reason=f"sale {sale_id} stays a {state} in Tryton: {reason}")
            elif isinstance(answer, Answer):
                body = answer.json
                if answer.status == 200 and is_sale(body) and body["id"] == sale_id:
                    state = body["state"]
            if RANK[state] <= RANK[before]:
                # Whatever it was, the sale is there: only a look-up may decide, and no human may cancel it meanwhile.
                trouble = (by_status(answer) or unread(answer)) if isinstance(answer, Answer) else answer
                return Doubtful(reason=plain(f"sale {sale_id} was a {before}: {trouble.reason}"))
        return Delivered(backend_ref=str(sale_id))

    async def _cancel(self, delivery: Delivery) -> Outcome:
        number = delivery.backend_ref
        sales = await self._sales(delivery)
        state = sales[0]["state"] if sales else "gone"
        if state == "cancelled":
            return Delivered(backend_ref=number)
        if state not in STEP:
            return Unsupported(reason=f"sale {number} is {state} in Tryton: it must be undone there by hand")
        answer = await self._link.post(f"{self._model}/sale.sale/{number}/cancel?f=state", {})
        if not isinstance(answer, Answer):
            return answer
        body, refusal = answer.json, decode_refusal(answer)
        if refusal is not None:
            return Unsupported(reason=plain_refusal(refusal, delivery.order))
        if answer.status == 200 and is_sale(body) and str(body["id"]) == number and body["state"] == "cancelled":
            return Delivered(backend_ref=number)
        return by_status(answer) or unread(answer)

    # ------------------------------------------------------------------------------------------------------- reading

    async def _sales(self, delivery: Delivery) -> list[dict[str, Any]]:
        if delivery.ref.kind is Kind.CREATE:
            wanted: list[object] = ["web_id", "=", delivery.key]
        else:
            wanted = ["id", "=", int(delivery.backend_ref)]
        sales = await self._catalogue.search("sale.sale", [["web_shop", "=", self._config.shop], wanted], SALE_FIELDS)
        if not all(is_sale(sale) for sale in sales):
            raise EndedError(Doubtful(reason="a sale that was read has no state that is known"))
        return sales

    async def _sales_or_doubt(self, delivery: Delivery) -> list[dict[str, Any]] | Doubtful:
        try:
            return await self._sales(delivery)
        except EndedError as ended:
            return Doubtful(reason=plain(f"refused, and the look-up failed: {ended.outcome.reason}"))

    async def _compare(self, delivery: Delivery, sales: list[dict[str, Any]]) -> str:
        if len(sales) > 1:
            return f"{len(sales)} sales under one key"
        order = delivery.order
        lines = encode_lines(order, await self._catalogue.products(order))
        return compare(sales[0], lines, amount(order.total, order.currency))


def connect(name: str, config: Config, reveal: Callable[[Secret], SecretText]) -> TrytonBackend:
    """
    Make the adapter; nothing is opened yet.

    Raises:
        ConfigError: The address cannot be used, or a batch lacks the login that it needs.
    """
    where = f"backends.{name}"
    checked_url(f"{where}.url", config.url)
    if bool(config.user) != (config.password is not None):
        raise ConfigError(f"{where}: user and password go together")
    if config.batch > 1 and config.until != "draft" and not config.user:
        raise ConfigError(
            f"{where}.batch = {config.batch}: Tryton's REST API quotes and confirms one sale at a time; write user and"
            " password too, for its JSON-RPC takes several"
        )
    password = str(reveal(config.password)) if config.password is not None else ""
    return TrytonBackend(name, config, str(reveal(config.secret)), password)
