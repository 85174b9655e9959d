"""The terms on which a sales channel sells: where its units lie, and what becomes of units that it gives back."""

from __future__ import annotations

import msgspec

from flashd.domain.publication import OPEN, PublishMode, Threshold
from flashd.domain.stock import DEFAULT_LOCATION


class SellingTerms(msgspec.Struct, frozen=True, kw_only=True):
    """
    What the ledger must know of one channel.

    A pick prefers one location that covers a whole order, in the order of *locations*; where none does and *split* is
    set, each SKU is filled from the locations in that order. A channel with a *mode* shows a figure of its own: its
    orders lower its listing's exposure, and units that it *restocks* by itself return there and not to free stock.
    """

    locations: tuple[str, ...] = (DEFAULT_LOCATION,)
    split: bool = True
    mode: PublishMode = "none"
    restocks: bool = True
    asks: bool = False  # it holds units before it sells them
    threshold: Threshold = OPEN  # of new holds
    thresholds: dict[str, Threshold] = {}  # by SKU, instead of the channel's own

    def threshold_of(self, sku: str) -> Threshold:
        """Return what is kept from sight of *sku*."""
        return self.thresholds.get(sku, self.threshold)
