"""
Orders as Shopify's webhooks tell them (Admin REST payloads, API 2023-10 to 2026-10).

Only the body is signed, so the kind of a message comes from the body's shape and never from ``X-Shopify-Topic``. Every
order topic carries the whole order and is an upsert of it: orders/create, updated, paid, cancelled, fulfilled and
partially_fulfilled are all read alike. refunds/create and orders/edited name their order without its new state; the
orders/updated that follows brings that, so they are none of flashd's business.

Facts: shopify.dev/docs/api/admin-rest/latest/resources/order (fields, ``financial_status``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

import msgspec

from flashd.channels import reading
from flashd.channels.reading import ABSENT, NOTHING, Few, Misread, Raw, Units, amount, amount_at, at
from flashd.channels.shopify.config import Config
from flashd.domain.instant import parse_ms, version_of
from flashd.domain.money import absorb_rounding, check_currency, discrepancy, share
from flashd.domain.order import Address, Customer, Effect, Incoming, Line, Order
from flashd.domain.text import check_sku, readable, readable_order
from flashd.ports import Unreadable, Unrelated

_DELIVER, _WAIT, _CANCEL = Effect.DELIVER, Effect.WAIT, Effect.CANCEL  # CPython 3.11 takes 50 ns to look one up

# What each financial_status means. None stands for an order that was never charged, such as a free one in the making.
EFFECTS: dict[str | None, Effect] = {
    "paid": Effect.DELIVER,
    "partially_refunded": Effect.DELIVER,
    "pending": Effect.WAIT,
    "authorized": Effect.WAIT,
    "partially_paid": Effect.WAIT,
    "expired": Effect.WAIT,  # the authorization ran out: it may still be paid another way, or be cancelled
    None: Effect.WAIT,
    "voided": Effect.CANCEL,
    "refunded": Effect.CANCEL,
}

# Names at the top of a body that tell what it is, the first match wins.
_OTHERS: tuple[tuple[str, frozenset[str]], ...] = (
    ("refund", frozenset({"order_id", "refund_line_items"})),
    ("order edit", frozenset({"order_edit"})),
    ("fulfillment order", frozenset({"fulfillment_order"})),
    ("fulfillment", frozenset({"order_id", "tracking_company"})),
    ("transaction", frozenset({"order_id", "kind", "gateway"})),
    ("draft order", frozenset({"invoice_sent_at", "line_items"})),
    ("checkout", frozenset({"abandoned_checkout_url"})),
    ("return", frozenset({"return_line_items"})),
    ("cart", frozenset({"token", "line_items", "note"})),
    ("product", frozenset({"handle", "variants"})),
    ("inventory level", frozenset({"inventory_item_id", "location_id"})),
    ("inventory item", frozenset({"sku", "tracked"})),
    ("shop", frozenset({"myshopify_domain"})),
    ("location", frozenset({"address1", "city", "legacy"})),
    ("customer data request", frozenset({"shop_id", "shop_domain", "customer"})),
    ("customer", frozenset({"first_name", "last_name", "verified_email"})),
)
_REST_ANSWERS = re.compile(
    "fulfillment|inventory_item|inventory_levels?|locations?|orders?|refund|shop|transactions?|variant"
)
_ORDER_GID = re.compile(r"gid://shopify/Order/([1-9][0-9]{0,18})")
_INTEGER = re.compile(rb"[1-9][0-9]{0,18}")


class _Money(msgspec.Struct):
    amount: Raw = NOTHING


class _Prices(msgspec.Struct):
    shop_money: _Money


class _RefundLine(msgspec.Struct):
    quantity: Units
    line_item_id: Raw = NOTHING


class _Refund(msgspec.Struct):
    refund_line_items: list[_RefundLine] = []


class _Line(msgspec.Struct):
    quantity: Units
    price: Raw = NOTHING
    id: Raw = NOTHING
    sku: str | None = None
    variant_id: Raw = NOTHING
    current_quantity: Units | None = None
    name: str | None = None
    requires_shipping: bool | None = None
    discount_allocations: list[_Money] | None = None


class _Shipping(msgspec.Struct):
    price: Raw = NOTHING
    discounted_price: Raw = NOTHING
    current_discounted_price_set: _Prices | None = None
    discount_allocations: list[_Money] | None = None
    is_removed: bool | None = None


class _Address(msgspec.Struct):
    name: str | None = None
    company: str | None = None
    address1: str | None = None
    address2: str | None = None
    city: str | None = None
    province: str | None = None
    province_code: str | None = None
    zip: str | None = None
    country_code: str | None = None
    phone: str | None = None


class _Customer(msgspec.Struct):
    first_name: str | None = None
    last_name: str | None = None
    email: str | None = None
    phone: str | None = None


class _Order(msgspec.Struct):
    """What is read of an order; the three without a default tell it from every other body."""

    line_items: Annotated[list[_Line], Few]
    created_at: str
    financial_status: str | None
    currency: str = ""
    id: Raw = NOTHING
    admin_graphql_api_id: str | None = None
    name: str | None = None
    updated_at: str | None = None
    cancelled_at: str | None = None
    test: bool | None = None
    taxes_included: bool | None = None
    duties_included: bool | None = None
    total_price: Raw = NOTHING
    current_total_price: Raw = NOTHING
    total_tax: Raw = NOTHING
    current_total_tax: Raw = NOTHING
    current_total_duties_set: _Prices | None = None
    current_total_additional_fees_set: _Prices | None = None
    shipping_lines: list[_Shipping] | None = None
    refunds: list[_Refund] | None = None
    shipping_address: _Address | None = None
    billing_address: _Address | None = None
    customer: _Customer | None = None
    email: str | None = None
    contact_email: str | None = None
    phone: str | None = None
    tags: str | None = None
    note: str | None = None
    source_name: str | None = None


_DECODER = msgspec.json.Decoder(_Order)
_NOBODY, _NO_ADDRESS, _NOWHERE = _Customer(), _Address(), Address()


def decode_order(body: bytes, channel: str, config: Config) -> Incoming | Unreadable | Unrelated:
    """Understand a webhook's body: an order, something else that Shopify sends, or nothing that is known."""
    try:
        seen = reading.read(body, _DECODER)
        return _incoming(seen, body, channel, config)
    except Misread as error:
        subject = _other_subject(reading.keys_of(body))
        return Unrelated(subject) if subject else Unreadable(str(error))


