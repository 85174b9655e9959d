"""
Keeping a pool within bounds: the journal is trimmed behind a checkpoint, and orders settled long ago leave.

Neither loses what the audit needs: trimmed moves are added to the checkpoint, the units of purged orders are noted
there, each in the same script call that removes them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from redis.asyncio import Redis

from flashd.domain.event import Event
from flashd.domain.instant import to_ms
from flashd.domain.journal import Tallies, add_moves, moves_in
from flashd.domain.order import Kind, OrderRef
from flashd.domain.sale import SaleState
from flashd.errors import InvariantBroken
from flashd.store.client import wire_of
from flashd.store.faults import store_faults
from flashd.store.keys import order_key, pool_key
from flashd.store.sales import RedisSales
from flashd.store.scripts import load

_PAGE = 500  # entries read at a time: as long as folding them takes, no order is answered
_ENTRIES = 10_000  # trimmed at a time, where they are of few SKUs
_TALLIES = 250  # SKUs added at a time, but for the last page's: as long as that takes, the server answers nobody
_ORDERS = 100  # purged at a time
_FIELDS = 1000  # uses dropped at a time
_USES_S = 3600.0  # between two looks at all customers' uses, which go after days
_DAY_MS = 86_400_000


Entry = tuple[bytes, Sequence[bytes]]
"""A stream id, and names and values in turn: k and the kind first, as every script writes them."""


async def entries_of(client: Redis, journal: str, after: str, limit: int) -> list[Entry]:
    """
    Return the next entries as they are, over the wire where there is one: redis-py takes eight times as long for it.

    Not to be called outside `store_faults`.
    """
    wire = wire_of(client)
    if wire is not None:
        entries: list[Entry] = await wire.read("XRANGE", journal, f"({after}", "+", "COUNT", limit)
        return entries
    found: Any = await client.xrange(journal, min=f"({after}", count=limit)
    return [(entry_id, [part for pair in fields.items() for part in pair]) for entry_id, fields in found]


def kind_of(entry: Entry) -> bytes:
    """
    Return an entry's kind, which says whether the rest need be read at all.

    Raises:
        InvariantBroken: It has none.
    """
    name, kind, *_ = entry[1]
    if name != b"k":
        raise InvariantBroken(f"the journal is damaged at {entry[0]!r}: it does not say its kind first")
    return kind


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
    """
    The upkeep of one pool's journal and settled orders; safe to run in several processes at once.

    Args:
        uses_every_s: How often `purge` looks for customers' uses that may go: it reads the whole checkpoint for that.
    """

    def __init__(self, client: Redis, pool: str, *, uses_every_s: float = _USES_S) -> None:
        self.pool = pool
        self._client: Any = client  # its types allow for decoded answers, which this store never asks for
        self._journal = pool_key(pool, "j")
        self._checkpoint = pool_key(pool, "checkpoint")
        self._done = pool_key(pool, "done")
        self._use = pool_key(pool, "use")
        self._sales = RedisSales(client, pool)
        self._uses_every_s = uses_every_s
        self._looked_s = float("-inf")

    async def trim(self, keep: int) -> int:
        """
        Trim the journal to its youngest *keep* entries; return how many went.

        It rests as long as it works: orders go first.

        Raises:
            StoreUnavailable: Some may have gone; trim again.
        """
        gone = 0
        with store_faults("trim"):
            while True:
                # In this order: whoever trims meanwhile moves the checkpoint, and the script takes nothing of ours.
                # Counted before it was read, his entries would go a second time, out of those that are to stay.
                was = await self._client.hget(self._checkpoint, "upto")
                excess = await self._client.xlen(self._journal) - keep
                taken = await self._trim_some(excess, was or b"") if excess > 0 else 0
                if not taken:
                    break
                gone += taken
        return gone

    async def _trim_some(self, excess: int, was: bytes) -> int:
        tallies: Tallies = {}
        upto, count = "0", 0
        while count < min(excess, _ENTRIES) and len(tallies) < _TALLIES:
            began_s = time.monotonic()
            entries = await entries_of(self._client, self._journal, upto, min(excess - count, _PAGE))
            if not entries:
                break
            self._fold(entries, tallies)
            upto, count = entries[-1][0].decode(), count + len(entries)
            await asyncio.sleep(time.monotonic() - began_s)
        if not count:
            return 0
        arguments: list[str | bytes | int] = [was, upto]
        for (sku, location), tally in tallies.items():
            arguments += (f"{sku}\x1f{location}", " ".join(map(str, tally.numbers)))
        _, gone = await load("trim").call(self._client, [self._journal, self._checkpoint], arguments)
        return int(gone)

    def _fold(self, entries: Sequence[Entry], tallies: Tallies) -> None:
        for entry in entries:
            try:
                add_moves(tallies, kind_of(entry).decode(), moves_in(entry[1][3] if len(entry[1]) > 3 else b""))
            except ValueError as error:
                raise InvariantBroken(f"the journal of {self.pool!r} is damaged at {entry[0]!r}: {error!r}") from error

    async def purge(self, retention_days: int) -> int:
        """
        Let orders go that were settled more than *retention_days* ago; return how many.

        An order stays while anything that followed it is not settled as long. What its customer counts for in a
        sale goes when the sale has been over as long.

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
        await self._drop_uses(retention_ms)
        return gone

    async def _drop_uses(self, retention_ms: int) -> None:
        """Forget customers' keyed hashes that only purged orders carried, of sales that are long over."""
        now_s = time.monotonic()
        if now_s - self._looked_s < self._uses_every_s:
            return
        with store_faults("drop_uses"):
            if await self._client.hlen(self._use):
                await self._drop_uses_of(await self._lately(retention_ms))
        self._looked_s = now_s

    async def _lately(self, retention_ms: int) -> set[str]:
        """Return the names of sales that are not long over."""
        seconds, _ = await self._client.time()
        return {
            record.sale.name
            for record in await self._sales.all()
            if record.state is not SaleState.ENDED and to_ms(record.sale.end) > int(seconds) * 1000 - retention_ms
        }

    async def _drop_uses_of(self, live: set[str]) -> None:
        found = self._client.hscan_iter(self._checkpoint, match="\x1c[ct]\x1f*", count=_FIELDS)
        fields: list[str] = [field.decode().removeprefix("\x1c") async for field, _ in found]
        over = [field for field in fields if field.split("\x1f")[1] not in live]
        for start in range(0, len(over), _FIELDS):
            await load("drop_uses").call(self._client, [self._use, self._checkpoint], over[start : start + _FIELDS])

    async def _settled(self, retention_ms: int, offset: int) -> list[OrderRef]:
        seconds, micros = await self._client.time()
        until = int(seconds) * 1000 + int(micros) // 1000 - retention_ms
        members: list[bytes] = await self._client.zrange(self._done, 0, until, byscore=True, offset=offset, num=_ORDERS)
        refs = (OrderRef.parse(member.decode()) for member in members)
        return list(dict.fromkeys(OrderRef(ref.channel, ref.id) for ref in refs))
