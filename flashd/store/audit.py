"""
Does it all add up? Checkpoint and journal against the counters, the counters against every hold and every record.

It may run while orders come in: the counters, the checkpoint and the journal's last id are read in one transaction, and
everything else is counted as of that id (see census.py). Two things disturb it, and then it begins again: entries that
are trimmed before it has read them, and the purge of orders whose units it counts. It reads in pages; what it remembers
is 8 bytes of each order's name, and what moved while it ran.
"""

from __future__ import annotations

import contextlib
import math
import re
from typing import Any

import msgspec
from redis.asyncio import Redis

from flashd.domain.event import Event
from flashd.domain.journal import DRIFTED, RECOUNTED, Tallies, Tally, fold, moves_of
from flashd.domain.order import OrderRef
from flashd.errors import StoreUnavailable
from flashd.store.census import Census, Difference, Disturbed, Place, Report, Units, Uses, entries
from flashd.store.exposures import backed_units
from flashd.store.faults import store_faults
from flashd.store.keys import generation_key, order_key, pool_key
from flashd.store.owed import check_owed

_ATTEMPTS = 5
_BATCH = 500
_LEVEL = re.compile(r"^(-?\d+) (\d+) (\d+) (\d+) (\d+) (\d+)(?: \d+)?$")
_PURGED, _PURGED_USE = "\x1d", "\x1c"
_COUNTERS = ("on_hand", "held", "sold", "exposed", "safety")
_MIRROR = "let the channel mirror for a while: that gives back all that backs its listings"
_RECOUNT = "count again: flashd stock set SKU COUNT (the journal says what should be there)"


class AuditReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted, as of which entry of the journal, and what does not add up."""

    pool: str
    ok: bool
    as_of: str  # the journal's last id when the counters were read
    skus: int = 0
    events: int = 0
    orders: int = 0
    live_holds: int = 0
    oversold: int = 0  # units that were promised and were not there, but by a recount or a human's edit on a channel
    deficits: tuple[str, ...] = ()  # fewer than were promised, by one of these: known and told, not a difference
    differences: tuple[Difference, ...] = ()
    total: int = 0  # of all differences, also those not listed


async def audit(client: Redis, pool: str) -> AuditReport:
    """
    Compare all that is kept of one pool with itself; writes nothing.

    Raises:
        StoreUnavailable: It does not answer, or trimming and purging never let the audit come to an end: ask again.
        InvariantBroken: An entry of the journal is none that flashd wrote.
    """
    with store_faults("audit"):
        for _ in range(_ATTEMPTS):
            with contextlib.suppress(Disturbed):
                return await _Audit(client, pool).run()
    raise StoreUnavailable(
        f"the audit of pool {pool!r} was disturbed {_ATTEMPTS} times by trimming or purging: ask again"
    )


class _Audit:
    """One attempt."""

    def __init__(self, client: Redis, pool: str) -> None:
        self._client: Any = client
        self._pool = pool
        self._report = Report()
        self._missing: set[tuple[str, str]] = set()  # orders that the journal knows and that have no record
        self._floors: dict[Place, float] = {}  # how far below zero the last recount left a SKU
        self._backed: Units = {}  # by backed listings
        self._events = 0
        self._oversold = 0
        self._uses: Uses = {}  # as counted

    async def run(self) -> AuditReport:
        """
        Return the report.

        Raises:
            Disturbed: Entries were trimmed before they were read, or orders with units were purged.
        """
        levels, checkpoint, backends, last = await self._snapshot_with_shelves()
        purged_uses = _take_purged_uses(checkpoint)
        upto = checkpoint.pop("upto", "0-0")
        tallies, purged = _read_checkpoint(checkpoint)
        self._floors = {place: -math.inf for place, tally in tallies.items() if tally.spare < 0}
        await self._fold(tallies, upto, last)
        census = Census(self._client, self._pool, backends, last, self._report)
        await census.take()
        now = await self._client.hgetall(pool_key(self._pool, "checkpoint"))
        fields = {field.decode(): value.decode() for field, value in now.items() if field != b"upto"}
        if _take_purged_uses(fields) != purged_uses or _read_checkpoint(fields)[1] != purged:
            raise Disturbed
        self._compare_counters(levels, tallies)
        self._compare_sums(levels, tallies, census, purged)
        self._compare_uses(census.uses, purged_uses)
        for one in await check_owed(self._client, self._pool):
            self._report.add(one.what, one.where, one.expected, one.found, one.mend)
        for channel, order_id in sorted(self._missing - census.tail.purged):
            mend = "restore the record from a backup, or ask the channel for the order again"
            self._report.add("order without a record", f"{channel}:{order_id}", "a record", "none", mend)
        return AuditReport(
            pool=self._pool,
            ok=self._report.count == 0,
            as_of=last,
            skus=len(levels),
            events=self._events,
            orders=census.orders,
            live_holds=census.live_holds,
            oversold=self._oversold,
            deficits=tuple(f"{_name(at)}: {-level.spare}" for at, level in sorted(levels.items()) if level.spare < 0),
            differences=tuple(self._report.differences),
            total=self._report.count,
        )

    async def _snapshot_with_shelves(self) -> tuple[dict[Place, Tally], dict[str, str], list[str], str]:
        """Read all in one transaction; a shelf that came up meanwhile lets it begin again."""
        while True:
            shelves = await self._find_shelves()
            found = await self._snapshot(shelves)
            if await self._find_shelves() == shelves:
                return found

    async def _find_shelves(self) -> list[bytes]:
        pattern = pool_key(self._pool, "exp:*")
        return sorted({key async for key in self._client.scan_iter(match=pattern, count=1000)})

    async def _snapshot(self, shelves: list[bytes]) -> tuple[dict[Place, Tally], dict[str, str], list[str], str]:
        async with self._client.pipeline(transaction=True) as pipe:
            pipe.hgetall(pool_key(self._pool, "stock"))
            pipe.hgetall(pool_key(self._pool, "checkpoint"))
            pipe.hget(generation_key(self._pool), "backends")
            pipe.hgetall(pool_key(self._pool, "use"))
            pipe.xrevrange(pool_key(self._pool, "j"), count=1)
            pipe.hgetall(pool_key(self._pool, "kit"))
            for shelf in shelves:
                pipe.hgetall(shelf)
            stock, checkpoint, backends, uses, newest, kits, *rows = await pipe.execute()
        self._uses = {field.decode(): int(units) for field, units in uses.items()}
        self._backed = backed_units(kits, dict(zip(shelves, rows, strict=True)), self._report)
        known = {field.decode(): value.decode() for field, value in checkpoint.items()}
        levels: dict[Place, Tally] = {}
        for field, packed in stock.items():
            sku, _, location = field.decode().partition("\x1f")
            match = _LEVEL.match(packed.decode())
            if match is None:
                where, said = _name((sku, location)), packed.decode(errors="replace")
                self._report.add("counter damaged", where, "six numbers, none but the first negative", said, _RECOUNT)
                continue
            levels[sku, location] = Tally(*(int(number) for number in match.groups()[:5]))
        last = newest[0][0].decode() if newest else known.get("upto", "0-0")
        return levels, known, (backends or b"").decode().split(), last

    async def _fold(self, tallies: Tallies, upto: str, last: str) -> None:
        batch: list[Event] = []
        async for event in entries(self._client, self._pool, upto, last):
            batch.append(event)
            if len(batch) >= _BATCH:
                await self._take_in(batch, tallies)
                batch = []
        await self._take_in(batch, tallies)

    async def _take_in(self, batch: list[Event], tallies: Tallies) -> None:
        self._events += len(batch)
        orders: dict[tuple[str, str], bool] = {}  # whether its last word here is that it was purged
        for event in batch:
            fold([event], tallies)
            self._check_promises(event, tallies)
            if isinstance(order := event.data.get("order"), dict):
                orders[order["channel"], order["id"]] = event.kind == "order.purged"
        async with self._client.pipeline(transaction=False) as pipe:
            for channel, order_id in orders:
                pipe.exists(order_key(self._pool, OrderRef(channel, order_id)))
            exist = await pipe.execute()
        for (name, purged), exists in zip(orders.items(), exist, strict=True):
            if purged or exists:
                self._missing.discard(name)
            else:
                self._missing.add(name)

    def _check_promises(self, event: Event, tallies: Tallies) -> None:
        """No order, hold or grant may take more than there is; below zero, only counts and human edits lead."""
        for place in {(move.sku, move.location) for move in moves_of(event)}:
            spare = tallies[place].spare
            if event.kind in (RECOUNTED, DRIFTED):
                self._floors[place] = min(0, spare)
            elif spare < self._floors.get(place, 0):
                self._oversold += round(self._floors.get(place, 0) - spare)
                self._floors[place] = spare
                what, mend = "more was promised than there was", f"look at {event.id} in the journal: {event.kind}"
                self._report.add(what, _name(place), "nothing below zero but by a count or an edit", str(spare), mend)

    def _compare_counters(self, levels: dict[Place, Tally], tallies: Tallies) -> None:
        for place in sorted(levels.keys() | tallies.keys()):
            level, tally = levels.get(place, Tally()), tallies.get(place, Tally())
            for name in _COUNTERS:
                expected, found = getattr(tally, name), getattr(level, name)
                if expected != found:
                    what = f"{name} is not what the journal adds up to"
                    self._report.add(what, _name(place), str(expected), str(found), _RECOUNT)

    def _compare_sums(self, levels: dict[Place, Tally], tallies: Tallies, census: Census, purged: Units) -> None:
        for place in sorted(
            levels.keys() | census.taken.keys() | census.held.keys() | purged.keys() | self._backed.keys()
        ):
            level, lacked = levels.get(place, Tally()), tallies.get(place, Tally()).lacked
            if (backed := self._backed.get(place, 0)) != level.exposed:
                what = "exposed is not the sum of the backed listings"
                self._report.add(what, _name(place), str(backed), str(level.exposed), _MIRROR)
            held, taken = census.held.get(place, 0), census.taken.get(place, 0) + purged.get(place, 0)
            if held != level.held:
                self._report.add(
                    "held is not the sum of the live holds", _name(place), str(held), str(level.held), _RECOUNT
                )
            # What a recount took out of sold is still taken in the records, or was given back without a move.
            if not level.sold <= taken <= level.sold + lacked:
                expected = str(taken) if not lacked else f"{max(0, taken - lacked)} to {taken}"
                self._report.add("sold is not what the orders took", _name(place), expected, str(level.sold), _RECOUNT)

    def _compare_uses(self, carried: Uses, purged: Uses) -> None:
        """What counts against quotas and limits is what holds and orders carry."""
        for field in sorted(self._uses.keys() | carried.keys() | purged.keys()):
            expected, found = carried.get(field, 0) + purged.get(field, 0), self._uses.get(field, 0)
            if expected != found:
                what, where = "a use is not what holds and orders carry", field.replace("\x1f", "/")
                mend = f"HINCRBY {pool_key(self._pool, 'use')} {field!r} {expected - found}"
                self._report.add(what, where, str(expected), str(found), mend)


def _take_purged_uses(fields: dict[str, str]) -> Uses:
    """Take what purged orders count for out of the checkpoint's fields."""
    names = [field for field in fields if field.startswith(_PURGED_USE)]
    return {field.removeprefix(_PURGED_USE): int(fields.pop(field)) for field in names}


def _read_checkpoint(fields: dict[str, str]) -> tuple[Tallies, Units]:
    """Return the tallies of what was trimmed, and the units of purged orders."""
    tallies: Tallies = {}
    purged: Units = {}
    for field, value in fields.items():
        sku, _, location = field.removeprefix(_PURGED).partition("\x1f")
        if field.startswith(_PURGED):
            purged[sku, location] = int(value)
        else:
            tallies[sku, location] = Tally(*(int(number) for number in value.split(" ")))
    return tallies, purged


def _name(place: Place) -> str:
    return f"{place[0]} at {place[1]}"
