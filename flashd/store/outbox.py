"""The outbox in Redis: one pool's items for one backend, behind the port `Outbox`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from redis.asyncio import Redis

from flashd.domain.delivery import ClaimCode, Delivery, FinishCode, InFlight, Result, idempotency_key
from flashd.domain.order import Kind, OrderRecord, OrderRef, OrderState
from flashd.ports import Depth
from flashd.store.faults import store_faults
from flashd.store.keys import order_key, pool_key
from flashd.store.packing import RECORD_FIELDS, accepted_ms_of, clean, unpack_order, unpack_record
from flashd.store.scripts import Script, load

_PAGE = 200
_LATEST_MS = 1_000_000  # beyond the longest Retry-After that is heeded
_FLIGHT_MS = 120_000  # beyond the time that a request may take
_CLAIMS = {code.value.encode(): code for code in ClaimCode}
_FINISHES = {code.value.encode(): code for code in FinishCode}


class RedisOutbox:
    """Every change is one script call; what is read beside it is a peek and decides nothing."""

    def __init__(self, client: Redis, pool: str, backend: str) -> None:
        self.pool = pool
        self.backend = backend
        self._client = client
        self._fence = pool_key(pool, f"fence:{backend}")
        self._queue = pool_key(pool, f"q:{backend}")
        self._flight = pool_key(pool, f"fl:{backend}")
        self._journal = pool_key(pool, "j")
        self._oldest = b"", b"", 0  # the first in the queue, its place, when it was accepted
        self._settled = [pool_key(pool, name) for name in ("desk", "dead", "done", "stock", "j", "dirty", "countable")]

    async def due(self, limit: int) -> list[OrderRef]:
        """Return items that may be sent now, oldest first; a peek, not a claim."""
        return await self._peek(self._queue, 0, limit)

    async def claim(
        self, refs: Sequence[OrderRef], *, epoch: int, lease_ms: int
    ) -> list[tuple[ClaimCode, Delivery | None]]:
        """Take items into flight: counted and fsynced before this returns."""
        if not refs:
            return []
        keys = [self._fence, self._queue, self._flight]
        for ref in refs:
            keys += self._keys(ref)
        replies = await self._call(load("claim"), keys, [epoch, lease_ms, self.backend])
        claims: list[tuple[ClaimCode, Delivery | None]] = []
        for ref, reply in zip(refs, replies, strict=True):
            code = _CLAIMS[reply[0]]
            if code is not ClaimCode.CLAIMED:
                claims.append((code, None))
                continue
            _, order, revision, backend_ref, sends = reply
            delivery = Delivery(
                ref=ref,
                key=idempotency_key(ref, int(revision)),
                order=unpack_order(order),
                backend_ref=backend_ref.decode(),
                sends=int(sends),
            )
            claims.append((code, delivery))
        return claims

    async def finish(self, results: Sequence[Result], *, epoch: int) -> list[FinishCode]:
        """Settle what became of claimed items."""
        if not results:
            return []
        keys = [self._fence, self._queue, self._flight, *self._settled]
        for result in results:
            keys += self._keys(result.ref)
        arguments: list[str | int] = [epoch, self.backend]
        for result in results:
            arguments += [result.kind, clean(result.reason), result.backend_ref, result.delay_ms]
            arguments += [int(result.count_refusal), result.max_refusals, result.sends]
        replies = await self._call(load("finish"), keys, arguments)
        return [_FINISHES[reply] for reply in replies]

    async def recover(self, *, epoch: int, delay_ms: int, limit: int = 100) -> list[OrderRef]:
        """Turn items whose in-flight lease ended into in doubt, to be looked up after *delay_ms*; return them."""
        await self._hasten(delay_ms)
        turned: list[OrderRef] = []
        offset = 0
        while len(turned) < limit:
            refs = await self._peek(self._flight, offset, _PAGE)
            # asked also with nothing to turn: it raises the fence, so a new leader shuts the old one out at once
            keys = [self._fence, self._flight, self._journal, *(self._key(ref) for ref in refs)]
            replies = await self._call(load("recover"), keys, [epoch, delay_ms, self.backend])
            found = [ref for ref, reply in zip(refs, replies, strict=True) if reply == b"in_doubt"]
            turned += found
            # those that were turned stand later in the index now, unless they are due at once
            offset += len(refs) - (len(found) if delay_ms else 0)
            if len(refs) < _PAGE:
                break
        return turned

    async def _hasten(self, delay_ms: int) -> None:
        """Let no clock that was set back hold items up: what is due later than anything can be is due soon."""
        flown_ms = _FLIGHT_MS + delay_ms
        for index, after_ms in ((self._queue, 0), (self._flight, flown_ms)):
            await self._call(load("hasten"), [index], [_LATEST_MS + flown_ms, after_ms])

    async def doubtful(self, limit: int) -> list[Delivery]:
        """Return items in doubt whose look-up is due; a peek."""
        deliveries: list[Delivery] = []
        async for record, parent in self._due_flight():
            if record.state is not OrderState.IN_DOUBT or record.order is None:
                continue
            deliveries.append(
                Delivery(
                    ref=record.ref,
                    key=idempotency_key(record.ref, record.revision),
                    order=record.order,
                    backend_ref=parent,
                    sends=record.sends,
                )
            )
            if len(deliveries) >= limit:
                break
        return deliveries

    async def in_flight(self) -> list[InFlight]:
        """Return all that is in flight or in doubt."""
        with store_faults("in_flight"):
            pairs: Any = await self._client.zrange(self._flight, 0, -1, withscores=True)
        return [InFlight(ref=OrderRef.parse(member.decode()), due_ms=int(score)) for member, score in pairs]

    async def depth(self) -> Depth:
        """Return how much waits and how much is on its way."""
        queued, first, place, due, flying, overdue = await self._call(
            load("depth"), [self._queue, self._flight], [_LATEST_MS]
        )
        if (first, place) != self._oldest[:2]:  # of a queue that stands still it is asked once
            self._oldest = first, place, await self._accepted_ms(first) if first else 0
        return Depth(queued=queued, oldest_ms=self._oldest[2], in_flight=flying, due=bool(due), overdue=bool(overdue))

    async def _accepted_ms(self, member: bytes) -> int:
        with store_faults("depth"):
            head: Any = await self._client.hget(self._key(OrderRef.parse(member.decode())), "s")
        return accepted_ms_of(head) if head is not None else 0

    async def _due_flight(self) -> AsyncIterator[tuple[OrderRecord, str]]:
        """Hand out what is in flight and due, with the backend's own id of the order it belongs to."""
        offset = 0
        while refs := await self._peek(self._flight, offset, _PAGE):
            with store_faults("doubtful"):
                async with self._client.pipeline(transaction=False) as pipe:
                    for ref in refs:
                        pipe.hmget(self._key(ref), list(RECORD_FIELDS))
                        pipe.hget(self._key(_create_of(ref)), "r")
                    values = await pipe.execute()
            for index, ref in enumerate(refs):
                record = unpack_record(ref, values[2 * index])
                if record is not None:
                    yield record, (values[2 * index + 1] or b"").decode()
            offset += len(refs)

    async def _peek(self, index: str, offset: int, limit: int) -> list[OrderRef]:
        members = await self._call(load("peek"), [index], [offset, limit])
        return [OrderRef.parse(member.decode()) for member in members]

    async def _call(self, script: Script, keys: list[str], arguments: Sequence[str | int]) -> Any:
        with store_faults(script.header.name):
            return await script.call(self._client, keys, arguments)

    def _key(self, ref: OrderRef) -> str:
        return order_key(self.pool, ref)

    def _keys(self, ref: OrderRef) -> tuple[str, str]:
        """Return the key of an item and that of the order it belongs to."""
        key = order_key(self.pool, ref)
        return key, key if ref.kind is Kind.CREATE else self._key(_create_of(ref))


def _create_of(ref: OrderRef) -> OrderRef:
    """Return the order that a follow-up belongs to; a create belongs to itself."""
    return OrderRef(ref.channel, ref.id)
