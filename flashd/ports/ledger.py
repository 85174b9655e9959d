"""Stock, holds and orders of one pool: changing them, and reading orders."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

import msgspec

from flashd.domain.order import Accepted, Incoming, Order, OrderRecord, OrderRef, OrderState
from flashd.domain.reservation import HoldReply, HoldRequest
from flashd.domain.stock import StockLevel
from flashd.ports.soon import Soon


class StockLedger(Protocol):
    """
    Stock, holds and orders of one pool: every method is one atomic script call (many items in one call).

    Doing any of it twice with the same ids does it once. All raise StoreUnavailable: nothing is known, repeat it.
    """

    pool: str

    def hold(self, requests: Sequence[HoldRequest]) -> Soon[list[HoldReply]]:
        """Set stock aside for each request on its own; asked for before this returns, where nothing is in the way."""

    async def extend(self, hold_id: str, ttl_ms: int, *, max_total_ms: int) -> HoldReply:
        """Let a live hold end *ttl_ms* from now, at most *max_total_ms* after it began."""

    async def release(self, hold_id: str, reason: str) -> HoldReply:
        """Give a live hold's stock back."""

    async def sweep(self, limit: int = 500) -> int:
        """End up to *limit* overdue holds and purge old tombstones; return how many holds ended."""

    def accept(
        self, orders: Sequence[Incoming], backends: Sequence[str], *, since_ms: int | Sequence[int]
    ) -> Soon[list[Accepted]]:
        """
        Make orders durable and take their stock; asked for before this returns, where nothing is in the way.

        Args:
            backends: The backend of each order, by routing; sticks to an order from its first acceptance on.
            since_ms: The channel's cut-over: an unknown order placed before it is recorded as ignored. One for all, or
                one for each.
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


class Headcount(msgspec.Struct, frozen=True, kw_only=True):
    """How many orders of one pool stand where, all counted at one instant."""

    orders: dict[str, int]  # by index: waiting, queued, in_flight, dead, desk, backorder, done
    queued: dict[str, int]  # those that are queued, by backend


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

    def every(self, states: Sequence[OrderState] = (), *, backend: str = "") -> AsyncIterator[OrderRecord]:
        """
        Hand out all orders in these states, however many there are, a few in memory at a time.

        Index after index, the oldest of each first. One that moves meanwhile may be told twice; none is left out.
        """

    async def counts(self) -> dict[str, int]:
        """Return how many orders stand in each index, as `headcount` names them."""

    async def headcount(self) -> Headcount:
        """Count the orders of each index and of each backend's queue, all at once."""

    async def position(self, ref: OrderRef) -> int | None:
        """Return how many orders leave before this one, or None if it is not queued."""

    async def quarantined(self, *, offset: int = 0, limit: int = 100) -> list[Quarantined]:
        """Return what was not understood, oldest first."""
