"""
flashd's own order schema: what the native API and signed Standard Webhooks take, in full in docs/channels/.

Strict where platforms are read leniently: an unknown field, another type or a key that stands twice is an error that
names its path. Money is an integer of minor units. What is not told is UNSET, and so not written when a body is written
again: that is how `reading.read_strictly` finds keys that stand twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from flashd.channels import reading
from flashd.channels.reading import MAX_UNITS, Misread, at
from flashd.domain.instant import parse_ms
from flashd.domain.money import NO_CURRENCY, check_currency, discrepancy
from flashd.domain.order import Address, Customer, Line, Order
from flashd.domain.text import ID_LENGTH, check_id, check_sku, readable_order

Id = Annotated[str, Meta(min_length=1, max_length=ID_LENGTH)]
Text = Annotated[str, Meta(max_length=4000)]
Units = Annotated[int, Meta(ge=1, le=MAX_UNITS)]
Amount = Annotated[int, Meta(ge=0, le=10**12)]
MaybeText = Text | UnsetType
MaybeAmount = Amount | UnsetType
MaybeStr = str | UnsetType
Lines = Annotated[list["LineBody"], Meta(min_length=1, max_length=reading.MAX_LINES)]


class LineBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One line; it costs ``unit_price * quantity - discount``."""

    sku: Id
    quantity: Units
    unit_price: MaybeAmount = UNSET
    discount: MaybeAmount = UNSET
    title: MaybeText = UNSET


class CustomerBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Who bought."""

    name: MaybeText = UNSET
    email: MaybeText = UNSET
    phone: MaybeText = UNSET


class AddressBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Where the goods go."""

    name: MaybeText = UNSET
    company: MaybeText = UNSET
    street: MaybeText = UNSET
    street2: MaybeText = UNSET
    city: MaybeText = UNSET
    region: MaybeText = UNSET
    postcode: MaybeText = UNSET
    country: Annotated[str, Meta(pattern=r"^([A-Z]{2})?$")] | UnsetType = UNSET
    phone: MaybeText = UNSET


_NOBODY, _NOWHERE = Customer(), Address()


class OrderBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """An order; each channel adds which states of it may be told."""

    id: Id
    lines: Lines
    channel: MaybeStr = UNSET
    number: MaybeText = UNSET
    placed_at: MaybeStr = UNSET
    currency: MaybeStr = UNSET
    shipping: MaybeAmount = UNSET
    discount: MaybeAmount = UNSET
    tax: MaybeAmount = UNSET
    total: Amount | UnsetType | None = UNSET
    customer: CustomerBody | UnsetType = UNSET
    ship_to: AddressBody | UnsetType = UNSET
    tags: Annotated[list[Text], Meta(max_length=100)] | UnsetType = UNSET
    note: MaybeText = UNSET
    hold_id: Annotated[str, Meta(max_length=ID_LENGTH)] | UnsetType = UNSET


class WebhookOrder(OrderBody, kw_only=True):
    """An order as a Standard Webhook tells it: every delivery carries the whole of it, and a newer one wins."""

    status: Literal["paid", "pending", "cancelled", "test"]
    version: Annotated[int, Meta(ge=0, le=10**13)] | UnsetType | None = UNSET
    updated_at: MaybeStr = UNSET


class NativeOrder(OrderBody, kw_only=True):
    """An order as the native API takes it: once, when it is paid."""

    status: Literal["paid", "test"] | UnsetType = UNSET  # paid


class HoldBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A wish to set stock aside."""

    id: Id
    lines: Lines
    ttl_ms: Annotated[int, Meta(ge=1)] | UnsetType | None = UNSET
    customer: Text | CustomerBody | UnsetType = UNSET
    channel: MaybeStr = UNSET
    location: MaybeText = UNSET  # where it will be picked up; by the channel's terms if it does not say


def order_of(seen: OrderBody, channel: str, body: bytes) -> tuple[Order, str]:
    """
    Return the canonical order and, if its total does not add up, why it must be parked.

    Args:
        seen: The decoded body.
        channel: The channel that it came through.
        body: As it came.

    Raises:
        Misread: A text, a time or the currency is malformed.
    """
    path = "$.hold_id"
    try:
        if seen.hold_id:
            check_id(seen.hold_id)
        path = "$.id"
        order_id = check_id(seen.id)
        path = "$.placed_at"
        placed_ms = parse_ms(seen.placed_at) if seen.placed_at else 0
        path = "$.currency"
        currency = check_currency(seen.currency) if seen.currency else _no_currency(seen)
    except ValueError as error:
        raise Misread(f"{path} {error}") from None
    who, to = seen.customer, seen.ship_to
    order = Order(
        channel=channel,
        id=order_id,
        number=seen.number or "",
        placed_ms=placed_ms,
        currency=currency,
        lines=lines_of(seen.lines),
        shipping=seen.shipping or 0,
        discount=seen.discount or 0,
        tax=seen.tax or 0,
        total=seen.total or 0,
        customer=Customer(name=who.name or "", email=who.email or "", phone=who.phone or "") if who else _NOBODY,
        ship_to=_address(to) if to else _NOWHERE,
        tags=tuple(seen.tags or ()),
        note=seen.note or "",
    )
    if not reading.is_plain(body):
        order = readable_order(order)
    if isinstance(seen.total, int):
        return order, discrepancy(order)
    total = order.sum_of_parts
    if total < 0:
        raise Misread("$.discount is more than everything else costs")
    return msgspec.structs.replace(order, total=total), ""


def _address(seen: AddressBody) -> Address:
    return Address(
        name=seen.name or "",
        company=seen.company or "",
        street=seen.street or "",
        street2=seen.street2 or "",
        city=seen.city or "",
        region=seen.region or "",
        postcode=seen.postcode or "",
        country=seen.country or "",
        phone=seen.phone or "",
    )


def check_channel(told: str, own: str) -> None:
    """
    Let a body name its channel, but no other one.

    Raises:
        Misread: It names another one.
    """
    if told not in ("", own):
        raise Misread(f"$.channel is another channel's: want {own!r}, or leave it out")


def lines_of(seen: Sequence[LineBody]) -> tuple[Line, ...]:
    """
    Return the lines, with their SKUs checked and titles as they came.

    Raises:
        Misread: A SKU holds a control character.
    """
    lines = []
    for index, line in enumerate(seen):
        try:
            sku = check_sku(line.sku)
        except ValueError as error:
            raise Misread(f"$.lines[{index}].sku {error}") from None
        lines.append(Line(sku, line.quantity, line.unit_price or 0, line.discount or 0, line.title or ""))
    return tuple(lines)


def version_at(seen: WebhookOrder) -> int:
    """
    Return ``version``, else ``updated_at`` in ms: one channel uses one of the two for all its orders.

    Raises:
        Misread: Neither is there, or both are.
    """
    if isinstance(seen.version, int) == bool(seen.updated_at):
        raise Misread("$: want either `version` (an integer that rises with every change) or `updated_at`")
    return seen.version if isinstance(seen.version, int) else at("$.updated_at", parse_ms, seen.updated_at)


def _no_currency(seen: OrderBody) -> str:
    """Return what stands for no currency; an order without any money in it needs none."""
    amounts = (seen.shipping, seen.discount, seen.tax, seen.total)
    if any(amounts) or any(line.unit_price or line.discount for line in seen.lines):
        raise ValueError("is missing: want ISO 4217 such as EUR, as there are amounts")
    return NO_CURRENCY
