"""Stock of one SKU at one location, and the arithmetic of what may still be promised."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

DEFAULT_LOCATION = "main"


class StockLevel(msgspec.Struct, frozen=True, kw_only=True):
    """
    The counters of one SKU at one location, in units.

    The law: ``on_hand = atp + held + sold + safety``, and nothing is negative except after a recount, which is then a
    reported deficit.
    """

    sku: str
    location: str = DEFAULT_LOCATION
    on_hand: int = 0
    held: int = 0
    sold: int = 0  # sold and not yet contained in a backend's count
    exposed: int = 0  # what escrow channels were granted, less their orders seen
    safety: int = 0
    seq: int = 0  # sequence number of the last count
    owed: int = 0  # what paid orders lack (shortfall, backorder): theirs before anything becomes free

    @property
    def atp(self) -> int:
        """Available to promise; derived, never stored; negative is a deficit."""
        return self.on_hand - self.held - self.sold - self.safety

    @property
    def free(self) -> int:
        """What a hold may take: never below zero."""
        return max(0, self.atp - self.exposed - self.owed)

    def moved(self, move: Move) -> StockLevel:
        """Return the level after *move*."""
        return replace(
            self,
            on_hand=self.on_hand + move.on_hand,
            held=self.held + move.held,
            sold=self.sold + move.sold,
            exposed=self.exposed + move.exposed,
            safety=self.safety + move.safety,
        )


class Move(msgspec.Struct, frozen=True, array_like=True):
    """One change of the counters as the journal tells it: folding all moves gives the counters."""

    sku: str
    location: str
    on_hand: int = 0
    held: int = 0
    sold: int = 0
    exposed: int = 0
    safety: int = 0
