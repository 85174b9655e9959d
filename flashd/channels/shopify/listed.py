"""
An order as the Admin GraphQL API lists it, put into the words of a webhook.

So both ways in share one reading: whatever the API lists becomes exactly the order, and the version, that its webhook
would bring, and what cannot be read is kept in the words in which it can be mended and read again.
"""

from __future__ import annotations

from typing import Any

import msgspec

_TAIL = "/"


class _Money(msgspec.Struct, rename="camel"):
    amount: str


class _Bag(msgspec.Struct, rename="camel"):
    shop_money: _Money


class _Allocation(msgspec.Struct, rename="camel"):
    allocated_amount_set: _Bag


class _Variant(msgspec.Struct, rename="camel"):
    legacy_resource_id: str


class Line(msgspec.Struct, rename="camel"):
    """A line item."""

    id: str
    name: str
    quantity: int
    current_quantity: int
    requires_shipping: bool
    original_unit_price_set: _Bag
    sku: str | None = None
    variant: _Variant | None = None
    discount_allocations: list[_Allocation] = []


class PageInfo(msgspec.Struct, rename="camel"):
    """Whether there is more, and where."""

    has_next_page: bool
    end_cursor: str | None = None


class Lines(msgspec.Struct, rename="camel"):
    """A page of line items."""

    nodes: list[Line]
    page_info: PageInfo


class _Shipping(msgspec.Struct, rename="camel"):
    current_discounted_price_set: _Bag
    is_removed: bool = False


class _Shippings(msgspec.Struct, rename="camel"):
    nodes: list[_Shipping]


class _Email(msgspec.Struct, rename="camel"):
    email_address: str | None = None


class _Phone(msgspec.Struct, rename="camel"):
    phone_number: str | None = None


class _Customer(msgspec.Struct, rename="camel"):
    first_name: str | None = None
    last_name: str | None = None
    default_email_address: _Email | None = None
    default_phone_number: _Phone | None = None


class _Address(msgspec.Struct, rename={"province_code": "provinceCode", "country_code": "countryCodeV2"}):
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


class ListedOrder(msgspec.Struct, rename="camel"):
    """What is asked of an order."""

    id: str
    name: str
    created_at: str
    updated_at: str
    currency_code: str
    line_items: Lines
    shipping_lines: _Shippings
    test: bool = False
    cancelled_at: str | None = None
    display_financial_status: str | None = None
    taxes_included: bool = False
    duties_included: bool = False
    email: str | None = None
    phone: str | None = None
    note: str | None = None
    tags: list[str] = []
    source_name: str | None = None
    total_price_set: _Bag | None = None
    current_total_price_set: _Bag | None = None
    total_tax_set: _Bag | None = None
    current_total_tax_set: _Bag | None = None
    current_total_duties_set: _Bag | None = None
    current_total_additional_fees_set: _Bag | None = None
    customer: _Customer | None = None
    billing_address: _Address | None = None
    shipping_address: _Address | None = None
    refunds: list[dict[str, Any]] = []


def as_webhook(order: ListedOrder) -> bytes:
    """Return the body that a webhook of this order would have, as far as flashd reads one."""
    status = order.display_financial_status
    return msgspec.json.encode(
        {
            "id": _number(order.id),
            "admin_graphql_api_id": order.id,
            "name": order.name,
            "created_at": order.created_at,
            "updated_at": order.updated_at,
            "cancelled_at": order.cancelled_at,
            "test": order.test,
            "currency": order.currency_code,
            "financial_status": None if status is None else status.lower(),
            "taxes_included": order.taxes_included,
            "duties_included": order.duties_included,
            "email": order.email,
            "phone": order.phone,
            "note": order.note,
            "tags": ", ".join(order.tags),
            "source_name": order.source_name,
            "total_price": _amount(order.total_price_set),
            "current_total_price": _amount(order.current_total_price_set),
            "total_tax": _amount(order.total_tax_set),
            "current_total_tax": _amount(order.current_total_tax_set),
            "current_total_duties_set": _set(order.current_total_duties_set),
            "current_total_additional_fees_set": _set(order.current_total_additional_fees_set),
            "customer": None if order.customer is None else _customer(order.customer),
            "billing_address": _address(order.billing_address),
            "shipping_address": _address(order.shipping_address),
            "refunds": [{"refund_line_items": []} for _ in order.refunds],
            "line_items": [_line(line) for line in order.line_items.nodes],
            "shipping_lines": [
                {"is_removed": line.is_removed, "current_discounted_price_set": _set(line.current_discounted_price_set)}
                for line in order.shipping_lines.nodes
            ],
        }
    )


def _line(line: Line) -> dict[str, Any]:
    return {
        "id": _number(line.id),
        "name": line.name,
        "sku": line.sku,
        "quantity": line.quantity,
        "current_quantity": line.current_quantity,
        "requires_shipping": line.requires_shipping,
        "price": line.original_unit_price_set.shop_money.amount,
        "variant_id": None if line.variant is None else _number(line.variant.legacy_resource_id),
        "discount_allocations": [
            {"amount": allocation.allocated_amount_set.shop_money.amount} for allocation in line.discount_allocations
        ],
    }


def _customer(customer: _Customer) -> dict[str, Any]:
    email, phone = customer.default_email_address, customer.default_phone_number
    return {
        "first_name": customer.first_name,
        "last_name": customer.last_name,
        "email": None if email is None else email.email_address,
        "phone": None if phone is None else phone.phone_number,
    }


def _address(address: _Address | None) -> dict[str, Any] | None:
    return None if address is None else msgspec.structs.asdict(address)


def _amount(bag: _Bag | None) -> str | None:
    return None if bag is None else bag.shop_money.amount


def _set(bag: _Bag | None) -> dict[str, Any] | None:
    return None if bag is None else {"shop_money": {"amount": bag.shop_money.amount}}


def _number(name: str) -> int | None:
    """Return the number at the end of a global id; None where there is none."""
    tail = name.rpartition(_TAIL)[2]
    return int(tail) if tail.isascii() and tail.isdigit() and len(tail) < 20 else None
