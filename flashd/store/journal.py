"""
Keeping a pool within bounds: the journal is trimmed behind a checkpoint, and orders settled long ago leave.

Neither loses what the audit needs: trimmed moves are added to the checkpoint, the units of purged orders are noted
there, each in the same script call that removes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from redis.asyncio import Redis

from flashd.domain.event import Event
from flashd.domain.journal import fold
from flashd.domain.order import Kind, OrderRef
from flashd.errors import InvariantBroken
from flashd.store.faults import store_faults
from flashd.store.keys import order_key, pool_key
from flashd.store.scripts import load

_ENTRIES = 1000  # folded at a time
_ORDERS = 100  # purged at a time
_DAY_MS = 86_400_000


def kind_of(fields: Mapping[bytes, bytes]) -> bytes:
    """
    Return an entry's kind, which says whether the rest need be read at all.

    Raises:
        InvariantBroken: It has none.
    """
    try:
        return fields[b"k"]
    except KeyError as error:
        raise InvariantBroken(f"an entry of the journal has no kind: {fields!r:.200}") from error


def read_entry(pool: str, entry_id: bytes, fields: Mapping[bytes, bytes]) -> Event:
    """
    Read one entry of the stream.

    Raises:
        InvariantBroken: It is none that a script of flashd wrote.
    """
    try:
        return Event.from_entry(pool, entry_id.decode(), fields[b"k"].decode(), fields.get(b"d", b""))
    except (KeyError, UnicodeDecodeError, msgspec.DecodeError) as error:
        raise InvariantBroken(f"the journal of pool {pool!r} is damaged at {entry_id!r}: {error!r}") from error


class RedisJournal:
    """The upkeep of one pool's journal and settled orders; safe to run in several processes at once."""

    def __init__(self, client: Redis, pool: str) -> None:
        self.pool = pool
        self._client: Any = client  # its types allow for decoded answers, which this store never asks for
        self._journal = pool_key(pool, "j")
        self._checkpoint = pool_key(pool, "checkpoint")
        self._done = pool_key(pool, "done")

    async def trim(self, keep: int) -> int:
        """
        Trim the journal to its youngest *keep* entries; return how many went.

        Raises:
            StoreUnavailable: Some may have gone; trim again.
        """
        gone = 0
        with store_faults("trim"):
            while (excess := await self._client.xlen(self._journal) - keep) > 0:
                taken = await self._trim_some(min(excess, _ENTRIES))
                if not taken:
                    break
                gone += taken
        return gone

    async def _trim_some(self, count: int) -> int:
        async with self._client.pipeline(transaction=True) as pipe:
            pipe.hget(self._checkpoint, "upto")
            pipe.xrange(self._journal, count=count)
            was, entries = await pipe.execute()
        if not entries:
            return 0
        events = (read_entry(self.pool, entry_id, fields) for entry_id, fields in entries)
        arguments: list[str | bytes | int] = [was or b"", entries[-1][0]]
        for (sku, location), tally in fold(events).items():
            arguments += [f"{sku}\x1f{location}", *tally.numbers]
        _, gone = await load("trim").call(self._client, [self._journal, self._checkpoint], arguments)
        return int(gone)

    async def purge(self, retention_days: int) -> int:
        """
        Let orders go that were settled more than *retention_days* ago; return how many.

        An order stays while anything that followed it is not settled as long.

        Raises:
            StoreUnavailable: Some may have gone; purge again.
        """
        retention_ms = retention_days * _DAY_MS
        gone, offset = 0, 0
        with store_faults("purge"):
            while refs := await self._settled(retention_ms, offset):
                keys = [self._done, self._checkpoint, self._journal, pool_key(self.pool, "countable")]
                for ref in refs:
                    keys += [order_key(self.pool, OrderRef(ref.channel, ref.id, kind)) for kind in Kind]
                codes = await load("purge").call(self._client, keys, [retention_ms])
                purged = codes.count(b"purged")
                gone += purged
                offset += len(codes) - purged  # those that stay are stepped over
        return gone

    async def _settled(self, retention_ms: int, offset: int) -> list[OrderRef]:
        seconds, micros = await self._client.time()
        until = int(seconds) * 1000 + int(micros) // 1000 - retention_ms
        members: list[bytes] = await self._client.zrange(self._done, 0, until, byscore=True, offset=offset, num=_ORDERS)
        refs = (OrderRef.parse(member.decode()) for member in members)
        return list(dict.fromkeys(OrderRef(ref.channel, ref.id) for ref in refs))
