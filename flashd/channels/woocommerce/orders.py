"""
Orders as WooCommerce tells them (REST API v3 payloads), and the signatures of its webhooks.

Only the body is signed, so the kind of a message comes from the body's shape and never from ``X-WC-Webhook-Topic``. A
deleted order arrives as ``{"id": 7}``, exactly like a deleted product or customer, so it cannot cancel anything: a poll
finds the order in the trash. The delivery id hashes the second and is shared by two orders; it decides nothing either.

A refund tells its amount and not its lines, so a partly refunded order is parked for a human.

Facts: woocommerce/woocommerce class-wc-webhook.php (signature, ping, no repetition) and
woocommerce.github.io/woocommerce-rest-api-docs (order properties; line totals never contain tax).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Annotated, ClassVar

import msgspec

from flashd.channels import reading, signature
from flashd.channels.reading import NOTHING, Few, Misread, Raw, Units, amount, amount_at, at
from flashd.channels.woocommerce.config import Config
from flashd.config import Secret, SecretText
from flashd.domain.instant import parse_ms, version_of
from flashd.domain.money import absorb_rounding, check_currency, decimal_text, discrepancy
from flashd.domain.order import Address, Customer, Effect, Incoming, Line, Order
from flashd.domain.text import check_id, check_sku, readable, readable_order
from flashd.ports import Unreadable, Unrelated

# What each status means; a status that a plug-in made up is parked.
EFFECTS: dict[str, Effect] = {
    "processing": Effect.DELIVER,
    "completed": Effect.DELIVER,
    "pending": Effect.WAIT,
    "on-hold": Effect.WAIT,
    "failed": Effect.CANCEL,
    "cancelled": Effect.CANCEL,
    "refunded": Effect.CANCEL,
    "trash": Effect.CANCEL,
    "checkout-draft": Effect.IGNORE,
    "auto-draft": Effect.IGNORE,
}

# Names at the top of a body that tell what it is, the first match wins.
_OTHERS: tuple[tuple[str, frozenset[str]], ...] = (
    ("refund", frozenset({"amount", "refunded_by"})),
    ("product", frozenset({"regular_price", "catalog_visibility"})),
    ("webhook", frozenset({"delivery_url", "topic"})),
    ("coupon", frozenset({"code", "discount_type"})),
    ("customer", frozenset({"username", "role"})),
    ("action", frozenset({"action", "arg"})),
)
_PING = re.compile(rb"webhook_id=[0-9]{1,20}")
_ID = re.compile(r"[1-9][0-9]{0,18}")
_utc_ms = functools.partial(parse_ms, utc=True)  # what ends in _gmt has no offset


class _Line(msgspec.Struct):
    quantity: Units
    subtotal: Raw = NOTHING  # before coupons
    total: Raw = NOTHING
    sku: str | None = None
    product_id: int | None = None
    variation_id: int | None = None
    name: str | None = None


class _Fee(msgspec.Struct):
    total: Raw = NOTHING


class _Address(msgspec.Struct):
    first_name: str | None = None
    last_name: str | None = None
    company: str | None = None
    address_1: str | None = None
    address_2: str | None = None
    city: str | None = None
    state: str | None = None
    postcode: str | None = None
    country: str | None = None
    email: str | None = None
    phone: str | None = None

    @property
    def full_name(self) -> str:
        if self.first_name and self.last_name:
            return f"{self.first_name} {self.last_name}"
        return self.first_name or self.last_name or ""


class _Order(msgspec.Struct):
    """What is read of an order; those without a default tell it from every other body."""

    id: int | str
    status: str
    currency: str
    total: Raw
    line_items: Annotated[list[_Line], Few]
    date_created_gmt: str | None = None
    date_modified_gmt: str | None = None
    number: int | str = ""
    total_tax: Raw = NOTHING
    shipping_total: Raw = NOTHING
    fee_lines: list[_Fee] = []
    refunds: list[_Fee] = []
    billing: _Address = msgspec.field(default_factory=_Address)
    shipping: _Address = msgspec.field(default_factory=_Address)
    customer_note: str | None = None


_DECODER = msgspec.json.Decoder(_Order)


def decode_order(body: bytes, channel: str, config: Config) -> Incoming | Unreadable | Unrelated:
    """Understand a webhook's body: an order, something else that WooCommerce sends, or nothing that is known."""
    try:
        seen = reading.read(body, _DECODER)
        return _incoming(seen, body, channel, config)
    except Misread as error:
        subject = _other_subject(reading.keys_of(body))
        return Unrelated(subject) if subject else Unreadable(str(error))


