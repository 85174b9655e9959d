"""
Tryton 8.2 and later by its native REST API: a sale of a web shop, unique by (web_shop, web_id), quoted and confirmed.

A sale is made in up to three steps, each its own transaction in Tryton: create, quote, confirm. So it can be half done.
Sending again under the same key reads where it stands and goes on from there; docs/backends/tryton.md tells the rest.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar, Literal

import msgspec

from flashd.backends.exchange import Answer, EndedError, Link, by_status, checked_url, plain, plain_refusal, unread
from flashd.backends.tryton_catalogue import EXTRA, Catalogue, Products, Shop, decode_refusal
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
from flashd.domain.money import decimal_text
from flashd.domain.order import Kind, Order
from flashd.errors import BackendUnavailable

_RANK = {"cancelled": -1, "draft": 0, "quotation": 1, "confirmed": 2, "processing": 3, "done": 4}
_STEP = {"draft": "quote", "quotation": "confirm"}
_SALE_FIELDS = ("state", "web_id", "total_amount", "lines.type", "lines.product", "lines.quantity", "lines.unit_price")


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
    counts: Literal["", "physical", "available"] = (
        ""  # what to tell of the shop's warehouse: quantity, forecast_quantity
    )


class SaleLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line as it goes into the sale: never repriced, without taxes of Tryton's own."""

    product: int | None
    unit: int | None
    quantity: int
    unit_price: Decimal
    description: str = ""

    @property
    def measure(self) -> tuple[int | None, int, Decimal]:
        """What must be equal in Tryton."""
        return (self.product, self.quantity, self.unit_price.normalize())


def encode_lines(order: Order, products: Products) -> list[SaleLine]:
    """Return the lines whose sum is exactly the order's total."""
    lines = [
        SaleLine(
            product=products[line.sku][0],
            unit=products[line.sku][1],
            quantity=line.quantity,
            unit_price=_amount(line.unit_price, order.currency),
            description=line.title,
        )
        for line in order.lines
    ]
    extras = {
        "shipping": order.shipping,
        "discount": -order.discount - sum(line.discount for line in order.lines),
        "tax": order.tax,
        "rounding": order.total - order.sum_of_parts,  # of an order that a human let go as it is
    }
    for name, amount in extras.items():
        if amount:
            product, unit = products.get(EXTRA + name, (None, None))
            price = _amount(amount, order.currency)
            line = SaleLine(product=product, unit=unit, quantity=1, unit_price=price, description=name.capitalize())
            lines.append(line)
    return lines


def _amount(minor: int, currency: str) -> Decimal:
    return Decimal(decimal_text(minor, currency))


def encode_comment(order: Order) -> str:
    """Return what has no field of its own in a sale: who bought, and the address in words."""
    who, to = order.customer, order.ship_to
    place = " ".join(part for part in (to.postcode, to.city, to.region, to.country) if part)
    parts = (who.name, who.email, who.phone, to.name, to.company, to.street, to.street2, place, to.phone, order.note)
    return "\n".join(dict.fromkeys(part for part in parts if part))


def encode_sale(
    delivery: Delivery, lines: Sequence[SaleLine], shop: Shop, *, config: Config, currency: int, ship_to: int
) -> dict[str, Any]:
    """Return the fields of the sale."""
    order = delivery.order
    return {
        "company": shop.company,
        "currency": currency,
        "party": config.party,
        "invoice_address": shop.address,
        "shipment_address": ship_to,
        "warehouse": shop.warehouse,
        "web_shop": config.shop,
        "web_id": delivery.key,
        "reference": plain(order.number or order.id),
        "description": plain(f"{order.channel} {order.id}"),
        "comment": encode_comment(order),
        "lines": [["create", [_encode_line(line) for line in lines]]],
    }


def _encode_line(line: SaleLine) -> dict[str, Any]:
    price = {"__class__": "Decimal", "decimal": str(line.unit_price)}
    fields = {"product": line.product, "unit": line.unit, "description": line.description}
    return {"type": "line", "quantity": line.quantity, "unit_price": price} | {k: v for k, v in fields.items() if v}


def decode_decimal(value: object) -> Decimal | None:
    """Read Tryton's way of writing an exact number."""
    try:
        return Decimal(value["decimal"]) if isinstance(value, dict) else None
    except (KeyError, TypeError, InvalidOperation):
        return None


