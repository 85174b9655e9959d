"""Stock, holds and orders of one pool in Redis: every verb is one script."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec
from redis.asyncio import Redis

from flashd.domain.order import Accepted, Incoming, Kind, Order, OrderRef, OrderState
from flashd.domain.reservation import HoldReply, HoldRequest
from flashd.domain.stock import DEFAULT_LOCATION, StockLevel
from flashd.domain.terms import SellingTerms
from flashd.errors import Conflict, NotFound, StoreUnavailable
from flashd.ports import Soon
from flashd.store.answers import accepted, hold_reply
from flashd.store.calls import Argument, Source, pack_holds, pack_orders
from flashd.store.client import free_wire
from flashd.store.faults import store_faults
from flashd.store.keys import order_key, pool_key
from flashd.store.packing import (
    clean,
    items_of,
    pack_items,
    pack_raw,
    pack_terms,
    repack_order,
    unpack_level,
)
from flashd.store.recall import Recall
from flashd.store.replies import AGAIN, Replies, wants_again
from flashd.store.scripts import Script, load

_ROUNDS = 200
_HOLDS = ("stock", "hold", "hold:due", "hold:end", "j", "dirty", "use")
_HOLD = (*_HOLDS, "kit", "rule")
_ORDERS = (
    "stock",
    "hold",
    "hold:due",
    "hold:end",
    "wait",
    "desk",
    "dead",
    "done",
    "pending",
    "j",
    "dirty",
    "backorder",
    "owing",
    "kit",
)
_COMMANDS = ("stock", "wait", "desk", "dead", "done", "pending", "j", "dirty", "backorder", "owing")
RECOUNT = ("stock", "j", "dirty", "countable", "counts", "checkpoint", "locations")
_PAGE = 200
_Arguments = tuple[Sequence[str], Sequence[Argument]]  # keys, and what else a call carries


class RedisLedger:
    """
    The StockLedger of one pool; see `flashd.ports`.

    Args:
        location: Where the orders of channels without terms take their stock.
        kinds: For each configured backend, which items it takes: decides where follow-ups of delivered orders go.
        terms: On which terms each channel sells.
    """

    def __init__(
        self,
        client: Redis,
        pool: str,
        *,
        location: str = DEFAULT_LOCATION,
        kinds: Mapping[str, Collection[Kind]] | None = None,
        terms: Mapping[str, SellingTerms] | None = None,
    ) -> None:
        self.pool = pool
        self.recall = Recall(pool)
        self._client: Any = client  # its types allow for decoded answers, which this store never asks for
        self._default = SellingTerms(locations=(location,))
        self._locations = {location}  # all that were ever heard of
        self.adopt(kinds or {}, terms or {})
        self._configured = tuple(kinds or ())
        self._names: tuple[str, ...] = ()
        self._learned = False
        self._hold_keys = self._keys(_HOLD)
        self._accept_keys = self._keys((*_ORDERS, "rule", "use"))

    def adopt(self, kinds: Mapping[str, Collection[Kind]], terms: Mapping[str, SellingTerms] | None = None) -> None:
        """Go from now on by what each backend takes, and by the terms on which each channel sells (None: as before)."""
        if terms is not None:
            self._sources: dict[str, Source] = {}
            self._terms = dict(terms)
            self._locations.update(at for one in terms.values() for at in one.locations)
        self._kinds = " " + "".join(f"{name}/{kind} " for name, taken in kinds.items() for kind in taken)

    def _keys(self, names: Sequence[str]) -> list[str]:
        return [pool_key(self.pool, name) for name in names]

    def _queues(self, names: Sequence[str] | None = None) -> list[str]:
        return [pool_key(self.pool, f"q:{name}") for name in (self._names if names is None else names)]

    def _records(self, ref: OrderRef) -> list[str]:
        records = [order_key(self.pool, OrderRef(ref.channel, ref.id, kind)) for kind in Kind]
        return [*records, pool_key(self.pool, f"exp:{ref.channel}")]

    def _terms_of(self, channel: str) -> SellingTerms:
        return self._terms.get(channel, self._default)

    def _source_of(self, channel: str) -> Source:
        source = self._sources.get(channel)
        if source is None:
            source = self._sources[channel] = Source.of(self.pool, channel, self._terms_of(channel))
        return source

    def _item_and_order(self, ref: OrderRef) -> list[str]:
        return [order_key(self.pool, ref), order_key(self.pool, OrderRef(ref.channel, ref.id))]

    def _script(self, name: str) -> Script:
        return load(name)

    async def _call(self, name: str, keys: Sequence[str], args: Sequence[str | bytes | int]) -> Any:
        with store_faults(name):
            return await self._script(name).call(self._client, keys, args)

    async def _learn(self, names: Collection[str] = ()) -> None:
        """Know every backend that this pool's orders were ever routed to: their queues must be declared."""
        names = dict.fromkeys((*self._configured, *names))
        known = await self._call("register", self._keys(["meta"]), list(names))
        self._names, self._learned = tuple(known.decode().split()), True

    def _ask(
        self, name: str, count: int, backends: Collection[str], pack: Callable[[Sequence[int]], _Arguments]
    ) -> Replies:
        """Ask about *count* items in one call, which is written before this returns if nothing is in the way."""

        async def ask(left: Sequence[int]) -> Sequence[Any]:
            replies: Sequence[Any] = await self._call(name, *pack(left))
            return replies

        written = None
        is_known = self._learned and set(backends).issubset(self._names)
        if count and is_known and (wire := free_wire(self._client)) is not None:
            written = self._script(name).begin(wire, self._client, *pack(range(count)))
        return Replies(written, lambda replies: self._until_covered(count, backends, ask, replies))

    async def _until_covered(
        self,
        count: int,
        backends: Collection[str],
        ask: Callable[[Sequence[int]], Awaitable[Sequence[Any]]],
        known: Sequence[Any] = (),
    ) -> list[Any]:
        """Ask about all items, and again about those that wait for a sweep or for a backend to be known."""
        if count == 0:
            return []
        if not self._learned or not set(backends) <= set(self._names):
            await self._learn(backends)
        replies: list[Any] = list(known) or [AGAIN] * count
        for turn in range(_ROUNDS):
            left = [index for index in range(count) if wants_again(replies[index])]
            if not left:
                return replies
            if turn or known:
                await self._learn(backends)
                await self.sweep()
            for index, reply in zip(left, await ask(left), strict=True):
                replies[index] = reply
        raise StoreUnavailable(f"pool {self.pool}: overdue holds come faster than they are swept")

    def hold(self, requests: Sequence[HoldRequest]) -> Soon[list[HoldReply]]:
        """Set stock aside for each request on its own."""

        def pack(left: Sequence[int]) -> _Arguments:
            return self._hold_keys, pack_holds([requests[index] for index in left], self._terms_of)

        def read(future: Any) -> list[HoldReply]:
            with store_faults("hold"):
                return [hold_reply(reply) for reply in future.result()]

        return Soon(self._ask("hold", len(requests), (), pack), read)

    async def extend(self, hold_id: str, ttl_ms: int, *, max_total_ms: int) -> HoldReply:
        """Let a live hold end *ttl_ms* from now, at most *max_total_ms* after it began."""
        return hold_reply(await self._call("extend", self._keys(_HOLDS), [hold_id, ttl_ms, max_total_ms]))

    async def release(self, hold_id: str, reason: str) -> HoldReply:
        """Give a live hold's stock back."""
        return hold_reply(await self._call("release", self._keys(_HOLDS), [hold_id, clean(reason)]))

    async def sweep(self, limit: int = 500) -> int:
        """End up to *limit* overdue holds and purge old tombstones; return how many holds ended."""
        return int(await self._call("sweep", self._keys(_HOLDS), [limit]))

    def accept(
        self, orders: Sequence[Incoming], backends: Sequence[str], *, since_ms: int | Sequence[int]
    ) -> Soon[list[Accepted]]:
        """Make orders durable and take their stock."""
        since = [since_ms] * len(orders) if isinstance(since_ms, int) else since_ms
        listed: Sequence[str] = ()

        def pack(left: Sequence[int]) -> _Arguments:
            nonlocal listed
            # What is known already may be with a backend that none of these goes to: then it is asked again with all.
            listed = self._names if listed else tuple(dict.fromkeys(backends))
            numbers = {name: number for number, name in enumerate(listed, 1)}
            told = [(orders[index], numbers[backends[index]], since[index]) for index in left]
            keys, args = pack_orders(told, self._source_of)
            return [*self._accept_keys, *self._queues(listed), *keys], [" ".join(listed), self._kinds, *args]

        def read(future: Any) -> list[Accepted]:
            with store_faults("accept"):
                replies = future.result()
            answers = accepted(replies, orders)
            self.recall.note(orders, answers)
            return answers

        return Soon(self._ask("accept", len(orders), backends, pack), read)

    async def recollect(self) -> int:
        """
        Look for what this process acknowledged lately and the store has forgotten; return how much.

        Which backends there are may be forgotten as well, and their queues are found by that: they are told again.

        Raises:
            StoreUnavailable: Ask again.
        """
        await self._learn(self._names)
        return await self.recall.check(self._client)

    def _routes(self) -> list[str | bytes | int]:
        return [" ".join(self._names), self._kinds]

    async def apply_next(self, limit: int = 100) -> int:
        """Apply newer versions that waited for an outcome; return how many."""
        applied, offset = 0, 0
        pending = pool_key(self.pool, "pending")
        while applied < limit:
            with store_faults("apply_next"):
                members = await self._client.zrange(pending, offset, offset + _PAGE - 1)
            codes = await self._apply([OrderRef.parse(member.decode()) for member in members[: limit - applied]])
            applied += codes.count(b"applied")
            offset += codes.count(b"in_flight")
            if len(members) < _PAGE:
                break
        return applied

    async def _apply(self, refs: Sequence[OrderRef]) -> list[bytes]:
        async def ask(left: Sequence[int]) -> list[Any]:
            keys, args = self._keys((*_ORDERS, "rule", "use")) + self._queues(), self._routes()
            for index in left:
                keys += self._records(refs[index])
                args += [refs[index].kind, self._source_of(refs[index].channel).terms]
            replies: list[Any] = await self._call("apply_next", keys, args)
            return replies

        return await self._until_covered(len(refs), (), ask)

    async def cancel(self, ref: OrderRef, *, by: str, reason: str) -> OrderState:
        """Cancel by a human's decision; no later version revives it."""
        records = self._item_and_order(ref)

        async def ask(_left: Sequence[int]) -> list[Any]:
            keys = self._keys((*_COMMANDS, "use")) + records + self._queues()
            return [await self._call("cancel", keys, [" ".join(self._names), clean(by), clean(reason)])]

        return commanded(ref, "cancelled", (await self._until_covered(1, (), ask))[0])

    async def requeue(self, ref: OrderRef, *, by: str, order: Order | None = None, backend: str = "") -> OrderState:
        """Send a parked, waiting, manual, shortfall or dead order (again), mended if *order* is given."""
        terms = self._terms_of(ref.channel)
        items = pack_items(items_of(order.lines, terms.locations[0])) if order else ""
        content = repack_order(order, await self._kept(ref)) if order else b""

        async def ask(_left: Sequence[int]) -> list[Any]:
            keys = [*self._keys((*_ORDERS, "use")), order_key(self.pool, ref), *self._queues()]
            args: list[str | bytes | int] = [
                " ".join(self._names),
                clean(by),
                items,
                content,
                backend,
                pack_terms(terms),
            ]
            return [await self._call("requeue", keys, args)]

        backends = (backend,) if backend else ()
        return commanded(ref, "sent again", (await self._until_covered(1, backends, ask))[0])

    async def _kept(self, ref: OrderRef) -> bytes | None:
        """Return the canonical order as it is packed in its record."""
        with store_faults("requeue"):
            kept: bytes | None = await self._client.hget(order_key(self.pool, ref), "o")
        return kept

    async def settle(self, ref: OrderRef, backend_ref: str, *, by: str) -> OrderState:
        """Record a human's word that the backend has this manual or dead order."""
        keys = [*self._keys((*_COMMANDS, "countable")), *self._item_and_order(ref)]
        return commanded(ref, "settled", await self._call("settle", keys, [clean(backend_ref), clean(by)]))

    async def recount(self, level: StockLevel, *, lacks: int = 0, by: str = "") -> StockLevel:
        """
        Set on hand (and safety) to a count.

        Raises:
            ValueError: *lacks* without a sequence number: repeated, it would be taken from `sold` twice.
        """
        if lacks and not level.seq:
            raise ValueError("a count that lacks sold units needs a sequence number, so that it can be repeated")
        by_hand: list[str | bytes | int] = [
            level.sku,
            level.location,
            level.on_hand,
            level.safety,
            level.seq,
            "",
            0,
            0,
            lacks,
            "",
            1,
            0,
        ]
        [reply] = await self._call("recount", self._keys(RECOUNT), [clean(by), 0, *by_hand])
        return unpack_level(level.sku, level.location, reply[1:8])

    async def levels(self, skus: Sequence[str] = ()) -> list[StockLevel]:
        """Return the counters of these SKUs, or of all, at every location where they are known."""
        stock = pool_key(self.pool, "stock")
        with store_faults("levels"):
            if skus:
                pairs = await self._levels_of(list(dict.fromkeys(skus)))
            else:
                pairs = {field.decode(): value async for field, value in self._client.hscan_iter(stock, count=1000)}
        return [_level_at(field, value) for field, value in sorted(pairs.items()) if value is not None]

    async def _levels_of(self, skus: Sequence[str]) -> dict[str, bytes | None]:
        """Ask once; and once more if somebody counted at a location that this process had not heard of."""
        while True:
            fields = [f"{sku}\x1f{location}" for sku in skus for location in self._locations]
            async with self._client.pipeline(transaction=False) as pipe:
                pipe.hmget(pool_key(self.pool, "stock"), fields)
                pipe.smembers(pool_key(self.pool, "locations"))
                values, members = await pipe.execute()
            heard = {member.decode() for member in members}
            if heard <= self._locations:
                return dict(zip(fields, values, strict=True))
            self._locations |= heard

    async def quarantine(self, channel: str, headers: Mapping[str, str], body: bytes, reason: str) -> str:
        """Keep a proven body that was not understood; return its id. The same body twice is kept once."""
        entry_id = hashlib.blake2b(channel.encode() + b"\0" + body, digest_size=12).hexdigest()
        # Bytes of a header that are not UTF-8 come as surrogates, which nothing can write.
        written = {name: value.encode(errors="replace").decode() for name, value in headers.items()}
        packed = msgspec.msgpack.encode((channel, clean(reason), written, pack_raw(body)))
        keys = self._keys(["quarantine", "quarantine:at", "j"])
        await self._call("quarantine", keys, [entry_id, channel, clean(reason), packed])
        return entry_id

    async def unquarantine(self, quarantine_id: str, *, by: str) -> None:
        """Drop a quarantined body, after it was mended or discarded by a human."""
        await self._call("unquarantine", self._keys(["quarantine", "quarantine:at", "j"]), [quarantine_id, clean(by)])


def commanded(ref: OrderRef, what: str, reply: Sequence[bytes]) -> OrderState:
    """Return the state that a command led to. Raises NotFound or Conflict where it was not possible."""
    if reply[0] == b"unknown_order":
        raise NotFound(f"there is no order {ref}")
    state = OrderState(reply[1].decode())
    if reply[0] == b"not_allowed":
        raise Conflict(f"{ref} is {state}: it cannot be {what}", state=state.value)
    return state


def _level_at(field: str, packed: bytes) -> StockLevel:
    sku, _, location = field.partition("\x1f")
    return unpack_level(sku, location, packed.split(b" "))