def _other_subject(keys: frozenset[str]) -> str:
    if "financial_status" in keys:
        return ""
    if len(keys) == 1 and _REST_ANSWERS.fullmatch(min(keys)):
        return f"REST answer ({min(keys)})"
    return next((subject for subject, names in _OTHERS if names <= keys), "")


def _incoming(seen: _Order, body: bytes, channel: str, config: Config) -> Incoming:
    """
    Turn what was read into an Incoming.

    Raises:
        Misread: A field that decides is missing or malformed.
    """
    path = "$.currency"
    try:
        check_currency(seen.currency)
        path = "$.created_at"
        placed_ms = parse_ms(seen.created_at)
        path = "$.updated_at"
        updated_ms = parse_ms(seen.updated_at) if seen.updated_at else placed_ms
    except ValueError as error:
        raise Misread(f"{path} {error}") from None
    effect, reason = _effect(seen, config)
    cancelled = effect is _CANCEL
    refunds = seen.refunds
    lines, doubts, rounded = _lines(seen, _refunded_units(refunds) if refunds else {}, ordered=cancelled)
    order = _order(seen, channel, placed_ms, lines, whole=cancelled)
    if not reading.is_plain(body):
        order = readable_order(order)
    if rounded:
        order = absorb_rounding(order, rounded)
    if effect is _DELIVER or effect is _WAIT:
        if not lines and seen.line_items:
            effect = _CANCEL  # everything was taken off the order: nothing is left to deliver
        missing, odd = _address_doubt(seen, config), discrepancy(order)
        if reason or doubts or missing or odd:
            reason = "; ".join(filter(None, (reason, *doubts, missing, odd)))
    return Incoming(
        order=order,
        version=version_of(updated_ms, effect, steps=len(refunds) if refunds else 0),
        effect=effect,
        reason="" if effect is _CANCEL else reason,
        raw=body,
    )


def _effect(seen: _Order, config: Config) -> tuple[Effect, str]:
    status = seen.financial_status
    if seen.test:
        return Effect.IGNORE, "a test order"
    if seen.cancelled_at:
        return _CANCEL, ""
    if status in config.deliver_when:
        return _DELIVER, ""
    if status not in EFFECTS:
        return _DELIVER, f"financial_status is {reading.plain_word(status)}, which this version does not know"
    return EFFECTS[status], ""


def _refunded_units(refunds: Sequence[_Refund]) -> dict[bytes, int]:
    refunded: dict[bytes, int] = {}
    for refund in refunds:
        for line in refund.refund_line_items:
            key = bytes(line.line_item_id)
            refunded[key] = refunded.get(key, 0) + line.quantity
    return refunded


def _lines(seen: _Order, refunded: dict[bytes, int], *, ordered: bool) -> tuple[tuple[Line, ...], list[str], int]:
    """
    Return the lines, what is doubtful about them, and how many amounts were rounded.

    ``current_quantity`` lacks what was refunded or edited away; without it the refunds say so. A cancellation keeps
    what was *ordered*, since that is what it cancels.
    """
    lines, doubts, rounded = [], [] if seen.line_items else ["there are no lines"], 0
    currency = seen.currency
    for index, line in enumerate(seen.line_items):
        whole = quantity = line.quantity
        if line.current_quantity is not None and not ordered:
            quantity = line.current_quantity
        elif refunded and not ordered:
            quantity = max(0, whole - refunded.get(bytes(line.id), 0))
        field = "sku"
        try:
            sku, doubt = (check_sku(line.sku), "") if line.sku else _unnamed(line, index)
            if quantity == 0:
                continue
            field = "discount_allocations[...]"
            discount = 0
            for part in line.discount_allocations or ():
                discount += amount(bytes(part.amount), currency)
            if discount and quantity != whole:
                discount = share(discount, quantity, whole)
                rounded += 1
            field = "price"
            price = amount(bytes(line.price), currency)
        except ValueError as error:
            raise Misread(f"$.line_items[{index}].{field} {error}") from None
        if doubt:
            doubts.append(doubt)
        lines.append(Line(sku, quantity, price, discount, line.name or ""))
    return tuple(lines), doubts, rounded