def compare(sale: Mapping[str, Any], lines: Sequence[SaleLine], total: Decimal) -> str:
    """Say how a sale that was read differs from what was sent; "" if it does not."""
    if sale.get("state") == "cancelled":
        return "it is cancelled in Tryton"
    if decode_decimal(sale.get("total_amount")) != total:
        return "its total is another"
    theirs: Counter[object] = Counter()
    for line in sale.get("lines") or ():
        price = decode_decimal(line.get("unit_price"))
        if line.get("type") == "line" and price is not None:
            product = line.get("product")
            theirs[
                product["id"] if isinstance(product, dict) else product, line.get("quantity"), price.normalize()
            ] += 1
    return "" if theirs == Counter(line.measure for line in lines) else "its lines are others"


class TrytonBackend:
    """Feeds one web shop of one Tryton database."""

    kind: ClassVar[str] = "tryton"

    def __init__(self, name: str, config: Config, key: str) -> None:
        self.name = name
        kinds = frozenset({Kind.CREATE, Kind.CANCEL})
        self.traits = BackendTraits(idempotent=True, lookup=True, kinds=kinds, counts=bool(config.counts))
        self._config = config
        self._model = f"{config.url.rstrip('/')}{'/' if config.database else ''}{config.database}/rest/model"
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
        half = _RANK[sales[0]["state"]] < _RANK[self._config.until]
        return Absent(half_done=backend_ref) if half else Found(backend_ref=backend_ref)

    async def check(self) -> str:
        """
        Read the web shop and try a look-up.

        Raises:
            BackendUnavailable: It did not answer, refused the key, or lacks a record that the configuration names.
        """
        try:
            shop = await self._catalogue.read_shop()
            await self._catalogue.search("sale.sale", [["web_id", "=", "fd-check"]], ("state",))
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
            config=self._config,
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
        if answer.status != 200 or not _is_sale(body) or body.get("web_id") != delivery.key:
            return unread(answer)
        if decode_decimal(body.get("total_amount")) != _amount(order.total, order.currency):
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
        while _RANK[state] < _RANK[self._config.until]:
            answer = await self._link.post(f"{self._model}/sale.sale/{sale_id}/{_STEP[state]}?f=state", {})
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
                if answer.status == 200 and _is_sale(body) and body["id"] == sale_id:
                    state = body["state"]
            if _RANK[state] <= _RANK[before]:
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
        if state not in _STEP:
            return Unsupported(reason=f"sale {number} is {state} in Tryton: it must be undone there by hand")
        answer = await self._link.post(f"{self._model}/sale.sale/{number}/cancel?f=state", {})
        if not isinstance(answer, Answer):
            return answer
        body, refusal = answer.json, decode_refusal(answer)
        if refusal is not None:
            return Unsupported(reason=plain_refusal(refusal, delivery.order))
        if answer.status == 200 and _is_sale(body) and str(body["id"]) == number and body["state"] == "cancelled":
            return Delivered(backend_ref=number)
        return by_status(answer) or unread(answer)

    # ------------------------------------------------------------------------------------------------------- reading

    async def _sales(self, delivery: Delivery) -> list[dict[str, Any]]:
        if delivery.ref.kind is Kind.CREATE:
            wanted: list[object] = ["web_id", "=", delivery.key]
        else:
            wanted = ["id", "=", int(delivery.backend_ref)]
        sales = await self._catalogue.search("sale.sale", [["web_shop", "=", self._config.shop], wanted], _SALE_FIELDS)
        if not all(_is_sale(sale) for sale in sales):
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
        return compare(sales[0], lines, _amount(order.total, order.currency))


def _is_sale(body: object) -> bool:
    return isinstance(body, dict) and isinstance(body.get("id"), int) and body.get("state") in _RANK


def connect(name: str, config: Config, reveal: Callable[[Secret], SecretText]) -> TrytonBackend:
    """
    Make the adapter; nothing is opened yet.

    Raises:
        ConfigError: The address cannot be used.
    """
    checked_url(f"backends.{name}.url", config.url)
    return TrytonBackend(name, config, str(reveal(config.secret)))
