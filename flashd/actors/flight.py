"""One request on its way: what it carries, and what a stopping actor must know to settle each item of it."""

from __future__ import annotations

from dataclasses import dataclass

from flashd.domain.delivery import Delivery, Result
from flashd.domain.lease import Term
from flashd.ports import Outbox


@dataclass(slots=True, eq=False)
class Parcel:
    """One item of a flight."""

    outbox: Outbox
    delivery: Delivery
    is_lookup: bool = False
    result: Result | None = None  # once the backend answered; then it waits to be settled


@dataclass(slots=True, kw_only=True, eq=False)
class Flight:
    """One request: parcels of one kind, from any pool."""

    parcels: tuple[Parcel, ...]
    term: Term
    use_at_s: float  # when its drop may be used, by the monotonic clock
    claimed_s: float
    sent_s: float | None = None

    @property
    def is_lookup(self) -> bool:
        """Whether it asks and does not send."""
        return self.parcels[0].is_lookup

    @property
    def deliveries(self) -> list[Delivery]:
        """What it carries, in the order in which it is answered."""
        return [parcel.delivery for parcel in self.parcels]
