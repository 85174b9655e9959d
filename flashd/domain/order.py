"""
The canonical order: what every sales channel is decoded into and every backend is fed from.

Money is an integer of the currency's minor unit (cents for EUR, yen for JPY) and final: a backend must not reprice.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum

import msgspec
from msgspec.structs import replace

from flashd.domain.catalogue import Bundle


class OrderState(StrEnum):
    """Where an order stands; drawn in docs/lifecycle.md."""

    WAITING = "waiting"  # durable, stock taken, not to be delivered before it is paid
    QUEUED = "queued"
    SENDING = "sending"
    IN_DOUBT = "in_doubt"
    DELIVERED = "delivered"
    DEAD = "dead"
    MANUAL = "manual"  # a human must say whether the backend has it
    PARKED = "parked"  # doubtful (a total that does not add up, an unknown SKU): stock taken, a human looks at it
    SHORTFALL = "shortfall"  # paid, and not all units could be taken
    BACKORDER = "backorder"  # waits for goods: served on receipt, first come, first served
    CANCELLED = "cancelled"
    IGNORED = "ignored"  # recorded as a tombstone only: test orders, orders before the cut-over


class Kind(StrEnum):
    """What an outbox item asks of the backend."""

    CREATE = "create"
    CANCEL = "cancel"
    AMEND = "amend"


class Effect(StrEnum):
    """What a version of an order, as the channel tells it, means to flashd."""

    DELIVER = "deliver"  # take stock, queue for the backend
    WAIT = "wait"  # take stock, do not deliver yet
    CANCEL = "cancel"  # give stock back, nothing (more) to deliver
    IGNORE = "ignore"  # record and leave alone


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of an order; its total is ``unit_price * quantity - discount`` minor units."""

    sku: str
    quantity: int
    unit_price: int = 0
    discount: int = 0
    title: str = ""

    @property
    def total(self) -> int:
        """What the line costs, in minor units."""
        return self.unit_price * self.quantity - self.discount


