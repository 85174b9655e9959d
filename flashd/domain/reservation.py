"""Reservations: units promised to one buyer for a time."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from flashd.domain.catalogue import Bundle
from flashd.domain.order import Item, Line


class HoldState(StrEnum):
    """Where a hold stands; it leaves HELD exactly once."""

    HELD = "held"
    SOLD = "sold"
    RELEASED = "released"
    EXPIRED = "expired"


class HoldCode(StrEnum):
    """What became of the wish to hold."""

    HELD = "held"
    RELEASED = "released"  # release: its stock is free again
    REPEAT = (
        "repeat"  # the same id and request were known (or it was released already): the answer tells the state of now
    )
    CONFLICT = "conflict"  # the same id, another request
    SHORT = "short"
    LIMIT = "limit"  # the customer has, or would have, more than a sale allows
    CLOSED = "closed"  # its sale is not open now, or is stopped
    UNKNOWN_SKU = "unknown_sku"
    GONE = "gone"  # extend or release: there is no such hold, or it is no longer held


class HoldRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The wish to set stock aside; all lines or nothing. The same SKU twice is summed before the check."""

    id: str
    lines: tuple[Line, ...]
    ttl_ms: int
    digest: str  # of the request as the caller sent it: the same id with another digest is a conflict
    channel: str = ""
    customer: str = ""  # a keyed hash, never the address itself
    location: str = ""  # "": by the terms of its channel; a name: there and nowhere else, to be picked up


class HoldReply(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a wish to hold, extend or release."""

    code: HoldCode
    state: HoldState | None = None
    expires_ms: int = 0
    left: tuple[tuple[str, int], ...] = ()  # SHORT: (SKU, units free); UNKNOWN_SKU: (SKU, 0)
    sale: str = ""  # LIMIT and CLOSED: which
    sku: str = ""  # LIMIT and CLOSED: of which SKU, as it was ordered
    had: int = 0  # LIMIT: units that the customer has, held and ordered on all channels
    may: int = 0  # LIMIT: units that a customer may have
    start_ms: int = 0  # CLOSED
    end_ms: int = 0


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """A hold as the store keeps it; what ended keeps no items."""

    id: str
    state: HoldState
    digest: str
    began_ms: int
    expires_ms: int
    ended_ms: int = 0
    channel: str = ""
    customer: str = ""
    order: str = ""  # SOLD: to which order
    items: tuple[Item, ...] = ()
    bundles: tuple[Bundle, ...] = ()  # the kits among what is held, as they were taken apart
    uses: dict[str, int] = {}  # what it counts for, see domain.allowance


def extended(hold: Reservation, *, now_ms: int, ttl_ms: int, max_total_ms: int) -> int:
    """Return when *hold* ends after an extension: bounded by its beginning, never earlier than now said."""
    return max(hold.expires_ms, min(now_ms + ttl_ms, hold.began_ms + max_total_ms))
