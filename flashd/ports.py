"""
The doors between rooms: what actors, web and the composition root may ask of each other, as small Protocols.

A port's conformance suite stands in tests/conformance, and the fakes of the tests pass it too. `Intake`, `Feed` and
`StoreWatch` have one implementation each, held by tests of their own rooms.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import ClassVar, Protocol

import msgspec

from flashd.domain.delivery import BackendTraits, ClaimCode, Delivery, Finding, FinishCode, InFlight, Outcome, Result
from flashd.domain.event import Event, Gap, Topic
from flashd.domain.order import Accepted, Incoming, Order, OrderRecord, OrderRef, OrderState
from flashd.domain.reservation import HoldReply, HoldRequest
from flashd.domain.stock import StockLevel


class Clock(Protocol):
    """The time, so that tests can turn it."""

    def now_ms(self) -> int:
        """Return wall-clock time in ms since 1970, UTC."""

    def monotonic_s(self) -> float:
        """Return seconds that never go back."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""


# ---------------------------------------------------------------------------------------------------- sales channels


class Unreadable(msgspec.Struct, frozen=True, tag="unreadable"):
    """Validly signed, and not understood: it is quarantined with this reason."""

    reason: str


class Unrelated(msgspec.Struct, frozen=True, tag="unrelated"):
    """Understood, and none of flashd's business; *subject* names it, such as "product"."""

    subject: str