class Address(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Where the goods go."""

    name: str = ""
    company: str = ""
    street: str = ""
    street2: str = ""
    city: str = ""
    region: str = ""
    postcode: str = ""
    country: str = ""  # ISO 3166-1 alpha-2
    phone: str = ""


class Customer(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Who bought; personal data, never logged."""

    name: str = ""
    email: str = ""
    phone: str = ""


class Order(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A sales order in flashd's own words."""

    channel: str
    id: str
    number: str = ""  # what people call it, such as "#1001"
    placed_ms: int  # since 1970; 0: not told, so it counts as placed when it came
    currency: str  # ISO 4217
    lines: tuple[Line, ...]
    shipping: int = 0
    discount: int = 0  # of the whole order, not already in a line; positive
    tax: int = 0  # not already in the prices
    total: int
    customer: Customer = Customer()
    ship_to: Address = Address()
    tags: tuple[str, ...] = ()
    note: str = ""

    @property
    def sum_of_parts(self) -> int:
        """What the total should be, by the parts."""
        total = self.shipping + self.tax - self.discount
        for line in self.lines:
            total += line.unit_price * line.quantity - line.discount  # its total, without a call for each
        return total

    @property
    def digest(self) -> str:
        """
        A fingerprint of all that matters to a backend: 16 hex digits, no version and no time of change in it.

        Tags are left out: shop apps tag orders at any time, and a tag alone is nothing to tell an ERP.
        """
        return self.digest_of(msgspec.json.encode(self))

    def digest_of(self, written: bytes) -> str:
        """Return the digest, where the order is *written* as JSON already."""
        told = msgspec.json.encode(replace(self, tags=())) if self.tags else written
        return hashlib.blake2b(told, digest_size=8).hexdigest()

    def placed_after(self, instant_ms: int) -> bool:
        """Say whether it was placed at or after *instant_ms*; one that does not say when is placed as it comes."""
        return self.placed_ms == 0 or self.placed_ms >= instant_ms


class OrderRef(msgspec.Struct, frozen=True, order=True):
    r"""
    Which outbox item: an order of a channel, or what followed it after delivery.

    Its text form is ``<channel>:<order id>`` and, for a follow-up, ``\x1f<kind>`` behind it. Ids hold nothing below
    0x20, so the text form is unambiguous.
    """

    channel: str
    id: str
    kind: Kind = Kind.CREATE

    def __str__(self) -> str:
        tail = "" if self.kind is Kind.CREATE else f"\x1f{self.kind}"
        return f"{self.channel}:{self.id}{tail}"

    @classmethod
    def parse(cls, text: str) -> OrderRef:
        """
        Read the text form.

        Raises:
            ValueError: There is no colon in it, or the kind is unknown.
        """
        channel, colon, rest = text.partition(":")
        if not colon or not channel or not rest:
            raise ValueError(f"{text!r} is not an order reference: write <channel>:<order id>")
        order_id, _, kind = rest.partition("\x1f")
        return cls(channel, order_id, Kind(kind) if kind else Kind.CREATE)


class Incoming(msgspec.Struct, frozen=True, kw_only=True):
    """
    One version of an order as a sales channel tells it, ready to be accepted.

    *version* rises with every change on the platform: ``updated_at in ms * 10 + rank``, where the rank (0 to 9)
    orders versions within one timestamp and 9 is a cancellation. *strict* is the native API's rule: the same id with
    other content is a conflict, whatever its version.
    """

    order: Order
    version: int
    effect: Effect
    reason: str = ""  # why it must be parked (with DELIVER or WAIT) or is ignored
    hold_id: str = ""
    strict: bool = False
    raw: bytes = b""
    customer: str = ""  # the keyed hash that purchase limits count by, never the address itself

    @property
    def ref(self) -> OrderRef:
        """The order it speaks of."""
        return OrderRef(self.order.channel, self.order.id)


class Item(msgspec.Struct, frozen=True):
    """Units of one SKU at one location that an order wants, and how many of them were taken from stock."""

    sku: str
    location: str
    quantity: int
    taken: int = 0
    counted: int = 0  # taken once, and taken out of sold by a count that lacks them: they never go back to stock

    @property
    def missing(self) -> int:
        """How many units it still wants."""
        return max(0, self.quantity - self.taken - self.counted)


class OrderRecord(msgspec.Struct, frozen=True, kw_only=True):
    """All that the store keeps of one outbox item."""

    ref: OrderRef
    state: OrderState
    version: int
    digest: str
    backend: str = ""
    sends: int = 0
    refusals: int = 0
    epoch: int = 0
    revision: int = 0  # part of the idempotency key; rises when a human mends the order
    absences: int = 0  # how often in a row a look-up did not find it
    accepted_ms: int = 0
    changed_ms: int = 0
    released: bool = False  # a human let it go although it was parked: it is not parked again
    final: bool = False  # a human cancelled it: no later version revives it
    waits: bool = False  # the version that was applied last said: do not deliver yet
    erased: bool = False  # its customer was forgotten: no later version brings the data back
    revoked: bool = False  # its platform cancelled it after delivery, and put its units on sale again where it does
    items: tuple[Item, ...] = ()
    bundles: tuple[Bundle, ...] = ()  # the kits among what was ordered, as they were taken apart
    uses: dict[str, int] = {}  # what it counts for in sales, see domain.allowance
    order: Order | None = None
    backend_ref: str = ""
    reason: str = ""
    hold_id: str = ""
    delivered_ms: int = 0  # since when the backend has all of it, as it is now
    shipped_ms: int = 0  # since when the goods are gone
    timeline: tuple[tuple[int, str], ...] = ()  # (ms, what happened)
    has_next: bool = False  # a newer version waits until the outcome of this one is known


class AcceptCode(StrEnum):
    """What became of one incoming version."""

    ACCEPTED = "accepted"  # new: durable now (see state)
    UPDATED = "updated"  # a newer version of a known order was applied
    REPEAT = "repeat"  # exactly this version was known
    STALE = "stale"  # a newer version was known
    LATER = "later"  # kept; applied when the outcome of the sending is known
    CONFLICT = "conflict"  # strict: the same id, other content
    UNKNOWN_SKU = "unknown_sku"  # strict: a SKU that this pool does not know; nothing was written


class Accepted(msgspec.Struct, frozen=True):
    """
    The answer to one :class:`Incoming`: what became of it, and where the order stands now.

    Of UNKNOWN_SKU the state means nothing (it reads IGNORED: nothing was written), and *short* names the SKUs.
    """

    code: AcceptCode
    state: OrderState
    short: tuple[tuple[str, int], ...] = ()  # (SKU, units that could not be taken)
