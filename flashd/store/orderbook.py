"""Reading the orders of one pool: every answer is bounded, and nothing is scanned to find one order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec
from redis.asyncio import Redis

from flashd.domain.order import OrderRecord, OrderRef, OrderState
from flashd.ports import Headcount, Quarantined
from flashd.store.faults import store_faults
from flashd.store.keys import order_key, pool_key
from flashd.store.packing import RECORD_FIELDS, unpack_raw, unpack_record
from flashd.store.scripts import load

_CHUNK = 500
_MOST = 20_000  # index entries looked at for one page, per index
_INDEX = {
    OrderState.WAITING: "wait",
    OrderState.QUEUED: "q",
    OrderState.SENDING: "fl",
    OrderState.IN_DOUBT: "fl",
    OrderState.DEAD: "dead",
    OrderState.MANUAL: "desk",
    OrderState.PARKED: "desk",
    OrderState.SHORTFALL: "desk",
    OrderState.DELIVERED: "done",
    OrderState.BACKORDER: "backorder",
    OrderState.CANCELLED: "done",
    OrderState.IGNORED: "done",
}


_ALONG = ("wait", "backorder", "q", "fl", "desk", "dead", "done")  # the way of an order: one that moves is met again


class RedisOrderBook:
    """The OrderBook of one pool; see `flashd.ports`."""

    def __init__(self, client: Redis, pool: str) -> None:
        self.pool = pool
        self._client: Any = client  # its types allow for decoded answers, which this store never asks for

    async def get(self, ref: OrderRef) -> OrderRecord | None:
        """Return all that is kept of one order, or None."""
        with store_faults("get"):
            return (await self._read([ref]))[0]

    async def raw(self, ref: OrderRef) -> bytes | None:
        """Return the raw body, or None once it was delivered or erased."""
        with store_faults("raw"):
            packed = await self._client.hget(order_key(self.pool, ref), "b")
        return unpack_raw(packed) if packed else None

    async def page(
        self, states: Sequence[OrderState] = (), *, backend: str = "", offset: int = 0, limit: int = 100
    ) -> list[OrderRecord]:
        """
        Return orders in these states (all by default), oldest in their index first.

        Where each index begins is read at one instant, so that an order that moves meanwhile stands in the page once.
        Of each index at most 20,000 entries are looked at, so that a page far down a filtered index may be short.
        """
        wanted = {state.value.encode() for state in states or OrderState}

        def is_wanted(head: list[bytes]) -> bool:
            return head[0] in wanted and (not backend or head[4].decode() == backend)

        with store_faults("page"):
            keys = [pool_key(self.pool, index) for index in await self._indexes(states or tuple(OrderState), backend)]
            pipe = self._client.pipeline(transaction=True)
            for key in keys:
                pipe.zrange(key, 0, _CHUNK - 1, withscores=True)
            found: dict[str, float] = {}
            for key, entries in zip(keys, await pipe.execute(), strict=True):
                for member, score in await self._members(key, entries, is_wanted, offset + limit):
                    found.setdefault(member, score)  # of one that moved while the rest was read, the first place
            in_order = sorted(found, key=lambda member: (found[member], member))
            refs = [OrderRef.parse(member) for member in in_order[offset : offset + limit]]
            return [record for record in await self._read(refs) if record is not None]

    async def every(self, states: Sequence[OrderState] = (), *, backend: str = "") -> AsyncIterator[OrderRecord]:
        """Hand out all orders in these states; see the port."""
        wanted = frozenset(states or OrderState)
        with store_faults("every"):
            indexes = await self._indexes(states or tuple(OrderState), backend)
        for index in sorted(indexes, key=lambda name: _ALONG.index(name.partition(":")[0])):
            async for members in self._along(index):
                with store_faults("every"):
                    records = await self._read([OrderRef.parse(member.decode()) for member in members])
                for record in records:
                    if record is not None and record.state in wanted and backend in ("", record.backend):
                        yield record

    async def members(self) -> AsyncIterator[list[bytes]]:
        """Hand out the names of all that is kept, as `every` does; one that moves meanwhile may be told twice."""
        with store_faults("members"):
            indexes = await self._indexes(tuple(OrderState), "")
        for index in sorted(indexes, key=lambda name: _ALONG.index(name.partition(":")[0])):
            async for members in self._along(index):
                yield members

    async def counts(self) -> dict[str, int]:
        """Return how many orders stand in each index, as `headcount` names them."""
        return (await self.headcount()).orders

    async def headcount(self) -> Headcount:
        """Count the orders of each index and of each backend's queue, all at once."""
        with store_faults("headcount"):
            backends = await self._backends()
            groups = {
                "waiting": ["wait"],
                "queued": [f"q:{name}" for name in backends],
                "in_flight": [f"fl:{name}" for name in backends],
                "dead": ["dead"],
                "desk": ["desk"],
                "backorder": ["backorder"],
                "done": ["done"],
            }
            pipe = self._client.pipeline(transaction=True)
            for name in (name for names in groups.values() for name in names):
                pipe.zcard(pool_key(self.pool, name))
            sizes = iter(await pipe.execute())
        counted = {group: [next(sizes) for _ in names] for group, names in groups.items()}
        return Headcount(
            orders={group: sum(found) for group, found in counted.items()},
            queued=dict(zip(backends, counted["queued"], strict=True)),
        )

    async def position(self, ref: OrderRef) -> int | None:
        """Return how many orders leave before this one, or None if it is not queued."""
        with store_faults("position"):
            head = await self._client.hget(order_key(self.pool, ref), "s")
            if head is None or not head.startswith(b"queued "):
                return None
            backend = head.decode().split(" ")[4]
            rank: int | None = await self._client.zrank(pool_key(self.pool, f"q:{backend}"), str(ref))
        return rank

    async def quarantined(self, *, offset: int = 0, limit: int = 100) -> list[Quarantined]:
        """Return what was not understood, oldest first."""
        with store_faults("quarantined"):
            times = await self._client.zrange(
                pool_key(self.pool, "quarantine:at"), offset, offset + limit - 1, withscores=True
            )
            if not times:
                return []
            bodies = await self._client.hmget(pool_key(self.pool, "quarantine"), [entry_id for entry_id, _ in times])
        entries: list[Quarantined] = []
        for (entry_id, at_ms), packed in zip(times, bodies, strict=True):
            if packed is not None:
                channel, reason, headers, body = msgspec.msgpack.decode(packed)
                entries.append(
                    Quarantined(
                        id=entry_id.decode(),
                        channel=channel,
                        received_ms=int(at_ms),
                        reason=reason,
                        headers=headers,
                        body=unpack_raw(body) if body else b"",
                    )
                )
        return entries

    async def _backends(self) -> list[str]:
        known = await load("register").call(self._client, [pool_key(self.pool, "meta")], [])
        return [name.decode() for name in known.split()]

    async def _indexes(self, states: Sequence[OrderState], backend: str) -> list[str]:
        names: list[str] = []
        for index in dict.fromkeys(_INDEX[state] for state in states):
            if index in {"q", "fl"}:
                names += [f"{index}:{name}" for name in await self._backends() if not backend or name == backend]
            else:
                names.append(index)
        return names

    async def _along(self, index: str) -> AsyncIterator[list[bytes]]:
        """
        Hand out the members of an index from its beginning to its end.

        The place is kept by score and not by rank, so that what leaves the index meanwhile shifts nobody out of sight.
        """
        key, score, told, limit = pool_key(self.pool, index), "-inf", set[bytes](), _CHUNK
        while True:
            with store_faults("every"):
                found = await self._client.zrange(
                    key, score, "+inf", byscore=True, offset=0, num=limit, withscores=True
                )
            fresh = [member for member, _ in found if member not in told]
            if fresh:
                yield fresh
            if len(found) < limit:
                return
            last = found[-1][1]
            told = {member for member, at in found if at == last}  # all of one score are asked for again
            limit = _CHUNK + len(told)
            score = f"{last:.0f}"

    async def _members(
        self,
        key: str,
        entries: Sequence[tuple[bytes, float]],
        is_wanted: Callable[[list[bytes]], bool],
        enough: int,
    ) -> list[tuple[str, float]]:
        """Return (member, score) of the first *enough* whose head is wanted, of an index that begins with *entries*."""
        found: list[tuple[str, float]] = []
        for start in range(0, _MOST, _CHUNK):
            if start:
                entries = await self._client.zrange(key, start, start + _CHUNK - 1, withscores=True)
            pipe = self._client.pipeline(transaction=False)
            for member, _ in entries:
                pipe.hget(pool_key(self.pool, f"ord:{member.decode()}"), "s")
            for (member, score), head in zip(entries, await pipe.execute(), strict=True):
                if is_wanted((head or b"").split(b" ")):
                    found.append((member.decode(), score))
            if len(entries) < _CHUNK or len(found) >= enough:
                break
        return found[:enough]

    async def _read(self, refs: Sequence[OrderRef]) -> list[OrderRecord | None]:
        pipe = self._client.pipeline(transaction=True)
        for ref in refs:
            key = order_key(self.pool, ref)
            pipe.hmget(key, RECORD_FIELDS)
            pipe.hexists(key, "n")
        replies = await pipe.execute()
        return [
            unpack_record(ref, values, has_next=bool(has_next))
            for ref, values, has_next in zip(refs, replies[::2], replies[1::2], strict=True)
        ]
