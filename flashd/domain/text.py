"""Text from outside: what an id or a SKU may hold, and what is stripped from text that people read, or logs."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import TypeVar

from msgspec.structs import replace

from flashd.domain.order import Address, Customer, Line, Order

LONGEST_REASON = 200
ID_LENGTH = 255  # of an id in bytes, of a SKU in characters, as Shopify allows
_FIRST_PRINTABLE = "\x20"  # packed values in the store are separated by what lies below
T = TypeVar("T", Address, Customer)
_UNWANTED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")  # and no other


def check_id(text: str) -> str:
    """
    Return *text* unchanged if it may be an id: anything from 0x20 up.

    Case, composition (NFC or NFD) and blanks are kept: to a platform ``A`` and ``a`` are two orders.

    Raises:
        ValueError: It is empty, too long, or holds a control character.
    """
    if text.isascii() and text.isprintable() and 0 < len(text) <= ID_LENGTH:  # as nearly all are
        return text
    return _checked(text, len(text.encode()), "bytes")


def check_sku(text: str) -> str:
    """Return *text* unchanged if it may be a SKU: the same, but platforms count its characters. Raises as above."""
    if text.isascii() and text.isprintable() and 0 < len(text) <= ID_LENGTH:  # as nearly all are
        return text
    return _checked(text, len(text), "characters")


def _checked(text: str, length: int, unit: str) -> str:
    if not text:
        raise ValueError("is empty")
    if length > ID_LENGTH:
        raise ValueError(f"has {length} {unit}, want at most {ID_LENGTH}")
    if min(text) < _FIRST_PRINTABLE:
        raise ValueError("holds a control character")
    return text


def readable(text: str | None) -> str:
    """Return text for people without control and direction characters; line breaks and tabs stay."""
    if not text or text.isprintable():  # none of those is
        return text or ""
    return _UNWANTED.sub("", text)


def plain(text: str) -> str:
    """Return *text* fit for a log and a terminal: one line, no control and no direction characters, not long."""
    if text.isascii() and text.isprintable() and " " not in text and len(text) <= LONGEST_REASON:
        return text  # as ids and keys are
    kept = "".join(" " if unicodedata.category(mark)[0] in "CZ" else mark for mark in text[: LONGEST_REASON * 4])
    return " ".join(kept.split())[:LONGEST_REASON]


def readable_order(order: Order) -> Order:
    """Return the order with every text in it that people read as `readable` has it; ids, SKUs and codes stay."""
    who, to = order.customer, order.ship_to
    texts = [order.number, order.note, who.name, who.email, who.phone, *order.tags]
    texts += (to.name, to.company, to.street, to.street2, to.city, to.region, to.postcode, to.country, to.phone)
    texts += [line.title for line in order.lines]
    if "".join(texts).isprintable():
        return order
    return replace(
        order,
        number=readable(order.number),
        lines=readable_lines(order.lines),
        customer=_readable_texts(who),
        ship_to=_readable_texts(to),
        tags=tuple(map(readable, order.tags)),
        note=readable(order.note),
    )


def readable_lines(lines: Iterable[Line]) -> tuple[Line, ...]:
    """Return lines with their titles as people read them."""
    return tuple(replace(line, title=readable(line.title)) for line in lines)


def _readable_texts(part: T) -> T:
    """Return a Struct of nothing but texts as people read it."""
    return replace(part, **{name: readable(getattr(part, name)) for name in part.__struct_fields__})