class Channel(Protocol):
    """A place that sells: how its messages are proven and understood. Pure: no I/O, no clock of its own."""

    name: str
    kind: ClassVar[str]

    def verify(self, headers: Mapping[str, str], body: bytes, *, now_s: float) -> bool:
        """Say whether one of the live secrets signed exactly these bytes. *headers* has lower-case names."""

    def is_ping(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Say whether this is the platform's unsigned connection test, answered 200 and otherwise ignored."""

    def decode(self, headers: Mapping[str, str], body: bytes) -> Incoming | Unreadable | Unrelated:
        """Understand a proven body; all that decides (id, version, effect) comes from the body, not the headers."""

    def sign(self, body: bytes, *, now_s: float, delivery_id: str) -> dict[str, str]:
        """Return the headers with which the platform would send this body: for `flashd send-test` and the demo."""


class NativeChannel(Channel, Protocol):
    """A sales channel that calls the native API with a bearer token: an unclear body is refused, not quarantined."""

    def decode_hold(
        self, body: bytes, *, default_ttl_ms: int = 600_000, max_ttl_ms: int = 1_800_000, location: str = "main"
    ) -> HoldRequest:
        """
        Understand the body of ``POST /v1/holds``.

        Args:
            body: JSON in UTF-8.
            default_ttl_ms: How long the hold lives if the body does not say; the pool's ``hold_ttl_s``.
            max_ttl_ms: The longest time the body may ask for; the pool's ``hold_max_s``.
            location: Where the pool's stock lies.

        Raises:
            Refused: The detail names the path, what was found and what is allowed.
        """

    def decode_order(self, body: bytes) -> Incoming:
        """
        Understand the body of ``POST /v1/orders`` (or one line of ``/v1/orders:batch``); the result is ``strict``.

        Raises:
            Refused: As above.
        """


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a webhook or a native order: 2xx, and a named state."""

    state: str  # an OrderState, "quarantined", "unrelated" or "pong"
    code: str = ""  # an AcceptCode where an order was accepted
    order: str = ""  # "<channel>:<order id>"
    reason: str = ""
    short: tuple[tuple[str, int], ...] = ()


class Intake(Protocol):
    """The way in of one sales channel. Every method returns only after the store has made its effect durable."""

    @property
    def channel(self) -> Channel:
        """How its messages are read."""

    async def webhook(self, headers: Mapping[str, str], body: bytes) -> Receipt:
        """
        Take one webhook.

        Raises:
            Unauthenticated: The signature is wrong; nothing was written.
            Busy: Slow down.
            StoreUnavailable: Nothing is known.
        """

    async def admit(self, incoming: Incoming) -> Accepted:
        """Take one decoded order. Raises as above."""

    async def hold(self, request: HoldRequest) -> HoldReply:
        """Set stock aside, or say what is short. Raises as above."""


# ------------------------------------------------------------------------------------------------------------- store


class StockLedger(Protocol):
    """
    Stock, holds and orders of one pool: every method is one atomic script call (many items in one call).

    Doing any of it twice with the same ids does it once. All raise StoreUnavailable: nothing is known, repeat it.
    """

    pool: str

    async def hold(self, requests: Sequence[HoldRequest]) -> list[HoldReply]:
        """Set stock aside for each request on its own."""

    async def extend(self, hold_id: str, ttl_ms: int, *, max_total_ms: int) -> HoldReply:
        """Let a live hold end *ttl_ms* from now, at most *max_total_ms* after it began."""

    async def release(self, hold_id: str, reason: str) -> HoldReply:
        """Give a live hold's stock back."""

    async def sweep(self, limit: int = 500) -> int:
        """End up to *limit* overdue holds and purge old tombstones; return how many holds ended."""

    async def accept(self, orders: Sequence[Incoming], backends: Sequence[str], *, since_ms: int) -> list[Accepted]:
        """
        Make orders durable and take their stock.

        Args:
            backends: The backend of each order, by routing; sticks to an order from its first acceptance on.
            since_ms: The channel's cut-over: an unknown order placed before it is recorded as ignored.
        """

    async def cancel(self, ref: OrderRef, *, by: str, reason: str) -> OrderState:
        """
        Cancel by a human's decision; no later version revives it.

        Raises:
            NotFound: There is no such order.
            Conflict: It is in flight or in doubt (wait), or delivered.
        """

    async def requeue(self, ref: OrderRef, *, by: str, order: Order | None = None, backend: str = "") -> OrderState:
        """
        Send a parked, waiting, manual, shortfall or dead order (again), mended if *order* is given.

        A mended order gets a new key revision, so the caller must have proven that the backend lacks it. A shortfall
        stays one unless its units can be taken now.
        """

    async def settle(self, ref: OrderRef, backend_ref: str, *, by: str) -> OrderState:
        """Record a human's word that the backend has this manual or dead order."""

    async def apply_next(self, limit: int = 100) -> int:
        """Apply newer versions that waited for an outcome; return how many."""

    async def recount(self, level: StockLevel, *, lacks: int = 0, by: str = "") -> StockLevel:
        """
        Set on hand (and safety) to a count.

        Args:
            level: sku, location, on_hand, safety and seq are used; a stale seq (> 0 and not higher) changes nothing.
            lacks: Units of `sold` that this count already lacks.
        """

    async def levels(self, skus: Sequence[str] = ()) -> list[StockLevel]:
        """Return the counters of these SKUs, or of all."""

    async def quarantine(self, channel: str, headers: Mapping[str, str], body: bytes, reason: str) -> str:
        """Keep a proven body that was not understood; return its id. The same body twice is kept once."""

    async def unquarantine(self, quarantine_id: str, *, by: str) -> None:
        """Drop a quarantined body, after it was mended or discarded by a human."""


class Quarantined(msgspec.Struct, frozen=True, kw_only=True):
    """A proven body that was not understood."""

    id: str
    channel: str
    received_ms: int
    reason: str
    headers: dict[str, str]
    body: bytes


class OrderBook(Protocol):
    """Reading the orders of one pool."""

    pool: str

    async def get(self, ref: OrderRef) -> OrderRecord | None:
        """Return all that is kept of one order, or None."""

    async def raw(self, ref: OrderRef) -> bytes | None:
        """Return the raw body, or None once it was delivered or erased."""

    async def page(
        self, states: Sequence[OrderState] = (), *, backend: str = "", offset: int = 0, limit: int = 100
    ) -> list[OrderRecord]:
        """Return orders in these states (all by default), oldest first."""

    async def counts(self) -> dict[str, int]:
        """Return how many orders stand in each index: waiting, queued, in_flight, dead, desk, done."""

    async def position(self, ref: OrderRef) -> int | None:
        """Return how many orders leave before this one, or None if it is not queued."""

    async def quarantined(self, *, offset: int = 0, limit: int = 100) -> list[Quarantined]:
        """Return what was not understood, oldest first."""


class Depth(msgspec.Struct, frozen=True, kw_only=True):
    """How much of one pool waits for one backend."""

    queued: int = 0
    oldest_ms: int = 0  # acceptance of the oldest queued item, ms since 1970; 0: none
    in_flight: int = 0  # sending or in doubt


class Outbox(Protocol):
    """
    Accepted, durable, not yet confirmed: the items of one pool for one backend.

    *epoch* is the caller's term of leadership; a stale one is FENCED.
    """

    pool: str
    backend: str

    async def due(self, limit: int) -> list[OrderRef]:
        """Return items that may be sent now, oldest first; a peek, not a claim."""

    async def claim(
        self, refs: Sequence[OrderRef], *, epoch: int, lease_ms: int
    ) -> list[tuple[ClaimCode, Delivery | None]]:
        """Take items into flight: counted and fsynced before this returns."""

    async def finish(self, results: Sequence[Result], *, epoch: int) -> list[FinishCode]:
        """Settle what became of claimed items."""

    async def recover(self, *, epoch: int, delay_ms: int, limit: int = 100) -> list[OrderRef]:
        """Turn items whose in-flight lease ended into in doubt, to be looked up after *delay_ms*; return them."""

    async def doubtful(self, limit: int) -> list[Delivery]:
        """Return items in doubt whose look-up is due; a peek."""

    async def in_flight(self) -> list[InFlight]:
        """Return all that is in flight or in doubt."""

    async def depth(self) -> Depth:
        """Return how much waits and how much is on its way."""


class Drop(msgspec.Struct, frozen=True):
    """The bucket's answer: the drop is yours (wait_ms 0), to be used *after_us* from now, or ask after *wait_ms*."""

    wait_ms: int
    reason: str = ""  # "rate", "paused", "retry_after"
    after_us: int = 0  # above 0 only where the caller took it ahead


class BackendGate(Protocol):
    """What all processes share about one backend: who leads, how fast it may be fed, whether it is paused."""

    backend: str

    async def lead(self, owner: str, ttl_ms: int) -> int | None:
        """Take or renew the leadership; return the epoch, or None while another owner leads."""

    async def resign(self, owner: str) -> None:
        """Give the leadership up, if it is ours."""

    async def drop(self, spacing_us: int, *, burst: int = 1, ahead_us: int = 0) -> Drop:
        """Take one drop from the leaky bucket, at most *ahead_us* before it may be used."""

    async def pause(self, *, until_ms: int = 0, reason: str, by: str) -> None:
        """Let nothing out until *until_ms*, or until resumed (0)."""

    async def resume(self, *, by: str) -> None:
        """Let it flow again."""

    async def set_rate(self, rate: str, *, by: str) -> None:
        """Override the configured rate for all processes; "" takes the override away."""

    async def status(self) -> GateStatus:
        """Return leader, epoch, pause and rate override."""


class GateStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What all processes know about one backend."""

    backend: str
    leader: str = ""
    epoch: int = 0
    paused: bool = False  # by a human
    until_ms: int = 0  # by Retry-After or an outage
    reason: str = ""
    rate: str = ""  # the override


class Announcer(Protocol):
    """Publishing facts that no script publishes itself."""

    async def announce(self, pool: str, kind: str, data: Mapping[str, object]) -> str:
        """Append to the pool's journal and publish; return the stream id."""


class Feed(Protocol):
    """The journal of one pool, as a subscriber reads it."""

    pool: str

    async def read(self, after: str, *, limit: int = 500) -> list[Event | Gap]:
        """Return events after that stream id ("0" = all kept), with a Gap first where some were trimmed."""

    async def last_id(self) -> str:
        """Return the id of the newest event, "0" before the first. Raises StoreUnavailable."""

    def follow(self, after: str = "$", *, topics: Sequence[Topic] = ()) -> AsyncIterator[Event | Gap]:
        """Hand out events as they come, without a gap, starting after that id ("$" = from now)."""


class StoreHealth(msgspec.Struct, frozen=True, kw_only=True):
    """What the store knows of its server."""

    ok: bool
    reason: str = ""
    durability: str = "fsync"
    server: str = ""  # "valkey 9.1.2"
    used_bytes: int = 0
    max_bytes: int = 0


class StoreWatch(Protocol):
    """Whether an order could be made durable right now."""

    async def probe(self) -> StoreHealth:
        """Write and verify; never raises."""


# ---------------------------------------------------------------------------------------------------------- backends


class Backend(Protocol):
    """The system that must get every order. No exception of a library leaves an adapter: outcomes are values."""

    name: str
    kind: ClassVar[str]
    traits: BackendTraits

    async def deliver(self, delivery: Delivery) -> Outcome:
        """Send one item under its key, once: never repeats by itself."""

    async def find(self, delivery: Delivery) -> Finding:
        """Look the item up by its key."""

    async def check(self) -> str:
        """
        Log in and say who answered.

        Raises:
            BackendUnavailable: It did not answer, or refused the login; the message says what to mend.
        """

    async def close(self) -> None:
        """Close connections; fine to call twice."""
