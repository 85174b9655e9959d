"""
The stockroom of one pool in Redis: counts, shipments, receipts, and who waits for goods.

Candidates are peeked and passed by name; every script decides by what it finds then. What is free never rises before
the script that says so, so a call that ends halfway leaves nothing to mend.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace
from redis.asyncio import Redis

from flashd.domain.count import (
    MARGIN_MS,
    Count,
    CountCode,
    Counted,
    CountKind,
    Receipt,
    Received,
    is_contained,
    net,
)
from flashd.domain.order import Kind, OrderRef, OrderState
from flashd.domain.stock import StockLevel
from flashd.domain.triage import rest_of, split
from flashd.errors import Conflict, NotFound, StoreUnavailable
from flashd.store.faults import store_faults
from flashd.store.keys import order_key, pool_key
from flashd.store.ledger import RECOUNT, commanded
from flashd.store.packing import (
    RECORD_FIELDS,
    clean,
    pack_bundles,
    pack_items,
    pack_order,
    repack_order,
    unpack_level,
    unpack_record,
)
from flashd.store.scripts import load

_SERVE = ("stock", "wait", "desk", "backorder", "owing", "j", "dirty")
_FAMILIES = 150  # orders looked at by one script
_COUNTS = 100  # counts in one script
_WAITING = 50  # of those who wait, served by one script
_WAITING_MOST = 3200  # where those before them wait for a human
_ROUNDS = 200
_NAMED = 20  # orders that a forecast names
_PAST = "\x20"  # what sorts right behind the separator
_CLASSES = {CountKind.AVAILABLE: "us", CountKind.PHYSICAL: "sc"}  # see includes/countable.lua


@dataclass
class _Asked:
    """One count, the last of its candidates, and what came of those before."""

    count: Count
    refs: list[OrderRef]
    orders: int = 0
    units: int = 0


class RedisStockroom:
    """
    The Stockroom of one pool; see `flashd.ports`.

    Args:
        margin_ms: So near to the instant of a count an order is in doubt.
        safety: Units kept back of a SKU that is counted or received for the first time.
    """

    def __init__(self, client: Redis, pool: str, *, margin_ms: int = MARGIN_MS, safety: int = 0) -> None:
        self.pool = pool
        self._client: Any = client  # its types allow for decoded answers, which this store never asks for
        self._margin_ms = margin_ms
        self._safety = safety

    def _keys(self, names: Sequence[str]) -> list[str]:
        return [pool_key(self.pool, name) for name in names]

    def _family(self, ref: OrderRef) -> list[str]:
        return [order_key(self.pool, OrderRef(ref.channel, ref.id, kind)) for kind in Kind]

    async def _call(self, name: str, keys: Sequence[str], args: Sequence[str | bytes | int]) -> Any:
        with store_faults(name):
            return await load(name).call(self._client, keys, args)

    # ------------------------------------------------------------------------------------------------------ counting

    async def count(self, counts: Sequence[Count], *, by: str) -> list[Counted]:
        """Set on hand to each count, and take from `sold` what it lacks."""
        done: list[Counted] = []
        for first in range(0, len(counts), _COUNTS):
            some = counts[first : first + _COUNTS]
            before = await self._levels(some)
            pages = await self._first_pages(some)
            batch: list[_Asked] = []
            for wish, page in zip(some, pages, strict=True):
                asked = _Asked(wish, page) if len(page) < _FAMILIES else await self._net_large(wish, by)
                if batch and sum(len(one.refs) for one in batch) + len(asked.refs) > _FAMILIES:
                    done += await self._settle(batch, before, by)
                    batch = []
                batch.append(asked)
            done += await self._settle(batch, before, by)
        for counted in done:
            if counted.after.owed:
                await self._serve_place(counted.after.sku, counted.after.location)
        return done

    async def _net_large(self, count: Count, by: str) -> _Asked:
        """Look at the candidates of one count page by page; return the last page, which ends the count."""
        asked = _Asked(count, [])
        async for refs in self._candidates(count):
            if asked.refs:
                [reply] = await self._ask([asked], by, ends=False)
                asked = _Asked(count, [], asked.orders + int(reply[8]), asked.units + int(reply[9]))
            asked.refs.extend(refs)
        return asked

    async def _settle(
        self, batch: list[_Asked], before: Mapping[tuple[str, str], StockLevel], by: str
    ) -> list[Counted]:
        settled: list[Counted] = []
        for asked, reply in zip(batch, await self._ask(batch, by, ends=True), strict=True):
            place = (asked.count.sku, asked.count.location)
            settled.append(
                Counted(
                    count=asked.count,
                    code=CountCode(reply[0].decode()),
                    before=before.get(place),
                    after=unpack_level(*place, reply[1:8]),
                    orders=asked.orders + int(reply[8]),
                    units=asked.units + int(reply[9]),
                )
            )
        return settled

    async def _ask(self, batch: list[_Asked], by: str, *, ends: bool) -> list[Any]:
        keys = self._keys(RECOUNT)
        args: list[str | bytes | int] = [clean(by), self._safety]
        for count, refs in ((asked.count, asked.refs) for asked in batch):
            safety = "" if count.safety is None else count.safety
            args += [count.sku, count.location, count.quantity, safety, count.number, str(count.kind), count.as_of_ms]
            args += [max(0, count.as_of_ms - self._margin_ms), 0, clean(count.source, 60), int(ends), len(refs)]
            keys += [key for ref in refs for key in self._family(ref)]
        replies: list[Any] = await self._call("recount", keys, args)
        return replies

    async def _first_pages(self, counts: Sequence[Count]) -> list[list[OrderRef]]:
        with store_faults("peek"):
            async with self._client.pipeline(transaction=False) as pipe:
                for count in counts:
                    for kind in _CLASSES[count.kind]:
                        start, end = _range(kind, count)
                        pipe.zrangebylex(pool_key(self.pool, "countable"), start, end, 0, _FAMILIES)
                rows = iter(await pipe.execute())
        pages = [[member for _ in _CLASSES[count.kind] for member in next(rows)] for count in counts]
        return [[_ref(member) for member in page] for page in pages]

    async def _candidates(self, count: Count) -> AsyncIterator[list[OrderRef]]:
        for kind in _CLASSES[count.kind]:
            start, end = _range(kind, count)
            while True:
                with store_faults("peek"):
                    page = await self._client.zrangebylex(pool_key(self.pool, "countable"), start, end, 0, _FAMILIES)
                if page:
                    yield [_ref(member) for member in page]
                if len(page) < _FAMILIES:
                    break
                start = b"(" + page[-1]

    async def _levels(self, counts: Sequence[Count]) -> dict[tuple[str, str], StockLevel]:
        places = list(dict.fromkeys((count.sku, count.location) for count in counts))
        with store_faults("levels"):
            packed = await self._client.hmget(pool_key(self.pool, "stock"), [f"{sku}\x1f{at}" for sku, at in places])
        return {
            place: unpack_level(*place, counters.split(b" "))
            for place, counters in zip(places, packed, strict=True)
            if counters is not None
        }

    async def forecast(self, counts: Sequence[Count]) -> list[Counted]:
        """Say what `count` would do; writes nothing."""
        before = await self._levels(counts)
        return [await self._foresee(count, before.get((count.sku, count.location))) for count in counts]

    async def _foresee(self, count: Count, before: StockLevel | None) -> Counted:
        place = (count.sku, count.location)
        level = before or StockLevel(sku=count.sku, location=count.location, safety=self._safety)
        with store_faults("forecast"):
            last = await self._client.hget(pool_key(self.pool, "counts"), "\x1f".join(place))
        if (before and count.number <= before.seq) or (last and count.as_of_ms < int(last.split(b" ")[1])):
            return Counted(count=count, code=CountCode.STALE, before=before, after=level)
        units, names = 0, []
        async for refs in self._candidates(count):
            for ref, moved in (await self._nettings(count, refs)).items():
                units += moved
                names.append(str(ref))
        after = replace(
            level,
            on_hand=count.quantity,
            sold=level.sold - min(units, level.sold),
            safety=level.safety if count.safety is None else count.safety,
            seq=count.number,
        )
        return Counted(
            count=count,
            code=CountCode.COUNTED,
            before=before,
            after=after,
            orders=len(names),
            units=units,
            contained=tuple(names[:_NAMED]),
        )

    async def _nettings(self, count: Count, refs: Sequence[OrderRef]) -> dict[OrderRef, int]:
        with store_faults("forecast"):
            async with self._client.pipeline(transaction=False) as pipe:
                for key in (key for ref in refs for key in self._family(ref)):
                    pipe.hmget(key, RECORD_FIELDS)
                rows = await pipe.execute()
        moved: dict[OrderRef, int] = {}
        for index, ref in enumerate(refs):
            family = [unpack_record(ref, values) for values in rows[index * len(Kind) : (index + 1) * len(Kind)]]
            base = family[0]
            contained = base is not None and is_contained(base, count.kind, count.as_of_ms - self._margin_ms)
            place = (count.sku, count.location)
            units = sum(net(one.items, place, count.kind, contained=contained)[1] for one in family if one is not None)
            if units:
                moved[ref] = units
        return moved

    # ---------------------------------------------------------------------------------------- shipments and receipts

    async def ship(self, ref: OrderRef, at_ms: int = 0, *, by: str) -> OrderState:
        """Note that the goods of an order left."""
        keys = [*self._keys(("j", "countable")), *self._family(ref)]
        return commanded(ref, "shipped", await self._call("ship", keys, [at_ms, clean(by)]))

    async def receive(self, receipt: Receipt, *, by: str) -> Received:
        """Put goods on hand and give them to those who wait."""
        if receipt.units < 1:
            raise ValueError("a receipt brings at least one unit")
        reply, served, _ = await self._give(receipt.sku, receipt.location, receipt, by)
        level = unpack_level(receipt.sku, receipt.location, reply[1:8])
        if reply[0] == b"received" and level.owed:
            served += await self._serve_place(receipt.sku, receipt.location)
        return Received(repeat=reply[0] == b"repeat", level=level, served=tuple(map(str, served)))

    async def serve(self) -> list[OrderRef]:
        """Give whatever became free to those who wait for it."""
        served: list[OrderRef] = []
        start = b"-"
        while True:
            with store_faults("serve"):
                first = await self._client.zrangebylex(pool_key(self.pool, "owing"), start, b"+", 0, 1)
            if not first:
                return served
            sku, location = first[0].split(b"\x1f")[:2]
            served += await self._serve_place(sku.decode(), location.decode())
            start = b"(" + sku + b"\x1f" + location + _PAST.encode()

    async def _serve_place(self, sku: str, location: str) -> list[OrderRef]:
        served: list[OrderRef] = []
        most = _WAITING
        while True:
            with store_faults("serve"):
                packed = await self._client.hget(pool_key(self.pool, "stock"), f"{sku}\x1f{location}")
            level = unpack_level(sku, location, packed.split(b" ")) if packed else None
            if level is None or not level.owed or level.atp - level.exposed <= 0:
                return served
            _, some, seen = await self._give(sku, location, None, "", most)
            served += some
            if not some and (seen < most or most >= _WAITING_MOST):
                return served
            if not some:  # whoever stands first waits for a human; those behind may be served
                most = min(4 * most, _WAITING_MOST)

    async def _give(
        self, sku: str, location: str, receipt: Receipt | None, by: str, most: int = _WAITING
    ) -> tuple[Any, list[OrderRef], int]:
        """Ask until nobody came first meanwhile; return the reply, who is covered now, and how many were asked."""
        place = f"{sku}\x1f{location}"
        for _ in range(_ROUNDS):
            names = await self._backends()
            with store_faults("receive"):
                row = await self._client.zrangebylex(
                    pool_key(self.pool, "owing"), f"[{place}\x1f", f"({place}{_PAST}", 0, most
                )
            refs = [OrderRef.parse(member.decode().split("\x1f", 3)[3]) for member in row]
            keys = [*self._keys((*_SERVE, "receipts", "locations")), *self._queues(names)]
            keys += [order_key(self.pool, ref) for ref in refs]
            args: list[str | bytes | int] = [" ".join(names), sku, location]
            args += [receipt.units if receipt else 0, receipt.id if receipt else "", self._safety, clean(by)]
            reply = await self._call("receive", keys, args)
            if reply[0] != b"again":
                return reply, [OrderRef.parse(member.decode()) for member in reply[8:]], len(refs)
        raise StoreUnavailable(f"pool {self.pool}: who waits for {sku} changes faster than it is read")

    def _queues(self, names: Sequence[str]) -> list[str]:
        return [pool_key(self.pool, f"q:{name}") for name in names]

    async def _backends(self) -> list[str]:
        known: bytes = await self._call("register", self._keys(["meta"]), [])
        return known.decode().split()

    # ---------------------------------------------------------------------------------------------- what fell short

    async def rests(self) -> list[OrderRef]:
        """Return what was split off orders in the last 30 days."""
        with store_faults("rests"):
            members = await self._client.zrange(pool_key(self.pool, "splits"), 0, -1)
        return [OrderRef.parse(member.decode()) for member in members]

    async def backorder(self, ref: OrderRef, *, by: str) -> OrderState:
        """Let a shortfall wait for goods."""
        for _ in range(_ROUNDS):
            names = await self._backends()
            keys = [*self._keys(_SERVE), order_key(self.pool, ref), *self._queues(names)]
            reply = await self._call("backorder", keys, [" ".join(names), clean(by)])
            if reply[0] != b"again":
                return commanded(ref, "backordered", reply)
        raise StoreUnavailable(f"{ref} changes faster than it is read")

    async def split(self, ref: OrderRef, *, by: str, wait: bool = True) -> OrderState:
        """Send what is covered; the rest waits as an order of its own, or is given up."""
        for _ in range(_ROUNDS):
            names = await self._backends()
            with store_faults("split"):
                values = await self._client.hmget(order_key(self.pool, ref), RECORD_FIELDS)
            record = unpack_record(ref, values)
            if record is None:
                raise NotFound(f"there is no order {ref}")
            parts = split(record)
            if parts is None:
                raise Conflict(
                    f"{ref} cannot be split: nothing is covered, or nothing is short", state=record.state.value
                )
            keys = self._keys((*_SERVE, "splits"))
            keys += [order_key(self.pool, ref), order_key(self.pool, rest_of(ref))]
            args = [" ".join(names), clean(by), values[1], pack_items(parts.first_items)]
            args.append(repack_order(parts.first, values[2]))
            args += [pack_items(parts.rest_items) if wait else "", pack_order(parts.rest), parts.rest.digest]
            args += [pack_bundles(parts.first_bundles), pack_bundles(parts.rest_bundles)]
            reply = await self._call("split", [*keys, *self._queues(names)], args)
            if reply[0] not in {b"again", b"changed"}:
                return commanded(ref, "split", reply)
        raise StoreUnavailable(f"{ref} changes faster than it is read")


def _range(kind: str, count: Count) -> tuple[str, str]:
    place = f"{count.sku}\x1f{count.location}"
    return f"[{kind}{place}\x1f", f"({kind}{place}{_PAST}"


def _ref(member: bytes) -> OrderRef:
    """Read the order in a member of `countable` or, less the time, of `owing`."""
    return OrderRef.parse(member.decode().split("\x1f", 2)[2])