def _other_subject(keys: frozenset[str]) -> str:
    if "line_items" in keys and "status" in keys:
        return ""
    if keys == {"id"}:
        return "deletion"
    return next((subject for subject, names in _OTHERS if names <= keys), "")


def _incoming(seen: _Order, body: bytes, channel: str, config: Config) -> Incoming:
    """
    Turn what was read into an Incoming.

    Raises:
        Misread: A field that decides is missing or malformed.
    """
    at("$.currency", check_currency, seen.currency)
    effect, reason = _effect(seen, config)
    order, doubts = _order(seen, channel)
    if not reading.is_plain(body):
        order = readable_order(order)
    refunded = 0
    for refund in seen.refunds:
        refunded -= amount_at("$.refunds[...].total", refund.total, seen.currency)
    if refunded and effect is not Effect.CANCEL:
        order = msgspec.structs.replace(order, discount=order.discount + refunded, total=order.total - refunded)
        doubts.append(
            f"{decimal_text(refunded, seen.currency)} was refunded, and WooCommerce does not say for which lines"
        )
    if effect is Effect.DELIVER or effect is Effect.WAIT:
        odd = discrepancy(order)
        if reason or doubts or odd:
            reason = "; ".join(filter(None, (reason, *doubts, odd)))
    updated_ms = at("$.date_modified_gmt", _utc_ms, seen.date_modified_gmt or seen.date_created_gmt or "")
    return Incoming(
        order=order,
        version=version_of(updated_ms, effect, steps=len(seen.refunds)),
        effect=effect,
        reason=reason,
        raw=body,
    )


def _effect(seen: _Order, config: Config) -> tuple[Effect, str]:
    if seen.status in config.deliver_when:
        return Effect.DELIVER, ""
    if seen.status not in EFFECTS:
        return Effect.DELIVER, f"status is {reading.plain_word(seen.status)}, which this version does not know"
    effect = EFFECTS[seen.status]
    return effect, "a draft" if effect is Effect.IGNORE else ""


