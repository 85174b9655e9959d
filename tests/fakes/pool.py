"""The state that the fakes of one pool share: what Redis would hold, as Python objects."""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec.structs import replace

from flashd.domain.catalogue import Entry, Kit
from flashd.domain.count import Count
from flashd.domain.event import Event
from flashd.domain.listing import Listing
from flashd.domain.order import Incoming, Item, Kind, OrderRecord, OrderRef
from flashd.domain.reservation import Reservation
from flashd.domain.sale import Rule
from flashd.domain.stock import StockLevel
from flashd.ports import Quarantined
from tests.fakes.clock import FakeClock


@dataclass
class FakePool:
    """Everything of one pool; the record's state says which index it stands in, `due_ms` its score there."""

    name: str = "main"
    clock: FakeClock = field(default_factory=FakeClock)
    levels: dict[tuple[str, str], StockLevel] = field(default_factory=dict)
    records: dict[OrderRef, OrderRecord] = field(default_factory=dict)
    raws: dict[OrderRef, bytes] = field(default_factory=dict)
    due_ms: dict[OrderRef, int] = field(default_factory=dict)
    waiting: dict[OrderRef, Incoming] = field(default_factory=dict)  # newer versions that wait for an outcome
    holds: dict[str, Reservation] = field(default_factory=dict)
    kits: dict[str, Kit] = field(default_factory=dict)
    listings: dict[tuple[str, str], Listing] = field(default_factory=dict)  # by channel and SKU
    rules: dict[str, tuple[Rule, ...]] = field(default_factory=dict)  # by SKU
    uses: dict[str, int] = field(default_factory=dict)  # what counts against quotas and limits
    claims: dict[OrderRef, tuple[Item, ...]] = field(default_factory=dict)  # what paid orders lack
    counts: dict[tuple[str, str], Count] = field(default_factory=dict)  # the last of each SKU and location
    receipts: set[str] = field(default_factory=set)
    dirty: dict[str, int] = field(default_factory=dict)  # SKU -> since when, ms
    own_dirty: dict[str, dict[str, tuple[int, bool]]] = field(default_factory=dict)  # by channel: since ms, seen
    entries: dict[str, dict[str, Entry]] = field(default_factory=dict)  # the maps, by channel and SKU
    fences: dict[str, int] = field(default_factory=dict)
    quarantine: dict[str, Quarantined] = field(default_factory=dict)
    journal: list[Event] = field(default_factory=list)


def delivered(pool: FakePool, record: OrderRecord) -> OrderRecord:
    """The backend has all of the order, as it is now: *record*, or the order that *record* amends."""
    now = pool.clock.now_ms()
    if record.ref.kind is Kind.AMEND:
        base = pool.records.get(OrderRef(record.ref.channel, record.ref.id))
        if base is not None:
            pool.records[base.ref] = replace(base, delivered_ms=base.delivered_ms or now)
    elif record.ref.kind is Kind.CREATE:
        return replace(record, delivered_ms=record.delivered_ms or now)
    return record
