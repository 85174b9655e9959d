"""What the warehouse says: counts, shipments, receipts; and the paid orders that wait for goods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from flashd.domain.count import Count, Counted, Receipt, Received
from flashd.domain.order import OrderRef, OrderState


class Stockroom(Protocol):
    """
    Counting again while selling, and serving who waits. Repeating any of it is safe.

    All raise StoreUnavailable: nothing is known, repeat it.
    """

    pool: str

    async def count(self, counts: Sequence[Count], *, by: str) -> list[Counted]:
        """
        Set on hand to each count, and take from `sold` what it lacks, order by order; stale ones change nothing.

        Who waits for goods is served before anything becomes free.
        """

    async def forecast(self, counts: Sequence[Count]) -> list[Counted]:
        """Say what `count` would do; writes nothing."""

    async def ship(self, ref: OrderRef, at_ms: int = 0, *, by: str) -> OrderState:
        """
        Note that the goods of an order left at *at_ms* (0: now): from then on a physical count lacks them.

        Raises:
            NotFound: There is no such order.
            Conflict: The backend is not known to have it.
        """

    async def receive(self, receipt: Receipt, *, by: str) -> Received:
        """Put goods on hand and give them to those who wait, first come, first served, before anything is free."""

    async def serve(self) -> list[OrderRef]:
        """Give whatever became free to those who wait for it; return the orders that are covered now."""

    async def rests(self) -> list[OrderRef]:
        """Return what was split off orders in the last 30 days."""

    async def backorder(self, ref: OrderRef, *, by: str) -> OrderState:
        """
        Let a shortfall wait for goods; what is free by now it takes.

        Raises:
            NotFound: There is no such order.
            Conflict: It did not fall short.
        """

    async def split(self, ref: OrderRef, *, by: str, wait: bool = True) -> OrderState:
        """
        Send what is covered of a shortfall or backorder; the rest waits as an order of its own, or is given up.

        Raises:
            NotFound: There is no such order.
            Conflict: Nothing is covered, nothing is short, or it was split before.
        """
