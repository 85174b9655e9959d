"""What one channel should show of each SKU right now: computed when it is about to be sent, from the store alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from flashd.actors.channel_rules import Display, PoolBooks, PublisherRules
from flashd.actors.demand import Demand
from flashd.domain.catalogue import Entry, Kit, kit_units
from flashd.domain.listing import UNKNOWN, Listing, ListingState
from flashd.domain.pace import Quantum, tuned_buffer
from flashd.domain.publication import Threshold, shown
from flashd.domain.rebalance import NO_CAP, Patience, Seat, rebalance
from flashd.domain.sale import SaleRecord
from flashd.domain.standing import NO_SALE, Phase, Standing, phase_of, standings
from flashd.domain.stock import StockLevel
from flashd.domain.terms import SellingTerms
from flashd.ports import Clock

SALES_S = 0.2  # sales are read again after so long,
IDLE_S = 1.0  # and where nothing is to be shown anyway: what a sale changes is dirty by that
KITS_S = 2.0


@dataclass(frozen=True, kw_only=True)
class Aim:
    """What a SKU should show, beside what it is believed to show."""

    sku: str
    entry: Entry | None
    listing: Listing
    figure: int
    unbacked: bool = False  # it is to be backed from now on, and is not yet
    hungry: bool = False  # it should be given more than is free
    patient: bool = False  # it shows none, and others have some: its turn may come by time alone
    changed_s: float = 0.0  # since when *figure* is wanted

    @property
    def right(self) -> bool:
        """Whether the platform shows it already, as far as is known, and free stock backs it where it must."""
        return self.listing.figure == self.figure and not self.unbacked

    @property
    def crosses(self) -> bool:
        """Whether it becomes zero or more than zero: that overtakes everything."""
        return (self.listing.figure == 0) != (self.figure == 0)


@dataclass(frozen=True)
class Sighting:
    """A figure that the platform was seen to show, while its listing was like *listing*."""

    units: int
    listing: Listing

    def applied_to(self, row: Listing) -> Listing:
        """
        Return a row with the figure that was seen, less what was sold since; as it is if it was written or observed.

        Orders that come now are first those whose units the figure lacked already.
        """
        if stamp_of(row) != stamp_of(self.listing):
            return row
        sold = row.seen - self.listing.seen
        restocked = self.listing.later - row.later
        missing = max(0, self.listing.exposed - self.units)
        return replace(row, figure=max(0, self.units - max(0, sold - missing) + restocked))


def stamp_of(row: Listing) -> tuple[object, ...]:
    """Return what changes with every write and observation of a listing."""
    return (row.state, row.key, row.began_ms, row.written_ms)


@dataclass(frozen=True, kw_only=True)
class _Books:
    """What was read of the store for one look."""

    entries: Mapping[str, Entry]
    listings: Mapping[str, dict[str, Listing]]  # channel -> SKU
    levels: Mapping[str, Mapping[str, StockLevel]]  # SKU -> location
    used: Mapping[str, int]


class Outlook:
    """
    Computes aims for one channel.

    Args:
        rules: As they are now.
        lag_s: The p99 of recent publishing lag.
    """

    def __init__(
        self,
        rules: Callable[[], PublisherRules],
        books: PoolBooks,
        *,
        clock: Clock,
        lag_s: Callable[[], float],
        demand: Demand,
    ) -> None:
        self.kits: Mapping[str, Kit] = {}
        self.demand = demand
        self._rules = rules
        self._listings = books.listings
        self._ledger = books.ledger
        self._sales = books.sales
        self._clock = clock
        self._lag_s = lag_s
        self._records: list[SaleRecord] = []
        self._standings: dict[str, Standing] = {}
        self._phases: dict[str, tuple[int, Phase]] = {}
        self._sales_s = self._kits_s = float("-inf")
        self._wanted: dict[str, tuple[int, float]] = {}  # SKU -> (figure, since when)
        self._buffers: dict[str, int] = {}  # as they were tuned

    async def refresh(self, *, idle: bool = False) -> set[str]:
        """Read sales and kits again, if it is time; return the SKUs of sales whose phase or version changed."""
        now_s, now_ms = self._clock.monotonic_s(), self._clock.now_ms()
        if now_s - self._kits_s >= KITS_S:
            self.kits, self._kits_s = await self._listings.kits(), now_s
        if now_s - self._sales_s >= (IDLE_S if idle else SALES_S):
            self._records, self._sales_s = await self._sales.all(), now_s
        phases = {one.sale.name: (one.version, phase_of(one, now_ms)) for one in self._records}
        if phases == self._phases:
            return set()
        self._standings = standings(self._records, self._rules().display.channel, now_ms)
        before, self._phases = self._phases, phases
        return {
            product.sku
            for one in self._records
            if before.get(one.sale.name) != phases[one.sale.name]
            for product in one.sale.products
        }

    async def look(
        self, skus: Sequence[str], *, missing: Mapping[str, int], shows: Mapping[str, Sighting]
    ) -> dict[str, Aim]:
        """
        Return the aim of each SKU.

        Args:
            skus: Which.
            missing: Units that the platform was seen to have sold, and whose orders have not come yet: a mirror must
                not show them again.
            shows: Figures that the platform was seen to show, against what is believed.
        """
        books = await self._read(skus)
        now_s, own = self._clock.monotonic_s(), self._rules().display
        for channel, rows in books.listings.items():
            for row in rows.values():
                self.demand.note(channel, row, now_s)
        for sku, levels in books.levels.items():
            self.demand.note_stock(sku, sum(level.held + level.sold for level in levels.values()), now_s)
        mine = books.listings[own.channel]
        mine |= {sku: seen.applied_to(mine[sku]) for sku, seen in shows.items() if sku in mine}
        aims = {}
        for sku in skus:
            listing, hungry, patient = mine[sku], False, False
            if self._standings.get(sku, NO_SALE).closed:
                figure = 0
            elif own.mode == "escrow":
                figure, hungry, patient = self._escrow(sku, books)
            else:
                figure = max(0, self._mirror(sku, books) - missing.get(sku, 0))
            if self._wanted.get(sku, (UNKNOWN, 0.0))[0] != figure:
                self._wanted[sku] = (figure, now_s)
            aims[sku] = Aim(
                sku=sku,
                entry=books.entries.get(sku),
                listing=listing,
                figure=figure,
                unbacked=own.mode == "escrow" and listing.exposed > 0 and not listing.backed,
                hungry=hungry,
                patient=patient,
                changed_s=self._wanted[sku][1],
            )
        return aims

    async def _read(self, skus: Sequence[str]) -> _Books:
        rules = self._rules()
        parts = {part.sku for sku in skus if sku in self.kits for part in self.kits[sku].components}
        channels = [one.channel for one in rules.partners] if rules.escrow else [rules.display.channel]
        entries, levels, used, listings = await asyncio.gather(
            self._listings.entries(rules.display.channel, skus),
            self._ledger.levels([*{*skus, *parts}]),
            self._used(skus),
            asyncio.gather(*(self._listings.get(channel, skus) for channel in channels)),
        )
        by_sku: dict[str, dict[str, StockLevel]] = {}
        for level in levels:
            by_sku.setdefault(level.sku, {})[level.location] = level
        rows = {channel: {row.sku: row for row in found} for channel, found in zip(channels, listings, strict=True)}
        return _Books(entries=entries, listings=rows, levels=by_sku, used=used)

    async def _used(self, skus: Sequence[str]) -> dict[str, int]:
        by_sale: dict[str, list[str]] = {}
        for sku in skus:
            standing = self._standings.get(sku, NO_SALE)
            if standing.quota:
                by_sale.setdefault(standing.sale, []).append(sku)
        used: dict[str, int] = {}
        for sale, group in by_sale.items():
            used |= await self._sales.used(sale, group)
        return used

    # ------------------------------------------------------------------------------------------------------ mirror

    def _mirror(self, sku: str, books: _Books) -> int:
        own = self._rules().display
        standing = self._standings.get(sku, NO_SALE)
        threshold = standing.threshold or own.terms.threshold_of(sku)
        rate = self.demand.stock_rate(sku, self._clock.monotonic_s())
        buffer = self._tuned(sku, tuned_buffer(rate, self._lag_s(), self._rules().tune))
        if buffer > threshold.buffer:
            threshold = replace(threshold, buffer=buffer)
        units = shown(self._free(sku, books, own.terms), threshold)
        return min(units, max(0, standing.quota - books.used.get(sku, 0))) if standing.quota else units

    def _tuned(self, sku: str, buffer: int) -> int:
        """Return the buffer in force: it rises at once, and falls when it is half as large, so that figures rest."""
        kept = self._buffers.get(sku, 0)
        if buffer > kept or 2 * buffer <= kept:
            self._buffers[sku] = kept = buffer
        return kept

    def _free(self, sku: str, books: _Books, terms: SellingTerms) -> int:
        """Return what is free over the channel's locations: of a kit, what can be put together there."""

        def at(part: str, places: Sequence[str]) -> int:
            levels = books.levels.get(part, {})
            return sum(levels[place].free for place in places if place in levels)

        kit = self.kits.get(sku)
        if kit is None:
            return at(sku, terms.locations)
        groups = [terms.locations] if terms.split else [(place,) for place in terms.locations]
        return sum(kit_units(kit, {part.sku: at(part.sku, group) for part in kit.components}) for group in groups)

    # ------------------------------------------------------------------------------------------------------ escrow

    def _escrow(self, sku: str, books: _Books) -> tuple[int, bool, bool]:
        own = self._rules().display
        rows = {one.channel: books.listings[one.channel][sku] for one in self._rules().partners}
        place = _place(own, rows[own.channel])
        table = [one for one in self._rules().partners if _place(one, rows[one.channel]) == place]
        free = self._raw(sku, books, place)
        free -= sum(rows[one.channel].exposed for one in table if not rows[one.channel].backed)
        total = free + sum(rows[one.channel].exposed for one in table)
        seats = [self._seat(one, rows[one.channel], total, books) for one in table]
        now_s = self._clock.monotonic_s()
        quiet_s = min((self.demand.quiet_s(one.channel, sku, now_s) for one in table), default=0.0)
        patience = Patience(probe_s=min(3600.0, max(60.0, quiet_s / 4)))
        deal = rebalance(free, seats, patience)
        figure = deal.figures[own.channel]
        return figure, own.channel in deal.hungry, figure == 0 and total > rows[own.channel].exposed

    def _seat(self, display: Display, row: Listing, total: int, books: _Books) -> Seat:
        now_s = self._clock.monotonic_s()
        standing = self._standings.get(row.sku, NO_SALE)
        threshold: Threshold = standing.threshold or display.terms.threshold_of(row.sku)
        allowed = shown(total, replace(threshold, cap=0))
        if standing.quota:
            allowed = min(allowed, max(0, standing.quota - books.used.get(row.sku, 0)))
        pulse = self.demand.pulse(display.channel, row.sku)
        quantum = Quantum(refill_s=self._refill_s())
        return Seat(
            channel=display.channel,
            exposed=row.exposed,
            figure=max(0, row.figure),
            settled=row.state is ListingState.IDLE and row.figure != UNKNOWN,
            mode=display.write,
            allowed=0 if standing.closed else allowed,
            cap=threshold.cap or NO_CAP,
            window=quantum.units(pulse.rate.per_s(now_s)),
            idle_s=pulse.idle_s(now_s),
            zero_s=pulse.zero_s(now_s),
        )

    def _refill_s(self) -> float:
        """Return how long a grant takes from the sale that calls for it; with a budget, revisions are far apart."""
        budget = self._rules().revisions_per_day
        return max(2.0, self._lag_s() + 1.0, 86_400 / budget if budget else 0.0)

    def _raw(self, sku: str, books: _Books, place: str) -> int:
        """Return what is free at one place, below zero where more is promised than there is."""

        def at(part: str) -> int:
            level = books.levels.get(part, {}).get(place)
            return level.atp - level.exposed - level.owed if level is not None else 0

        kit = self.kits.get(sku)
        if kit is None:
            return at(sku)
        return min((at(part.sku) // part.quantity for part in kit.components), default=0)


def _place(display: Display, row: Listing) -> str:
    return row.location if row.backed and row.exposed else display.terms.locations[0]
