"""
Odoo 19 and later by its JSON-2 API. Written from the documentation and UNTESTED AGAINST A LIVE SERVER.

An order is a `sale.order` under the external id `flashd.<key>`, made by `load`: record and external id in one
transaction, unique by (module, name). `load` would change a record that exists, so the external id is looked up first.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from flashd.backends.exchange import (
    Answer,
    EndedError,
    Link,
    by_status,
    checked_url,
    plain,
    plain_refusal,
    unread,
)
from flashd.config import BackendConfig, PositiveInt, Secret, SecretText
from flashd.domain.delivery import (
    Absent,
    Away,
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
from flashd.domain.money import decimal_text, exponent
from flashd.domain.order import Kind, Order
from flashd.errors import BackendUnavailable

MODULE = "flashd"  # before the dot of the external ids
_DRAFTS = frozenset({"draft", "sent"})
_STATES = _DRAFTS | {"sale", "done", "cancel"}
_HEADER = ("id", "partner_id/.id", "client_order_ref", "origin")
_LINE = ("product_id/.id", "product_uom_qty", "price_unit", "tax_ids/.id", "name")


class Config(BackendConfig, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Where Odoo is, and which of its records orders refer to; numbers are database ids."""

    secret: Secret  # an API key
    database: str = ""
    partner: PositiveInt  # who buys
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")]  # of the partner's price list; other orders are refused
    # SKU = product; by default the product whose internal reference (default_code) is the SKU
    products: dict[str, PositiveInt] = msgspec.field(default_factory=dict)
    # The products of extra lines; an order that needs one waits until it is configured
    extras: dict[Literal["shipping", "discount", "tax", "rounding"], PositiveInt] = msgspec.field(default_factory=dict)
    until: Literal["draft", "sale"] = "sale"


class OrderLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line as it goes into the sales order, without taxes of Odoo's own."""

    product: int
    quantity: int
    unit_price: int  # minor units
    name: str

    @property
    def measure(self) -> tuple[int, int, int]:
        """What must be equal in Odoo."""
        return (self.product, self.quantity, self.unit_price)


def encode_lines(order: Order, products: Mapping[str, int], extras: Mapping[Any, int]) -> list[OrderLine]:
    """
    Return the lines whose sum is exactly the order's total.

    Raises:
        EndedError: A product for an extra line is not configured.
    """
    lines = [
        OrderLine(
            product=products[line.sku],
            quantity=line.quantity,
            unit_price=line.unit_price,
            name=plain(line.title or line.sku),
        )
        for line in order.lines
    ]
    amounts = {
        "shipping": order.shipping,
        "discount": -order.discount - sum(line.discount for line in order.lines),
        "tax": order.tax,
        "rounding": order.total - order.sum_of_parts,
    }
    for name, amount in amounts.items():
        if amount and name not in extras:
            raise EndedError(Away(reason=f"an order has {name}: configure extras.{name}, the product of that line"))
        if amount:
            lines.append(OrderLine(product=extras[name], quantity=1, unit_price=amount, name=name.capitalize()))
    return lines


def encode_load(delivery: Delivery, lines: Sequence[OrderLine], config: Config) -> dict[str, Any]:
    """Return the arguments of `sale.order.load`: the header stands in the first row only."""
    order = delivery.order
    header = [f"{MODULE}.{delivery.key}", str(config.partner), plain(order.number or order.id), plain(order.channel)]
    rows = []
    for line in lines:
        price = decimal_text(line.unit_price, order.currency)
        rows.append([*header, str(line.product), str(line.quantity), price, "", line.name])
        header = [""] * len(header)
    return {"fields": [*_HEADER, *(f"order_line/{name}" for name in _LINE)], "data": rows}


def decode_refusal(answer: Answer) -> str | None:
    """Return the message of an exception that Odoo raised for the content, or None."""
    body = answer.json
    if answer.status in {400, 422} and isinstance(body, dict) and isinstance(body.get("message"), str):
        return str(body["message"])
    return None


def decode_load(body: object) -> list[int] | str | None:
    """Return the ids of `load`, its first message where it took nothing, or None if it is another answer."""
    if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
        return None
    ids = body.get("ids")
    if isinstance(ids, list) and ids and all(isinstance(number, int) for number in ids):
        return ids
    messages = [message.get("message") for message in body["messages"] if isinstance(message, dict)]
    return str(messages[0]) if messages else None


