"""
Counting every record and hold of a pool while traffic runs, as of one moment of its journal.

Each page (records, what follows them, their places in all indexes, the journal's last id) is read in one transaction,
so each record is judged as it stood in one instant. For the sums, what the journal says was moved by an order between
the census' beginning and the reading of its page is taken off again: so all sums are of the same moment. An order and
what followed it are read together, since units pass between them without a move. No key is written, and nothing of the
ledger's code is used: only its key names and its packed forms.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

import msgspec
from redis.asyncio import Redis

from flashd.domain.event import Event, Topic
from flashd.domain.journal import moves_of
from flashd.domain.order import Kind, OrderRef
from flashd.store.generation import stream_id
from flashd.store.journal import read_entry
from flashd.store.keys import order_key, pool_key
from flashd.store.packing import unpack_items, unpack_uses

_PAGE = 500
_INDEX = {
    "waiting": "wait",
    "queued": "q",
    "sending": "fl",
    "in_doubt": "fl",
    "dead": "dead",
    "manual": "desk",
    "parked": "desk",
    "shortfall": "desk",
    "backorder": "backorder",
    "delivered": "done",
    "cancelled": "done",
    "ignored": "done",
}
_PLAIN = ("wait", "desk", "dead", "backorder", "done")

Place = tuple[str, str]  # SKU and location
Units = dict[Place, int]
Uses = dict[str, int]  # what counts against quotas and limits, by field


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that does not add up."""

    what: str
    where: str
    expected: str
    found: str
    mend: str


class Tail:
    """The journal from one id on: what orders and holds moved since, by order and by hold."""

    def __init__(self, client: Any, pool: str, after: str) -> None:
        self._client = client
        self._pool = pool
        self._after = after
        self.orders: dict[tuple[str, str], Units] = {}
        self.holds: dict[str, Units] = {}
        self.order_uses: dict[tuple[str, str], Uses] = {}
        self.hold_uses: dict[str, Uses] = {}
        self.purged: set[tuple[str, str]] = set()

    async def read_to(self, last: str) -> None:
        """Take in what was written up to and with *last*."""
        async for event in entries(self._client, self._pool, self._after, last):
            self._after = event.id
            if event.kind == "order.purged":
                self.purged.add((event.data["order"]["channel"], event.data["order"]["id"]))
            for field, change in event.data.get("uses", ()):
                if event.topic is Topic.HOLD:
                    bag = self.hold_uses.setdefault(event.data["hold"], {})
                else:
                    bag = self.order_uses.setdefault((event.data["order"]["channel"], event.data["order"]["id"]), {})
                bag[field] = bag.get(field, 0) + change
            for move in moves_of(event):
                place = (move.sku, move.location)
                if event.topic is Topic.HOLD:  # it may also name the order that it was sold to
                    _add(self.holds.setdefault(event.data["hold"], {}), place, move.held)
                elif event.topic is Topic.ORDER:
                    order = event.data["order"]
                    _add(self.orders.setdefault((order["channel"], order["id"]), {}), place, move.sold)


