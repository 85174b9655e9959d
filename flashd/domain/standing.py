"""What sales say of one SKU on one channel right now: whether it is for sale, how many, and what is kept back."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import msgspec

from flashd.domain.publication import Threshold
from flashd.domain.sale import Sale, SaleProduct, SaleRecord, SaleState


class Phase(StrEnum):
    """Where a sale stands in time, as far as a human has not said otherwise."""

    BEFORE = "before"
    OPEN = "open"
    AFTER = "after"
    STOPPED = "stopped"
    ENDED = "ended"


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What sales make of one SKU on one channel."""

    closed: bool = False  # it is not for sale there now
    sale: str = ""  # whose quota counts
    quota: int = 0  # of the sale and SKU; 0: no quota
    threshold: Threshold | None = None  # instead of the channel's own


NO_SALE = Standing()


def phase_of(record: SaleRecord, now_ms: int) -> Phase:
    """Say where a sale stands; its window is half open."""
    if record.state is SaleState.ENDED:
        return Phase.ENDED
    if record.state is SaleState.STOPPED:
        return Phase.STOPPED
    if now_ms < record.sale.start.timestamp() * 1000:
        return Phase.BEFORE
    return Phase.OPEN if now_ms < record.sale.end.timestamp() * 1000 else Phase.AFTER


def standings(records: Iterable[SaleRecord], channel: str, now_ms: int) -> dict[str, Standing]:
    """
    Return what sales say of each of their SKUs; of all others they say nothing (`NO_SALE`).

    A sale that is stopped closes its SKUs whatever another says. Of the others the one whose window is open decides. Of
    channels that it does not name, a sale says nothing.
    """
    found: dict[str, Standing] = {}
    for record in sorted(records, key=lambda record: _RANK[phase_of(record, now_ms)]):
        phase = phase_of(record, now_ms)
        if record.sale.channels and channel not in record.sale.channels:
            continue
        for product in record.sale.products:
            said = _standing(record.sale, product, phase)
            if said is not None:
                found[product.sku] = said
    return found


_RANK = {Phase.ENDED: 0, Phase.BEFORE: 1, Phase.AFTER: 1, Phase.OPEN: 2, Phase.STOPPED: 3}


def _standing(sale: Sale, product: SaleProduct, phase: Phase) -> Standing | None:
    if phase is Phase.ENDED:
        return None
    if phase is Phase.STOPPED:
        return Standing(closed=True)
    if phase is not Phase.OPEN:
        return Standing(closed=True) if sale.outside == "closed" else None
    return Standing(sale=sale.name, quota=product.quota, threshold=product.threshold or sale.threshold)