def compare(
    sale: Mapping[str, Any], records: Sequence[Mapping[str, Any]], lines: Sequence[OrderLine], order: Order
) -> str:
    """Say how a sales order that was read differs from what was sent; "" if it does not."""
    if sale.get("state") == "cancel":
        return "it is cancelled in Odoo"
    if _minor(sale.get("amount_total"), order) != order.total:
        return "its total is another"
    theirs: Counter[object] = Counter()
    for record in records:
        if not record.get("display_type"):
            product = record.get("product_id")
            number = product[0] if isinstance(product, list) and product else product
            theirs[number, record.get("product_uom_qty"), _minor(record.get("price_unit"), order)] += 1
    return "" if theirs == Counter(line.measure for line in lines) else "its lines are others"


def _minor(amount: object, order: Order) -> int | None:
    # Odoo speaks of money in floats; rounded to the minor unit they are exact up to 10^15.
    return round(amount * 10 ** exponent(order.currency)) if isinstance(amount, int | float) else None


class OdooBackend:
    """Feeds one Odoo database."""

    kind: ClassVar[str] = "odoo"
    traits: BackendTraits = BackendTraits(idempotent=True, lookup=True, kinds=frozenset({Kind.CREATE, Kind.CANCEL}))

    def __init__(self, name: str, config: Config, key: str) -> None:
        self.name = name
        self._config = config
        self._url = f"{config.url.rstrip('/')}/json/2"
        headers = {"Authorization": f"bearer {key}"} | ({"X-Odoo-Database": config.database} if config.database else {})
        self._link = Link(headers=headers, max_in_flight=config.max_in_flight, timeout_s=config.timeout_s)
        self._products: dict[str, int] = dict(config.products)

    async def deliver(self, delivery: Delivery) -> Outcome:
        """Bring the sales order to the state that the configuration wants, or cancel it, in at most `timeout_s`."""
        try:
            async with asyncio.timeout(self._config.timeout_s):
                if delivery.ref.kind is Kind.CREATE:
                    return await self._create(delivery)
                if delivery.ref.kind is Kind.CANCEL and delivery.backend_ref.isdecimal():
                    return await self._cancel(int(delivery.backend_ref))
        except EndedError as ended:
            return ended.nothing_written
        except TimeoutError:
            return Doubtful(reason=f"not finished after {self._config.timeout_s:g} s")
        return Unsupported(reason=f"sales order {delivery.backend_ref or '?'} must be changed in Odoo by hand")

    async def find(self, delivery: Delivery) -> Finding:
        """Look the external id up, and compare lines and total."""
        try:
            async with asyncio.timeout(self._config.timeout_s):
                if delivery.ref.kind is Kind.CREATE:
                    return await self._find(delivery)
                if delivery.backend_ref.isdecimal():
                    state = (await self._sale(int(delivery.backend_ref)))["state"]
                    return Found(backend_ref=delivery.backend_ref) if state == "cancel" else Absent()
        except EndedError as ended:
            return ended.nothing_known
        except TimeoutError:
            return Unknown(reason=f"no answer within {self._config.timeout_s:g} s")
        return Mismatch(reason="there is no sales order that it could follow")

    async def check(self) -> str:
        """
        Try a look-up with the key.

        Raises:
            BackendUnavailable: It did not answer, or refused the key.
        """
        try:
            await self._number("fd-check")
        except EndedError as ended:
            raise BackendUnavailable(f"backend {self.name}: {ended.outcome.reason}") from None
        return f"Odoo at {self._config.url}, database {self._config.database or '(its only one)'}"

    async def close(self) -> None:
        """Close connections; fine to call twice."""
        await self._link.close()

    # ------------------------------------------------------------------------------------------------------- writing

    async def _create(self, delivery: Delivery) -> Outcome:
        order = delivery.order
        if order.currency != self._config.currency:
            return Declined(reason=f"it is in {plain(order.currency)}, and this backend takes {self._config.currency}")
        if await self._number(delivery.key) is None:
            lines = encode_lines(order, await self._known(order), self._config.extras)
            answer = await self._link.post(f"{self._url}/sale.order/load", encode_load(delivery, lines, self._config))
            if not isinstance(answer, Answer):
                return answer
            trouble, refusal = by_status(answer), decode_refusal(answer)
            if trouble is not None:
                return trouble
            loaded = decode_load(answer.json) if answer.status == 200 else refusal
            if loaded is None:
                return unread(answer)
            if isinstance(loaded, str):
                refusal = plain_refusal(loaded, order)
        else:
            refusal = None
        try:
            # The answer of `load` does not repeat the key, so what it did is read back.
            return await self._go_on(delivery, refusal)
        except EndedError as ended:
            return Doubtful(reason=ended.outcome.reason)

    async def _go_on(self, delivery: Delivery, refusal: str | None) -> Outcome:
        finding = await self._find(delivery)
        if isinstance(finding, Found):
            return Delivered(backend_ref=finding.backend_ref)
        if not isinstance(finding, Absent):
            return Doubtful(reason=finding.reason)
        if not finding.half_done:
            return Declined(reason=refusal) if refusal else Doubtful(reason="loaded, and not to be found")
        number = int(finding.half_done)
        answer = await self._link.post(f"{self._url}/sale.order/action_confirm", {"ids": [number]})
        refusal = decode_refusal(answer) if isinstance(answer, Answer) else None
        state = (await self._sale(number))["state"]
        if state not in _DRAFTS:
            return Delivered(backend_ref=str(number)) if state != "cancel" else Doubtful(reason="it was cancelled")
        if refusal is not None:
            said = plain_refusal(refusal, delivery.order)[:140]
            return Declined(reason=f"sales order {number} stays a {state} in Odoo: {said}")
        reason = unread(answer).reason if isinstance(answer, Answer) else answer.reason
        return Doubtful(reason=plain(f"sales order {number} stays a {state}: {reason}"))

    async def _cancel(self, number: int) -> Outcome:
        state = (await self._sale(number))["state"]
        if state in _DRAFTS:
            answer = await self._link.post(f"{self._url}/sale.order/action_cancel", {"ids": [number]})
            if not isinstance(answer, Answer):
                return answer
            try:
                state = (await self._sale(number))["state"]
            except EndedError as ended:
                return Doubtful(reason=ended.outcome.reason)
        if state == "cancel":
            return Delivered(backend_ref=str(number))
        return Unsupported(reason=f"sales order {number} is {state} in Odoo: it must be undone there by hand")

    # ------------------------------------------------------------------------------------------------------- reading

    async def _call(self, model: str, method: str, arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
        # Every call is a POST, reads too; these change nothing.
        answer = await self._link.post(f"{self._url}/{model}/{method}", arguments)
        if not isinstance(answer, Answer):
            raise EndedError(answer)
        trouble, refusal, body = by_status(answer), decode_refusal(answer), answer.json
        if trouble is None and refusal is not None:
            trouble = Away(reason=plain(f"{model} cannot be read: {refusal}"))
        if trouble is not None:
            raise EndedError(trouble)
        if answer.status != 200 or not isinstance(body, list) or not all(isinstance(entry, dict) for entry in body):
            raise EndedError(unread(answer))
        return body

    async def _number(self, key: str) -> int | None:
        domain = [["module", "=", MODULE], ["name", "=", key], ["model", "=", "sale.order"]]
        found = await self._call("ir.model.data", "search_read", {"domain": domain, "fields": ["res_id"]})
        if not found:
            return None
        if not isinstance(found[0].get("res_id"), int):
            raise EndedError(Doubtful(reason="an external id without a record"))
        return int(found[0]["res_id"])

    async def _sale(self, number: int) -> dict[str, Any]:
        arguments = {"ids": [number], "fields": ["state", "amount_total", "client_order_ref"]}
        found = await self._call("sale.order", "read", arguments)
        if not found or found[0].get("id") != number or found[0].get("state") not in _STATES:
            raise EndedError(Doubtful(reason=f"sales order {number} cannot be read"))
        return found[0]

    async def _find(self, delivery: Delivery) -> Found | Absent | Mismatch:
        number, order = await self._number(delivery.key), delivery.order
        if number is None:
            return Absent()
        sale = await self._sale(number)
        arguments = {
            "domain": [["order_id", "=", number]],
            "fields": ["product_id", "product_uom_qty", "price_unit", "display_type"],
        }
        records = await self._call("sale.order.line", "search_read", arguments)
        lines = encode_lines(order, await self._known(order), self._config.extras)
        difference = compare(sale, records, lines, order)
        if difference:
            return Mismatch(reason=difference, backend_ref=str(number))
        half = self._config.until == "sale" and sale["state"] in _DRAFTS
        return Absent(half_done=str(number)) if half else Found(backend_ref=str(number))

    async def _known(self, order: Order) -> dict[str, int]:
        missing = [sku for sku in dict.fromkeys(line.sku for line in order.lines) if sku not in self._products]
        if missing:
            arguments = {"domain": [["default_code", "in", missing]], "fields": ["default_code", "sale_ok"]}
            for record in await self._call("product.product", "search_read", arguments):
                if record.get("sale_ok") and isinstance(record.get("id"), int):
                    self._products[str(record.get("default_code"))] = record["id"]
        for sku in missing:
            if sku not in self._products:
                raise EndedError(Declined(reason=plain(f"{sku} is not known or not for sale in Odoo")))
        return self._products


def connect(name: str, config: Config, reveal: Callable[[Secret], SecretText]) -> OdooBackend:
    """
    Make the adapter; nothing is opened yet.

    Raises:
        ConfigError: The address cannot be used.
    """
    checked_url(f"backends.{name}.url", config.url)
    return OdooBackend(name, config, str(reveal(config.secret)))