class Census:
    """One walk over a pool: what its records took, what its holds hold, and whatever stands in a wrong place."""

    def __init__(self, client: Redis, pool: str, backends: Iterable[str], after: str, report: Report) -> None:
        self.taken: Units = {}
        self.held: Units = {}
        self.uses: Uses = {}  # what live holds and orders count for
        self.orders = self.live_holds = 0
        self._client: Any = client
        self._pool = pool
        self._backends = set(backends)
        self.tail = Tail(client, pool, after)
        self._report = report
        self._prefix = order_key(pool, OrderRef("", ""))[:-1]  # "fd:{pool}:ord:"

    async def take(self) -> None:
        """Walk over records, indexes and holds."""
        for kind in ("q", "fl"):
            async for keys in self._scan(pool_key(self._pool, f"{kind}:*")):
                self._backends |= {key.decode().split(f":{kind}:", 1)[1] for key in keys}
        async for keys in self._scan(f"{self._prefix}*"):
            await self._count_records([key.decode().removeprefix(self._prefix) for key in keys])
        for name in [*self._indexes(), "pending"]:
            await self._walk_index(name)
        await self._count_holds()
        if newest := await self._client.xrevrange(pool_key(self._pool, "j"), count=1):
            await self.tail.read_to(newest[0][0].decode())

    def _indexes(self) -> list[str]:
        queues = [f"{kind}:{backend}" for kind in ("q", "fl") for backend in sorted(self._backends)]
        return [*_PLAIN, *queues]

    async def _scan(self, pattern: str) -> AsyncIterator[list[bytes]]:
        """Hand out each key once: SCAN may repeat keys while the table grows, so 8 bytes of each are remembered."""
        seen: set[bytes] = set()
        cursor = 0
        while True:
            cursor, keys = await self._client.scan(cursor, match=pattern, count=_PAGE)
            fresh = [key for key in dict.fromkeys(keys) if _mark(key) not in seen]
            seen.update(_mark(key) for key in fresh)
            if fresh:
                yield fresh
            if cursor == 0:
                return

    async def _count_records(self, members: list[str]) -> None:
        while True:
            known = set(self._backends)
            indexes = [*self._indexes(), "pending"]
            async with self._client.pipeline(transaction=True) as pipe:
                for member in members:
                    ref = OrderRef.parse(member)
                    pipe.hmget(order_key(self._pool, ref), "s", "n")
                    for kind in Kind:
                        pipe.hget(order_key(self._pool, OrderRef(ref.channel, ref.id, kind)), "i")
                    pipe.hmget(order_key(self._pool, OrderRef(ref.channel, ref.id)), "s", "u")
                for index in indexes:
                    pipe.zmscore(pool_key(self._pool, index), members)
                pipe.xrevrange(pool_key(self._pool, "j"), count=1)
                rows = await pipe.execute()
            width = len(Kind) + 2
            heads = [rows[at][0] for at in range(0, width * len(members), width)]
            self._backends |= {head.decode().split(" ")[4] for head in heads if head and head.count(b" ") == 12} - {"-"}
            if self._backends == known:
                break
        if rows[-1]:
            await self.tail.read_to(rows[-1][0][0].decode())
        scores = dict(zip(indexes, rows[width * len(members) : -1], strict=True))
        for at, member in enumerate(members):
            (head, waiting), *items, (base, uses) = rows[at * width : (at + 1) * width]
            if head is None and waiting is None and not any(items):
                continue  # it left between SCAN and now
            stands = [index for index in indexes if scores[index][at] is not None]
            self._judge(member, head, has_next=waiting is not None, stands=stands)
            self._sum(OrderRef.parse(member), items, uses or b"", has_base=base is not None)

    def _judge(self, member: str, head: bytes | None, *, has_next: bool, stands: list[str]) -> None:
        where = member.replace("\x1f", "/")
        parts = (head or b"").decode().split(" ")
        if len(parts) != 13 or parts[0] not in _INDEX:
            self._report.add("record damaged", where, "a head of 13 parts", repr(head), "restore it from a backup")
            return
        kind = _INDEX[parts[0]]
        wanted = f"{kind}:{parts[4]}" if kind in ("q", "fl") else kind
        found = [index for index in stands if index != "pending"]
        if found != [wanted]:
            for index in found:
                if index != wanted:
                    mend = f"ZREM {pool_key(self._pool, index)} {member!r}"
                    self._report.add("record in a wrong index", where, wanted, index, mend)
            if wanted not in found:
                mend = f"ZADD {pool_key(self._pool, wanted)} {parts[11]} {member!r}"
                self._report.add("record missing from its index", where, wanted, ", ".join(found) or "none", mend)
        if has_next != ("pending" in stands):
            self._report.add(
                "waiting version and index differ",
                where,
                "field n and a place in pending, or neither",
                "field n only" if has_next else "pending only",
                f"ZADD {pool_key(self._pool, 'pending')} 0 {member!r}" if has_next else "ZREM it from pending",
            )

    def _sum(self, ref: OrderRef, items: Sequence[bytes | None], uses: bytes, *, has_base: bool) -> None:
        if ref.kind is not Kind.CREATE:
            if not has_base:
                said = "look in the journal for what became of the order"
                self._report.add("follow-up without its order", f"{ref.channel}:{ref.id}", "a record", "none", said)
            return  # counted with its order
        self.orders += 1
        for packed in items:
            for item in unpack_items(packed or b""):
                _add(self.taken, (item.sku, item.location), item.taken)
        for place, units in self.tail.orders.get((ref.channel, ref.id), {}).items():
            _add(self.taken, place, -units)
        self._count_uses(unpack_uses(uses), self.tail.order_uses.get((ref.channel, ref.id), {}))

    async def _walk_index(self, name: str) -> None:
        key = pool_key(self._pool, name)
        async for members in self._scan_members(self._client.zscan, key):
            async with self._client.pipeline(transaction=True) as pipe:
                pipe.zmscore(key, members)
                for member in members:
                    pipe.exists(f"{self._prefix}{member}")
                scores, *exist = await pipe.execute()
            for member, score, exists in zip(members, scores, exist, strict=True):
                if score is not None and not exists:
                    where = member.replace("\x1f", "/")
                    mend = "restore the record from a backup, or ask the channel for the order again"
                    self._report.add(
                        "order without a record", where, f"a record, since it stands in {name}", "none", mend
                    )

    async def _scan_members(self, scan: Callable[..., Any], key: str) -> AsyncIterator[list[str]]:
        cursor = 0
        while True:
            cursor, page = await scan(key, cursor, count=_PAGE)
            members = [(part[0] if isinstance(part, tuple) else part).decode() for part in page]
            if members:
                yield members
            if cursor == 0:
                return

    async def _count_holds(self) -> None:
        holds, due = pool_key(self._pool, "hold"), pool_key(self._pool, "hold:due")
        seen: set[bytes] = set()
        for scan, key in ((self._client.hscan, holds), (self._client.zscan, due)):
            async for ids in self._scan_members(scan, key):
                fresh = [name for name in dict.fromkeys(ids) if _mark(name.encode()) not in seen]
                seen.update(_mark(name.encode()) for name in fresh)
                if not fresh:
                    continue
                async with self._client.pipeline(transaction=True) as pipe:
                    pipe.hmget(holds, fresh)
                    pipe.zmscore(due, fresh)
                    pipe.xrevrange(pool_key(self._pool, "j"), count=1)
                    packed, scores, newest = await pipe.execute()
                if newest:
                    await self.tail.read_to(newest[0][0].decode())
                for name, text, score in zip(fresh, packed, scores, strict=True):
                    self._count_hold(name, text, score)

    def _count_hold(self, name: str, packed: bytes | None, score: float | None) -> None:
        if packed is None and score is None:
            return  # its tombstone went between the reading of its name and now
        parts = (packed or b"").decode().split("\x1d")
        live = parts[0] == "held" and len(parts) >= 10
        if live != (score is not None):
            self._report.add(
                "live holds and deadlines differ",
                f"hold {name}",
                "a deadline" if live else "no deadline",
                "none" if live else f"{score:.0f}",
                "ZADD it to hold:due with its end, so that it can expire" if live else "ZREM it from hold:due",
            )
        if live:
            self.live_holds += 1
            for item in unpack_items(parts[9].encode()):
                _add(self.held, (item.sku, item.location), item.quantity)
        uses = unpack_uses(parts[11].encode()) if live and len(parts) > 11 else {}
        self._count_uses(uses, self.tail.hold_uses.get(name, {}))
        for place, units in self.tail.holds.get(name, {}).items():
            _add(self.held, place, -units)

    def _count_uses(self, uses: Uses, since: Uses) -> None:
        """Add what something counts for, but for what changed since the census began."""
        for sign, bag in ((1, uses), (-1, since)):
            for field, units in bag.items():
                self.uses[field] = self.uses.get(field, 0) + sign * units


