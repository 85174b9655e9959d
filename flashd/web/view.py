"""What the outside sees: the bodies of requests and answers, one Struct each; OpenAPI is made of them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from flashd.domain.event import rfc3339
from flashd.domain.order import Accepted, Address, Customer, Incoming, Item, Line, Order, OrderRecord, OrderState
from flashd.domain.reservation import HoldReply, HoldState
from flashd.domain.routing import Choice

Sku = Annotated[str, Meta(min_length=1, max_length=255)]
Units = Annotated[int, Meta(ge=0, le=10**12)]
Reason = Annotated[str, Meta(min_length=1, max_length=500)]


def at(ms: int) -> str:
    """Write ms since 1970 as RFC 3339, in UTC; "" for never."""
    return rfc3339(ms) if ms > 0 else ""


class HoldLine(msgspec.Struct, frozen=True):
    """What is to be held."""

    sku: Sku
    quantity: Annotated[int, Meta(ge=1)]


class NewHold(msgspec.Struct, frozen=True, kw_only=True):
    """The body of ``POST /v1/holds``; its channel reads it, this is its shape for the document."""

    id: str
    lines: tuple[HoldLine, ...]
    ttl_ms: int = 600_000
    customer: str | Customer = ""
    channel: str = ""
    location: str = ""  # where it is to be picked up; "": by the terms of its channel


class Extension(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long a hold is to live from now."""

    ttl_ms: Annotated[int, Meta(ge=1, le=86_400_000)]


class HoldView(msgspec.Struct, frozen=True, kw_only=True):
    """A hold."""

    id: str
    state: str
    expires_at: str

    @classmethod
    def of(cls, hold_id: str, reply: HoldReply) -> HoldView:
        """Show the answer to a hold, an extension or a release."""
        return cls(id=hold_id, state=str(reply.state or HoldState.HELD), expires_at=at(reply.expires_ms))


class NewOrder(msgspec.Struct, frozen=True, kw_only=True):
    """
    The body of ``POST /v1/orders``; its channel reads it strictly, this is its shape for the document.

    Money is an integer of the currency's minor unit; a total that does not add up parks the order.
    """

    id: str
    lines: tuple[Line, ...]
    channel: str = ""
    hold_id: str = ""
    status: Literal["paid", "test"] = "paid"
    number: str = ""
    placed_at: str = ""
    currency: str = ""
    shipping: int = 0
    discount: int = 0
    tax: int = 0
    total: int | None = None
    customer: Customer = Customer()
    ship_to: Address = Address()
    tags: tuple[str, ...] = ()
    note: str = ""


_NOTABLE = frozenset({OrderState.SHORTFALL, OrderState.PARKED, OrderState.IGNORED})


def title_of(accepted: Accepted) -> str:
    """Return the word that stands over an order of which its caller should know more than that it is kept, or ""."""
    return accepted.state if accepted.state in _NOTABLE else ""


class OrderReceipt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to an order: durable now."""

    order: str  # "<channel>:<order id>"
    code: str
    state: str
    title: str = ""  # "shortfall" (paid units could not be covered), "parked" (a human looks at it), "ignored"
    short: dict[str, int] = {}  # units that could not be taken, by SKU

    @classmethod
    def of(cls, incoming: Incoming, accepted: Accepted) -> OrderReceipt:
        """Show what became of one order."""
        return cls(
            order=f"{incoming.order.channel}:{incoming.order.id}",
            code=accepted.code,  # its text, once written
            state=accepted.state,
            title=title_of(accepted),
            short=dict(accepted.short) if accepted.short else {},
        )


class LineResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the answer to a batch: the HTTP status that this order alone would have got, and its body."""

    line: int
    status: int
    order: str = ""
    code: str = ""
    state: str = ""
    title: str = ""
    detail: str = ""
    short: dict[str, int] = {}


class OrderStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Where an order stands, as its channel may see it."""

    channel: str
    id: str
    state: str
    accepted_at: str
    changed_at: str
    reason: str = ""
    backend: str = ""
    backend_ref: str = ""
    position: int | None = None  # orders that leave before it
    eta_s: float | None = None  # None: not queued, or nothing flows now


def order_status(record: OrderRecord, position: int | None, eta_s: float | None) -> OrderStatus:
    """Show an order to its channel: no customer data."""
    return OrderStatus(
        channel=record.ref.channel,
        id=record.ref.id,
        state=str(record.state),
        accepted_at=at(record.accepted_ms),
        changed_at=at(record.changed_ms),
        reason=record.reason,
        backend=record.backend,
        backend_ref=record.backend_ref,
        position=position,
        eta_s=eta_s,
    )


class StockView(msgspec.Struct, frozen=True, kw_only=True):
    """What of a SKU may be sold now; of a kit, how many can be put together."""

    sku: str
    available: int  # free over all locations, before any threshold
    locations: dict[str, int]
    channels: dict[str, int] = {}  # what each channel of the pool may sell of it: thresholds, sales and grants applied


class StockList(msgspec.Struct, frozen=True, kw_only=True):
    """Several SKUs; *unknown* names those that the pool does not have."""

    stock: tuple[StockView, ...]
    unknown: tuple[str, ...] = ()


class ReceiptView(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a webhook."""

    state: str
    code: str = ""
    order: str = ""
    reason: str = ""
    short: dict[str, int] = {}


class OrderSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One order in a list: no customer data."""

    order: str
    channel: str
    id: str
    kind: str
    pool: str
    state: str
    number: str = ""
    backend: str = ""
    backend_ref: str = ""
    reason: str = ""
    sends: int = 0
    refusals: int = 0
    accepted_at: str = ""
    changed_at: str = ""

    @classmethod
    def of(cls, pool: str, record: OrderRecord) -> OrderSummary:
        """Show one line of a list."""
        return cls(
            order=f"{record.ref.channel}:{record.ref.id}",
            channel=record.ref.channel,
            id=record.ref.id,
            kind=str(record.ref.kind),
            pool=pool,
            state=str(record.state),
            number=record.order.number if record.order is not None else "",
            backend=record.backend,
            backend_ref=record.backend_ref,
            reason=record.reason,
            sends=record.sends,
            refusals=record.refusals,
            accepted_at=at(record.accepted_ms),
            changed_at=at(record.changed_ms),
        )


class OrderPage(msgspec.Struct, frozen=True, kw_only=True):
    """Orders of one pool, oldest first; *next_offset* is None on the last page."""

    pool: str
    orders: tuple[OrderSummary, ...]
    next_offset: int | None = None


class Moment(msgspec.Struct, frozen=True):
    """One entry of a timeline."""

    at: str
    what: str


class OrderDetail(msgspec.Struct, frozen=True, kw_only=True):
    """All that is kept of one order. Customer, address, note and raw body only for the scope admin."""

    summary: OrderSummary
    version: int
    revision: int
    position: int | None
    eta_s: float | None
    timeline: tuple[Moment, ...]
    items: tuple[Item, ...]
    routing: Choice | None
    has_next: bool
    hold_id: str = ""
    order: Order | None = None
    raw: str | None = None


def without_customer(order: Order) -> Order:
    """Take out who bought and where it goes; the country stays, because routing turns on it."""
    place = Address(country=order.ship_to.country)
    return msgspec.structs.replace(order, customer=Customer(), ship_to=place, note="")
