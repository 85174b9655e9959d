"""Listings over a FakePool, deciding by the executable specification in flashd/domain/exposure.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from flashd.domain import exposure
from flashd.domain.catalogue import Entry, Kit
from flashd.domain.listing import Begin, BeginCode, Begun, Ended, Listing, Outcome
from flashd.domain.sale import SaleState
from flashd.domain.stock import DEFAULT_LOCATION, Move, StockLevel
from flashd.errors import Conflict, StoreUnavailable
from flashd.ports import Dirty
from tests.fakes.pool import FakePool
from tests.fakes.transitions import Transitions


@dataclass
class FakeListings:
    state: FakePool
    location: str = DEFAULT_LOCATION
    lost_replies: list[str] = field(default_factory=list)  # verbs that are done and then answer with StoreUnavailable
    failing: set[str] = field(default_factory=set)  # verbs that are not done at all
    calls: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pool = self.state.name
        self._on = Transitions(self.state, {})

    # ---------------------------------------------------------------------------------------------------- what is dirty

    async def spread(self, channels: Sequence[str], *, within_s: float = 0.0) -> int:
        self._begin("spread")
        found = sorted(self.state.dirty.items(), key=lambda pair: pair[1])
        for sku, since in found:
            kits = [kit.sku for kit in self.state.kits.values() if sku in {part.sku for part in kit.components}]
            for channel in channels:
                for one in (sku, *kits):
                    self._touch(channel, one, since)
        self.state.dirty.clear()
        self._end("spread")
        return len(found)

    def _touch(self, channel: str, sku: str, since_ms: int) -> None:
        own = self.state.own_dirty.setdefault(channel, {})
        if sku not in own or own[sku][1]:
            own[sku] = (since_ms, False)

    def waits(self, channel: str) -> bool:
        return bool(self.state.own_dirty.get(channel))

    async def dirty(self, channel: str, limit: int = 1000) -> list[Dirty]:
        self._begin("dirty")
        own = self.state.own_dirty.setdefault(channel, {})
        found = sorted(own, key=lambda sku: (own[sku], sku))[:limit]
        for sku in found:
            own[sku] = (own[sku][0], True)
        return [Dirty(sku, own[sku][0]) for sku in found]

    async def clean(self, channel: str, seen: Sequence[Dirty]) -> None:
        self._begin("clean")
        own = self.state.own_dirty.setdefault(channel, {})
        for one in seen:
            if own.get(one.sku) == (one.since_ms, True):
                del own[one.sku]
        self._end("clean")

    async def mark(self, channel: str, skus: Sequence[str]) -> None:
        self._begin("mark")
        for sku in skus:
            self._touch(channel, sku, self.state.clock.now_ms())
        self._end("mark")

    # --------------------------------------------------------------------------------------------------------- listings

    def _row(self, channel: str, sku: str) -> Listing:
        return self.state.listings.get((channel, sku)) or Listing(sku=sku, location=self.location)

    async def get(self, channel: str, skus: Sequence[str] = ()) -> list[Listing]:
        self._begin("get")
        names = skus or sorted(sku for of, sku in self.state.listings if of == channel)
        return [self._row(channel, sku) for sku in names]

    def _back(self, before: Listing, after: Listing) -> list[Move]:
        moves = exposure.backing(before, after, exposure.parts_of(after.sku, self.state.kits))
        for move in moves:  # the platform sells what was never counted here: a deficit
            place = (move.sku, move.location)
            self.state.levels.setdefault(place, StockLevel(sku=move.sku, location=move.location))
        self._on.shift(moves)
        return list(moves)

    def _say(self, kind: str, channel: str, moves: Sequence[Move], rows: Sequence[tuple[Listing, Listing]]) -> None:
        lines = [[now.sku, was.exposed, now.exposed] for was, now in rows if was != now]
        if moves or (kind == "stock.drifted" and lines):
            self._on.say(kind, {"channel": channel, "exposures": lines}, moves)

    async def begin(self, channel: str, begins: Sequence[Begin]) -> list[Begun]:
        self._begin("begin")
        replies: list[Begun] = []
        moves: list[Move] = []
        rows: list[tuple[Listing, Listing]] = []
        for wanted in begins:
            row = self._row(channel, wanted.sku)
            if wanted.units > 0 and row.key != wanted.key and self._stopped(channel, wanted.sku):
                replies.append(Begun(BeginCode.STOPPED, 0, row))
                continue
            place = row.location if row.exposed else self.location
            parts = exposure.parts_of(wanted.sku, self.state.kits)
            free = exposure.backable(self.state.levels, place, parts)
            begun = exposure.begin(row, wanted, free=free, location=self.location, now_ms=self.state.clock.now_ms())
            replies.append(begun)
            if begun.code in (BeginCode.BEGUN, BeginCode.UNCHANGED):
                moves += self._back(row, begun.listing)
                rows.append((row, begun.listing))
                self.state.listings[channel, wanted.sku] = begun.listing
        self._say("stock.granted", channel, moves, rows)
        self._end("begin")
        return replies

    def _stopped(self, channel: str, sku: str) -> bool:
        rules = self.state.rules.get(sku, ())
        return any(r.state is SaleState.STOPPED and (not r.channels or channel in r.channels) for r in rules)

    async def end(self, channel: str, ends: Sequence[Ended]) -> list[Listing]:
        self._begin("end")
        moves: list[Move] = []
        rows: list[tuple[Listing, Listing]] = []
        for ended in ends:
            row = self._row(channel, ended.sku)
            after = exposure.end(row, ended)
            if after != row:
                moves += self._back(row, after)
                rows.append((row, after))
                self.state.listings[channel, ended.sku] = after
                if ended.outcome is not Outcome.UNKNOWN or after.state is not row.state:
                    self._touch(channel, ended.sku, self.state.clock.now_ms())
        self._say("stock.returned", channel, moves, rows)
        self._end("end")
        return [self._row(channel, ended.sku) for ended in ends]

    async def observe(self, channel: str, known: Listing, figure: int, *, at_ms: int) -> Listing:
        self._begin("observe")
        row = self.state.listings.get((channel, known.sku), known)
        row = exposure.observe(row, known, max(0, figure), at_ms=at_ms)
        self.state.listings[channel, known.sku] = row
        self._end("observe")
        return row

    async def settle(self, channel: str, *, seen_ms: int) -> list[Listing]:
        self._begin("settle")
        settled: list[Listing] = []
        rises: list[tuple[Listing, Listing, bool]] = []
        falls: list[tuple[Listing, Listing]] = []
        own = [(key, row) for key, row in self.state.listings.items() if key[0] == channel]
        for key, row in sorted(own, key=lambda pair: (pair[1].written_ms, pair[0])):
            found = exposure.settle(row, seen_ms=seen_ms)
            if found is None:
                continue
            settled.append(found.listing)
            self.state.listings[key] = found.listing
            self._touch(channel, row.sku, self.state.clock.now_ms())
            if found.listing.exposed > row.exposed:
                rises.append((row, found.listing, found.drifted))
            else:
                falls.append((row, found.listing))
        moves = [move for was, now in falls for move in self._back(was, now)]
        self._say("stock.returned", channel, moves, [pair for pair in falls if pair[0].exposed != pair[1].exposed])
        self._rise(channel, rises)
        self._end("settle")
        return settled

    def _rise(self, channel: str, rises: Sequence[tuple[Listing, Listing, bool]]) -> None:
        said: dict[str, tuple[list[Move], list[tuple[Listing, Listing]]]] = {}
        for was, now, drifted in rises:
            parts = exposure.parts_of(now.sku, self.state.kits)
            room = exposure.backable(self.state.levels, now.location, parts)
            fits = not drifted and (not now.backed or now.exposed - was.exposed <= room)
            moves, rows = said.setdefault("stock.granted" if fits else "stock.drifted", ([], []))
            moves += self._back(was, now)
            rows.append((was, now))
        for kind in sorted(said, reverse=True):
            self._say(kind, channel, *said[kind])

    # -------------------------------------------------------------------------------------------------------- catalogue

    async def place(self, channel: str, entries: Sequence[Entry], *, by: str) -> int:
        self._begin("place")
        own = self.state.entries.setdefault(channel, {})
        changed = [entry for entry in entries if own.get(entry.sku) != entry]
        for entry in changed:
            own[entry.sku] = entry
            self._touch(channel, entry.sku, self.state.clock.now_ms())
        if changed:
            self._on.say("channel.mapped", {"channel": channel, "by": by, "entries": len(changed)}, ())
        self._end("place")
        return len(changed)

    async def displace(self, channel: str, skus: Sequence[str], *, by: str) -> int:
        self._begin("displace")
        own = self.state.entries.setdefault(channel, {})
        gone = [sku for sku in skus if own.pop(sku, None) is not None]
        for sku in gone:
            self._touch(channel, sku, self.state.clock.now_ms())
        if gone:
            self._on.say("channel.unmapped", {"channel": channel, "by": by, "entries": len(gone)}, ())
        self._end("displace")
        return len(gone)

    async def entries(self, channel: str, skus: Sequence[str] = ()) -> dict[str, Entry]:
        self._begin("entries")
        own = self.state.entries.get(channel, {})
        return {sku: own[sku] for sku in sorted(set(skus or own)) if sku in own}

    async def mapped(self, channel: str, cursor: int, *, limit: int) -> tuple[list[str], int]:
        self._begin("mapped")
        known = sorted(self.state.entries.get(channel, {}))
        after = cursor + limit
        return known[cursor:after], after if after < len(known) else 0

    async def put_kits(self, kits: Sequence[Kit], *, by: str) -> None:
        self._begin("put_kits")
        last = {kit.sku: kit for kit in kits}
        wanted = self.state.kits | last
        changes = [kit for kit in last.values() if self.state.kits.get(kit.sku, Kit(kit.sku, ())) != kit]
        wanted = {sku: kit for sku, kit in wanted.items() if kit.components}
        used = {part.sku for kit in wanted.values() for part in kit.components}
        for kit in changes:
            rows = [row for (_, sku), row in self.state.listings.items() if sku == kit.sku]
            nested = kit.sku in wanted and (kit.sku in used or any(part.sku in wanted for part in kit.components))
            exposed = any(row.exposed or row.state != "idle" for row in rows)
            stocks = [level for (sku, _), level in self.state.levels.items() if sku == kit.sku]
            counted = any(level.on_hand or level.held or level.sold or level.exposed for level in stocks)
            if nested or exposed or (kit.components and counted):
                raise Conflict(f"kit {kit.sku}", sku=kit.sku)
        for kit in changes:
            self.state.dirty.setdefault(kit.sku, self.state.clock.now_ms())
            parts = [[part.sku, part.quantity] for part in kit.components]
            self._on.say("stock.kit_changed", {"sku": kit.sku, "by": by, "components": parts}, ())
        self.state.kits.clear()
        self.state.kits.update(wanted)
        self._end("put_kits")

    async def kits(self) -> Mapping[str, Kit]:
        self._begin("kits")
        return dict(sorted(self.state.kits.items()))

    def _begin(self, verb: str) -> None:
        self.calls.append(verb)
        if verb in self.failing:
            raise StoreUnavailable(verb)

    def _end(self, verb: str) -> None:
        self._on.write_levels()
        if verb in self.lost_replies:
            self.lost_replies.remove(verb)
            raise StoreUnavailable(verb)


def idle(row: Listing) -> Listing:
    """The row without what only the server's clock can know."""
    return replace(row, began_ms=0)
