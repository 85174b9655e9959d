"""
What Shopify demands about customers: customers/data_request, customers/redact, shop/redact and app/uninstalled.

Only the body is signed, so the first three are told by its shape. app/uninstalled carries the shop, as shop/update
does, and only ``X-Shopify-Topic`` tells them apart: whoever hears of it asks the shop's API before anything is stopped.

Facts: shopify.dev/docs/apps/build/compliance/privacy-law-compliance (bodies; answered 2xx, done within 30 days; a
customer may be named by an e-mail address alone; shop/redact comes 48 hours after the app was taken away).
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from flashd.channels import reading
from flashd.channels.shopify.config import Config
from flashd.domain.privacy import Demand, DemandKind, Person
from flashd.domain.text import readable
from flashd.ports import Unreadable

_NAMED = frozenset({"shop_id", "shop_domain"})
_KNOWN = _NAMED | {"customer", "orders_to_redact", "orders_requested", "data_request"}
_Id = int | str


class _Customer(msgspec.Struct):
    id: _Id | None = None
    email: str | None = None
    phone: str | None = None


class _Request(msgspec.Struct):
    id: _Id | None = None


class _Body(msgspec.Struct):
    shop_domain: str
    customer: _Customer | None = None
    orders_to_redact: list[_Id] | None = None
    orders_requested: list[_Id] | None = None
    data_request: _Request | None = None


class _Shop(msgspec.Struct):
    myshopify_domain: str


_BODY, _SHOP = msgspec.json.Decoder(_Body), msgspec.json.Decoder(_Shop)


def decode_demand(headers: Mapping[str, str], body: bytes, channel: str, config: Config) -> Demand | Unreadable | None:
    """Understand a proven body that is no order: a demand, one that a human must see, or none at all."""
    keys = reading.keys_of(body)
    try:
        if keys >= _NAMED:
            return _demand(_BODY.decode(body), keys, channel, config)
        if "myshopify_domain" in keys and _topic(headers) == "app/uninstalled":
            domain = _SHOP.decode(body).myshopify_domain
            return _foreign(domain, config) or Demand(kind=DemandKind.UNINSTALL, channel=channel)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Unreadable("a demand about customers that is not understood: see it, then flashd forget")
    return None


def _topic(headers: Mapping[str, str]) -> str:
    return next((value for name, value in headers.items() if name.lower() == "x-shopify-topic"), "").strip().lower()


def _demand(seen: _Body, keys: frozenset[str], channel: str, config: Config) -> Demand | Unreadable:
    if foreign := _foreign(seen.shop_domain, config):
        return foreign
    if keys == _NAMED:
        if not config.url:
            return Unreadable(
                "customers of a whole shop are to be erased, and without url in its section nobody can say whether this"
                f" channel is that shop: if it is, flashd forget --channel {channel} --everything"
            )
        person = Person(channel=channel, everything=True)
        return Demand(kind=DemandKind.ERASE_SHOP, channel=channel, person=person)
    erases, asks = seen.orders_to_redact is not None, seen.orders_requested is not None or seen.data_request is not None
    if erases == asks or not keys <= _KNOWN:
        return Unreadable("a demand about customers of a kind that this version does not know: see it, then answer it")
    person = _person(seen, channel)
    if person.flaw:
        return Unreadable(f"a demand about a customer whom it does not name: {person.flaw}")
    number = seen.data_request.id if seen.data_request else None
    kind = DemandKind.ERASE if erases else DemandKind.DISCLOSE
    return Demand(kind=kind, channel=channel, person=person, reference=str(number or ""))


def _person(seen: _Body, channel: str) -> Person:
    customer = seen.customer or _Customer()
    orders = tuple(str(one) for one in (*(seen.orders_to_redact or ()), *(seen.orders_requested or ())))
    person = Person(
        channel=channel,
        orders=orders,
        email=customer.email or "",
        phone=customer.phone or "",
        customer_id=str(customer.id or ""),
    )
    if person.flaw and person.phone:  # a number too short to find anybody by must not hide the rest
        person = msgspec.structs.replace(person, phone="")
    return person


def _foreign(domain: str, config: Config) -> Unreadable | None:
    """Refuse what speaks of another shop: one secret of an app signs for every shop that has it."""
    own = (urlsplit(config.url).hostname or "").lower()
    if not own or domain.strip().lower() == own:
        return None
    return Unreadable(f"it speaks of the shop {readable(domain)[:100]}, and this channel is {own}")
