"""
Who a customer is, across all channels of a pool: a keyed hash, so that limits can count without knowing anybody.

An e-mail address counts without regard to case and blanks; a telephone number by its digits, behind an international
prefix. Nothing else is folded: `a+b@example.com` and `a@example.com` may be two people.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

from flashd.domain.order import Order

_NOT_DIGITS = re.compile(r"\D")
_PHONE = re.compile(r"\+?[\d\s()./-]+")


def identity_of(email: str, phone: str = "") -> str:
    """Return what tells one customer from another, or "" where nothing does."""
    if email.strip():
        return email.strip().casefold()
    digits = _NOT_DIGITS.sub("", phone)
    if phone.strip().startswith("+"):
        digits = "+" + digits
    elif digits.startswith("00"):
        digits = "+" + digits[2:]
    return digits


def identity_of_text(text: str) -> str:
    """Return the identity that somebody wrote as one text: an address, a telephone number, or a name of his own."""
    return identity_of("", text) if _PHONE.fullmatch(text.strip()) else identity_of(text)


def customer_hash(key: bytes) -> Callable[[str], str]:
    """Return the keyed hash under which customers are counted; without a key, nobody is known."""
    if not key:
        return lambda _: ""
    short_key = hashlib.blake2b(key).digest()  # BLAKE2b takes keys of up to 64 bytes
    return lambda identity: (
        hashlib.blake2b(identity.encode(), digest_size=16, key=short_key).hexdigest() if identity else ""
    )


def buyer_of(order: Order, hash_customer: Callable[[str], str]) -> str:
    """Return the keyed hash of who placed *order*, or ""."""
    return hash_customer(identity_of(order.customer.email, order.customer.phone or order.ship_to.phone))