def _order(seen: _Order, channel: str) -> tuple[Order, list[str]]:
    """
    Build the order, with texts as they came, and say what is doubtful about its lines.

    Fees are charged like shipping, and a negative one is a discount. Each amount was rounded for itself (prices that
    include tax are kept as net amounts), so half a minor unit for each may be missing from the total.
    """
    currency = seen.currency
    lines, doubts = _lines(seen)
    charged = discount = 0
    for index, line in enumerate(seen.fee_lines):
        fee = amount_at(f"$.fee_lines[{index}].total", line.total, currency)
        charged, discount = (charged + fee, discount) if fee > 0 else (charged, discount - fee)
    order = Order(
        channel=channel,
        id=_id(seen.id),
        number=str(seen.number),
        placed_ms=at("$.date_created_gmt", _utc_ms, seen.date_created_gmt or seen.date_modified_gmt or ""),
        currency=currency,
        lines=lines,
        shipping=amount_at("$.shipping_total", seen.shipping_total, currency) + charged,
        discount=discount,
        tax=amount_at("$.total_tax", seen.total_tax, currency),
        total=amount_at("$.total", seen.total, currency),
        customer=Customer(
            name=seen.billing.full_name,
            email=seen.billing.email or "",
            phone=seen.billing.phone or "",
        ),
        ship_to=_address(seen.shipping if seen.shipping.address_1 else seen.billing),
        note=seen.customer_note or "",
    )
    if not lines:
        doubts.append("there are no lines")
    return absorb_rounding(order, (len(lines) + len(seen.fee_lines) + 2) // 2), doubts


def _id(found: int | str) -> str:
    """Return the id as text: plug-ins write it as either, and a number in text is the same order."""
    if isinstance(found, int) and not _ID.fullmatch(str(found)):
        raise Misread("$.id is out of range: want a positive integer below 10^19")
    return at("$.id", check_id, str(found))


def _lines(seen: _Order) -> tuple[tuple[Line, ...], list[str]]:
    """
    Return the lines and what is doubtful about them.

    The unit price is rounded up where the subtotal cannot be divided, and the discount makes up for it.
    """
    lines, doubts = [], []
    for index, line in enumerate(seen.line_items):
        quantity = line.quantity
        field = "sku"
        try:
            sku, doubt = (check_sku(line.sku), "") if line.sku else _unnamed(line, index)
            if quantity == 0:
                continue
            if doubt:
                doubts.append(doubt)
            field = "total"
            total = amount(bytes(line.total), seen.currency)
            field = "subtotal"
            subtotal = max(total, amount(bytes(line.subtotal), seen.currency))
        except ValueError as error:
            raise Misread(f"$.line_items[{index}].{field} {error}") from None
        price = -(-subtotal // quantity)
        lines.append(Line(sku, quantity, unit_price=price, discount=price * quantity - total, title=line.name or ""))
    return tuple(lines), doubts


def _unnamed(line: _Line, index: int) -> tuple[str, str]:
    """Return what stock of a line without a SKU is counted by, and a doubt where it names no product."""
    for kind, found in (("variation", line.variation_id), ("product", line.product_id)):
        if found and _ID.fullmatch(str(found)):
            return f"{kind}:{found}", ""
    return f"line:{index + 1}", f"line {index + 1} ({readable(line.name)}) has neither a SKU nor a product"


def _address(seen: _Address) -> Address:
    return Address(
        name=seen.full_name,
        company=seen.company or "",
        street=seen.address_1 or "",
        street2=seen.address_2 or "",
        city=seen.city or "",
        region=seen.state or "",
        postcode=seen.postcode or "",
        country=seen.country or "",
        phone=seen.phone or "",
    )


class WooCommerce(signature.SignedBody):
    """One WooCommerce shop as a sales channel."""

    kind: ClassVar[str] = "woocommerce"
    header: ClassVar[str] = "x-wc-webhook-signature"

    def __init__(self, name: str, config: Config, secrets: tuple[bytes, ...]) -> None:
        super().__init__(name, secrets)
        self._config = config

    def is_ping(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Say whether this is the form-encoded, unsigned test that saving a webhook sends; it wants exactly 200."""
        return self.header not in headers and _PING.fullmatch(body) is not None

    def decode(self, headers: Mapping[str, str], body: bytes) -> Incoming | Unreadable | Unrelated:  # noqa: ARG002  # unsigned: they decide nothing
        """Understand a proven body; the headers are not signed and decide nothing."""
        return decode_order(body, self.name, self._config)

    def sign(self, body: bytes, *, now_s: float, delivery_id: str) -> dict[str, str]:
        """Return the headers of an order.updated delivery of this body."""
        headers = super().sign(body, now_s=now_s, delivery_id=delivery_id)
        return {**headers, "x-wc-webhook-topic": "order.updated", "x-wc-webhook-delivery-id": delivery_id}


def connect(name: str, config: Config, reveal: Callable[[Secret], SecretText]) -> WooCommerce:
    """
    Return the channel.

    Raises:
        ConfigError: A secret is missing or empty.
    """
    return WooCommerce(name, config, signature.live_secrets(name, config, reveal))