def _unnamed(line: _Line, index: int) -> tuple[str, str]:
    """Return what stock of a line without a SKU is counted by, and a doubt where nothing names it."""
    if _INTEGER.fullmatch(bytes(line.variant_id)):
        return f"variant:{bytes(line.variant_id).decode()}", ""
    name = readable(line.name)
    return f"line:{index + 1}", f"line {index + 1} ({name}) has neither a SKU nor a variant"


def _order(seen: _Order, channel: str, placed_ms: int, lines: tuple[Line, ...], *, whole: bool) -> Order:
    """
    Build the order, with texts as they came.

    Additional fees go with the shipping and duties with the taxes: all are charged on top.
    """
    currency = seen.currency
    total, total_now = bytes(seen.total_price), bytes(seen.current_total_price)
    current = total_now not in ABSENT and not whole
    tax = shipping = 0
    if not seen.taxes_included:
        tax = amount_at("$.total_tax", seen.current_total_tax if current else seen.total_tax, currency)
    duties = seen.current_total_duties_set
    if duties and not seen.duties_included:
        tax += amount_at("$.current_total_duties_set", duties.shop_money.amount, currency)
    for line in seen.shipping_lines or ():
        shipping += _shipping(line, currency)
    if seen.current_total_additional_fees_set:
        fees = seen.current_total_additional_fees_set.shop_money.amount
        shipping += amount_at("$.current_total_additional_fees_set", fees, currency)
    if total in ABSENT and total_now in ABSENT:
        raise Misread("$.total_price is missing")
    return Order(
        channel=channel,
        id=_id(seen),
        number=seen.name or "",
        placed_ms=placed_ms,
        currency=currency,
        lines=lines,
        shipping=shipping,
        tax=tax,
        total=at("$.total_price", amount, total_now if current else total, currency),
        customer=_customer(seen),
        ship_to=_address(seen.shipping_address) if seen.shipping_address else _NOWHERE,
        tags=tuple(filter(None, map(readable, map(str.strip, seen.tags.split(","))))) if seen.tags else (),
        note=seen.note or "",
    )


def _id(seen: _Order) -> str:
    """Return the tail of the GID, else the integer id: JavaScript rounds the one and never the other."""
    if seen.admin_graphql_api_id and (match := _ORDER_GID.fullmatch(seen.admin_graphql_api_id)):
        return match[1]
    number = bytes(seen.id)
    if not _INTEGER.fullmatch(number):
        raise Misread("$.id is not an order id: want a positive integer below 10^19, or admin_graphql_api_id")
    return number.decode()


def _shipping(line: _Shipping, currency: str) -> int:
    """Return what one shipping line costs now, after discounts."""
    if line.is_removed:
        return 0
    if line.current_discounted_price_set:
        return amount_at("$.shipping_lines[...]", line.current_discounted_price_set.shop_money.amount, currency)
    price = amount_at("$.shipping_lines[...].price", line.price, currency)
    if line.discount_allocations:
        parts = (amount_at("$.shipping_lines[...]", part.amount, currency) for part in line.discount_allocations)
        return price - sum(parts)
    discounted = bytes(line.discounted_price)
    return price if discounted in ABSENT else at("$.shipping_lines[...].discounted_price", amount, discounted, currency)


def _address_doubt(seen: _Order, config: Config) -> str:
    if not config.require_address or seen.shipping_address or seen.source_name == "pos":
        return ""
    for line in seen.line_items:
        if line.requires_shipping:
            return "goods are to be shipped and there is no shipping_address"
    return ""


def _address(seen: _Address) -> Address:
    return Address(
        name=seen.name or "",
        company=seen.company or "",
        street=seen.address1 or "",
        street2=seen.address2 or "",
        city=seen.city or "",
        region=seen.province_code or seen.province or "",
        postcode=seen.zip or "",
        country=seen.country_code or "",
        phone=seen.phone or "",
    )


def _customer(seen: _Order) -> Customer:
    person = seen.customer or _NOBODY
    if person.first_name and person.last_name:
        name = f"{person.first_name} {person.last_name}"
    else:
        address = seen.billing_address or seen.shipping_address or _NO_ADDRESS
        name = person.first_name or person.last_name or address.name or ""
    return Customer(
        name=name,
        email=seen.email or seen.contact_email or person.email or "",
        phone=seen.phone or person.phone or "",
    )