class Report:
    """Collects differences, and no more than can be read."""

    def __init__(self, limit: int = 1000) -> None:
        self.differences: list[Difference] = []
        self.count = 0
        self._limit = limit

    def add(self, what: str, where: str, expected: str, found: str, mend: str) -> None:
        """Note one difference."""
        self.count += 1
        if len(self.differences) < self._limit:
            self.differences.append(Difference(what=what, where=where, expected=expected, found=found, mend=mend))


class Disturbed(Exception):  # noqa: N818  # it never leaves the audit, which begins again
    """Entries that were not read yet were trimmed, or orders purged."""


async def entries(client: Any, pool: str, after: str, last: str) -> AsyncIterator[Event]:
    """
    Hand out the journal's entries behind *after*, up to and with *last*.

    Raises:
        Disturbed: Some of them were trimmed before they could be read; what was read is no harm.
    """
    while True:
        async with client.pipeline(transaction=True) as pipe:
            pipe.xrange(pool_key(pool, "j"), min=f"({after}", max=last, count=_PAGE)
            pipe.hget(pool_key(pool, "checkpoint"), "upto")
            page, upto = await pipe.execute()
        if upto is not None and stream_id(upto.decode()) > stream_id(after):
            raise Disturbed
        if not page:
            return
        for entry_id, fields in page:
            event = read_entry(pool, entry_id, fields)
            after = event.id
            yield event


def _add(units: Units, place: Place, count: int) -> None:
    units[place] = units.get(place, 0) + count


def _mark(key: bytes) -> bytes:
    return hashlib.blake2b(key, digest_size=8).digest()
