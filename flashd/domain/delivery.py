"""
Feeding one backend: what goes out, what may come back, and under which key.

The state machine stands in docs/lifecycle.md. "The order is bad" and "the backend is away" are different outcomes, and
only the first counts against an order.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum

import msgspec

from flashd.domain.order import Kind, Order, OrderRef


def idempotency_key(ref: OrderRef, revision: int = 0) -> str:
    """
    Return the key under which sending *ref* twice is sending it once.

    The same for every attempt; only a human's mend raises *revision*, after the absence was proven.
    """
    text = f"{ref.channel}\x1f{ref.id}\x1f{ref.kind}\x1f{revision}"
    return "fd-" + hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One request to a backend: claimed, counted and durable before the first byte goes out."""

    ref: OrderRef
    key: str
    order: Order
    backend_ref: str = ""  # of the order itself, for a follow-up
    sends: int = 1


class Delivered(msgspec.Struct, frozen=True, tag="delivered"):
    """The backend has it: a parsed answer that matches what was sent."""

    backend_ref: str


class Later(msgspec.Struct, frozen=True, tag="later"):
    """Nothing reached the wire (name, connect, TLS): nothing is counted against the order; the backend is away."""

    reason: str


class Throttled(msgspec.Struct, frozen=True, tag="throttled"):
    """429 or 503: the whole backend waits; nothing is counted. *retry_after_s* is None where it was not said."""

    reason: str
    retry_after_s: float | None = None


class Away(msgspec.Struct, frozen=True, tag="away"):
    """401, 403 or 404 on the endpoint: the backend is away (an expired token must not bury the backlog)."""

    reason: str


class Declined(msgspec.Struct, frozen=True, tag="declined"):
    """The backend understood the order and refused it: a dead letter."""

    reason: str


class Doubtful(msgspec.Struct, frozen=True, tag="doubtful"):
    """Anything else: the order may or may not have been recorded."""

    reason: str


class Unsupported(msgspec.Struct, frozen=True, tag="unsupported"):
    """The adapter cannot do this kind of item: a human must."""

    reason: str


class Sunk(msgspec.Struct, frozen=True, tag="sunk"):
    """The request it shared was refused as a whole and nothing of it recorded: to be sent in smaller company."""

    reason: str


Outcome = Delivered | Later | Throttled | Away | Declined | Doubtful | Unsupported | Sunk


class Found(msgspec.Struct, frozen=True, tag="found"):
    """A look-up found it, and lines and total match what was sent."""

    backend_ref: str


class Absent(msgspec.Struct, frozen=True, tag="absent"):
    """
    An authoritative look-up says the backend does not have it, or has only a part of it (*half_done* names that part).

    Sending a half-done one again under the same key finishes it. It proves no absence to a human who mends: a mended
    order has another key, and the part would stay beside it.
    """

    half_done: str = ""


class Mismatch(msgspec.Struct, frozen=True, tag="mismatch"):
    """A look-up found something under the key that is not what was sent: a human must look."""

    reason: str
    backend_ref: str = ""


class Unknown(msgspec.Struct, frozen=True, tag="unknown"):
    """The look-up itself failed: ask again later. *retry_after_s* where the backend said it."""

    reason: str
    retry_after_s: float | None = None


class NoLookup(msgspec.Struct, frozen=True, tag="no_lookup"):
    """This backend has no look-up at all."""


Finding = Found | Absent | Mismatch | Unknown | NoLookup


class BackendTraits(msgspec.Struct, frozen=True, kw_only=True):
    """What an adapter promises of its backend."""

    idempotent: bool  # sending the same key again is safe
    lookup: bool  # find() is authoritative after the settling time
    kinds: frozenset[Kind] = frozenset({Kind.CREATE})
    counts: bool = False  # counts() tells its stock
    batch: int = 1  # so many new orders, or look-ups, in one request at most


class ResultKind(StrEnum):
    """What the outbox is told of one claimed item."""

    DELIVERED = "delivered"  # accepted from anyone, whatever the epoch: it is a fact
    LATER = "later"  # back into the queue, due after delay_ms; nothing counted
    DOUBT = "doubt"  # stays in flight as in doubt; looked up after delay_ms
    ABSENT = "absent"  # looked up, not there: twice in a row, delay_ms apart, goes back to the queue
    UNKNOWN = "unknown"  # the look-up failed: stays in doubt, looked up again after delay_ms
    DECLINED = "declined"  # dead letter
    MANUAL = "manual"  # a human must decide


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one claimed item."""

    ref: OrderRef
    kind: ResultKind
    reason: str = ""
    backend_ref: str = ""
    delay_ms: int = 0
    count_refusal: bool = False  # ABSENT: the backend answered others meanwhile, so this order is suspect
    max_refusals: int = 5  # this many refusals bury it
    sends: int = 0  # the attempt it speaks of: one that arrives when the item was claimed again is void; 0: any


class FinishCode(StrEnum):
    """The outbox's answer to a result."""

    DONE = "done"
    FENCED = "fenced"  # a newer epoch acts for this backend
    NOT_IN_FLIGHT = "not_in_flight"  # somebody else settled it already
    UNKNOWN_ORDER = "unknown_order"


class ClaimCode(StrEnum):
    """The outbox's answer to the wish to send one item."""

    CLAIMED = "claimed"
    FENCED = "fenced"
    NOT_DUE = "not_due"
    NOT_QUEUED = "not_queued"
    CHANGED = "changed"  # a newer version waits to be applied first


class InFlight(msgspec.Struct, frozen=True, kw_only=True):
    """One item that left the queue and is not settled."""

    ref: OrderRef
    due_ms: int  # end of its in-flight lease, or the time of its next look-up
