"""
Where customers stand in one pool, and how they leave it: orders, bodies as they came, demands of platforms.

Keyed hashes of customers stay with what counts for limits, and the journal names orders only; docs/privacy.md says
where everything stands.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace
from redis.asyncio import Redis

from flashd.domain.order import Kind, OrderRecord, OrderRef, OrderState
from flashd.domain.privacy import Demand, Forgotten, Person, Scrubbed, ScrubCode, Spared, erased
from flashd.domain.triage import rest_of
from flashd.errors import NotFound, StoreUnavailable
from flashd.store.faults import store_faults
from flashd.store.journal import entries_of
from flashd.store.keys import order_key, pool_key
from flashd.store.ledger import RedisLedger
from flashd.store.orderbook import RedisOrderBook
from flashd.store.packing import (
    RECORD_FIELDS,
    clean,
    pack_order,
    read_order,
    unpack_order,
    unpack_raw,
    unpack_record,
)
from flashd.store.scripts import load
from flashd.store.scrubbing import scrub

_FAMILIES = 100  # orders at a time, each with its cancel and its amend
_ROUNDS = 20  # tries for an order that changes while it is erased
_SOON_MS = 60_000
_LATER_MS = 86_400_000  # until its record is purged: a later cancel may bring data anew
_KEPT_MS = 400 * 86_400_000  # how long it stays known that a demand was met
_AGAIN_MS = 7 * 86_400_000  # a platform repeats a webhook for days; a merchant who leaves again says the same words
_PAGE = 500
_RETENTION = "retention"


class RedisEraser:
    """The Eraser of one pool; see `flashd.ports`."""

    def __init__(self, client: Redis, pool: str) -> None:
        self.pool = pool
        self._client: Any = client  # its types allow for decoded answers, which this store never asks for
        self._book = RedisOrderBook(client, pool)
        self._ledger = RedisLedger(client, pool)
        self._forget = pool_key(pool, "forget")
        self._mark = pool_key(pool, "forget:mark")
        self._journal = pool_key(pool, "j")
        self._demands = pool_key(pool, "demand")

    # --------------------------------------------------------------------------------------------------------- a person

    async def forget(
        self, person: Person, *, by: str, dry_run: bool = False, journal: bool = True, bodies: bool = True
    ) -> Forgotten:
        """Erase what is kept of a person; see the port."""
        found: dict[OrderRef, None] = {}
        if person.searched:
            unnamed = replace(person, orders=())  # those are found by their names
            found |= dict.fromkeys([ref async for ref in self._owned(unnamed)])
        named = [OrderRef(person.channel, order_id) for order_id in person.orders]
        found |= dict.fromkeys([*named, *[one for ref in named for one in _rests_of(ref)]])
        tally = _Tally()
        refs = list(found)
        for start in range(0, len(refs), _FAMILIES):
            await self._erase(refs[start : start + _FAMILIES], by, tally, dry_run=dry_run)
        quarantined = await self._bodies(person)
        if not dry_run:
            dropped = quarantined if bodies else []
            for entry_id in dropped:
                await self._ledger.unquarantine(entry_id, by=by)
            if tally.erased or tally.clean or dropped:  # whoever asks again may not have heard of the first time
                await self._note_erased()
        return Forgotten(
            erased=tuple(tally.erased),
            before=tally.clean,
            spared=tuple(tally.spared),
            quarantined=tuple(quarantined),
            backends=tuple(sorted(tally.backends)),
            journal=await self._told(person) if journal and (person.email or person.phone) else 0,
            unknown=tuple(str(ref) for ref in named if ref in tally.gone),
        )

    async def _owned(self, person: Person) -> AsyncIterator[OrderRef]:
        """Hand out the orders of a person, found by all that is kept of them."""
        async for members in self._book.members():
            refs = [OrderRef.parse(member.decode()) for member in members]
            refs = [ref for ref in refs if person.channel in ("", ref.channel)]
            for start in range(0, len(refs), _FAMILIES):  # a few at a time: nobody waits for long meanwhile
                some = refs[start : start + _FAMILIES]
                for ref in some if person.everything else await self._theirs(person, some):
                    yield OrderRef(ref.channel, ref.id)

    async def _theirs(self, person: Person, refs: Sequence[OrderRef]) -> list[OrderRef]:
        """Return those of a page that are a person's; most are told apart without being decoded."""
        with store_faults("forget"):
            pipe = self._client.pipeline(transaction=False)
            for ref in refs:
                pipe.hmget(order_key(self.pool, ref), ["o", "b"])
                pipe.hexists(order_key(self.pool, ref), "n")
            replies = await pipe.execute()
            waiting = await self._waiting([ref for ref, there in zip(refs, replies[1::2], strict=True) if there])
        found: list[OrderRef] = []
        for ref, (kept, raw) in zip(refs, replies[::2], strict=True):
            told, newer = waiting.get(ref, (b"", b""))
            orders = [one for one in (kept, told) if one and person.may_be_in(read_order(one))]
            bodies = [unpack_raw(one) for one in (raw, newer) if one]
            if any(person.owns(unpack_order(one)) for one in orders) or any(
                person.is_in(ref.channel, body) for body in bodies
            ):
                found.append(ref)
        return found

    async def _waiting(self, refs: Sequence[OrderRef]) -> dict[OrderRef, list[bytes]]:
        """Return the bodies of versions that wait for an outcome. Not to be called outside `store_faults`."""
        if not refs:
            return {}
        keys = [order_key(self.pool, ref) for ref in refs]
        found = await load("read_next").call(self._client, keys, [])
        return dict(zip(refs, found, strict=True))

    async def _erase(self, refs: Sequence[OrderRef], by: str, tally: _Tally, *, dry_run: bool) -> None:
        left = list(refs)
        for _ in range(_ROUNDS):
            families = await self._families(left)
            if dry_run:
                codes = [_would(family) for family in families]
            else:
                codes = await self._call(left, families, by, (_SOON_MS, _LATER_MS))
            again = []
            for ref, family, code in zip(left, families, codes, strict=True):
                if code == b"again":
                    again.append(ref)
                else:
                    tally.count(ref, family, code)
            left = again
            if not left:
                return
        raise StoreUnavailable(f"pool {self.pool}: {len(left)} orders change faster than they can be erased")

    async def _families(self, refs: Sequence[OrderRef]) -> list[_Family]:
        """Return of each order its record, its cancel and its amend, each with its content as it is packed."""
        with store_faults("forget"):
            pipe = self._client.pipeline(transaction=False)
            for ref in refs:
                for kind in Kind:
                    key = order_key(self.pool, OrderRef(ref.channel, ref.id, kind))
                    pipe.hmget(key, [*RECORD_FIELDS, "b"])
                    pipe.hexists(key, "n")
            replies = iter(await pipe.execute())
        families: list[_Family] = []
        for ref in refs:
            family: _Family = []
            for kind in Kind:
                *values, raw = next(replies)
                one = unpack_record(OrderRef(ref.channel, ref.id, kind), values, has_next=bool(next(replies)))
                family.append((one, values[RECORD_FIELDS.index("o")] or b"", raw is not None))
            families.append(family)
        return families

    async def _call(
        self, refs: Sequence[OrderRef], families: Sequence[_Family], by: str, looks_ms: tuple[int, int]
    ) -> list[bytes]:
        keys = [self._forget, self._journal]
        args: list[str | bytes | int] = [clean(by).replace(":", " "), *looks_ms]
        for ref, family in zip(refs, families, strict=True):
            keys += [order_key(self.pool, OrderRef(ref.channel, ref.id, kind)) for kind in Kind]
            for one, kept, _ in family:
                args += [hashlib.sha1(kept, usedforsecurity=False).hexdigest() if kept else "", _left_of(one, kept)]
        would = any(_would(family) == b"erased" for family in families)
        if would:  # before it, too: the reply may be lost
            await self._note_erased()
        with store_faults("forget"):
            codes: list[bytes] = await load("erase").call(self._client, keys, args)
        if would:
            await self._note_erased()
        return codes

    async def _bodies(self, person: Person) -> list[str]:
        """Return the quarantined bodies that speak of a person."""
        found: list[str] = []
        offset = 0
        while page := await self._book.quarantined(offset=offset, limit=_PAGE):
            found += [one.id for one in page if person.is_in(one.channel, one.body)]
            offset += _PAGE
        return found

    async def _told(self, person: Person) -> int:
        """Return in how many events somebody wrote the person's e-mail address or phone number."""
        count, after = 0, "0"
        with store_faults("forget"):
            while entries := await entries_of(self._client, self._journal, after, _PAGE):
                count += sum(person.is_named_in(b" ".join(entry[1]).decode("utf-8", "replace")) for entry in entries)
                after = entries[-1][0].decode()
        return count

    # ------------------------------------------------------------------------------------------------- what is due

    async def sweep(self, after_ms: int) -> int:
        """Erase what is due; see the port."""
        tally = _Tally()
        with store_faults("forget"):
            now_ms = await self._now_ms()
            while members := await self._client.zrange(
                self._forget, "-inf", now_ms, byscore=True, offset=0, num=_FAMILIES
            ):
                await self._erase(
                    [OrderRef.parse(member.decode()) for member in members], "request", tally, dry_run=False
                )
        await self._sweep_old(now_ms - after_ms, tally)
        await self._drop_met(now_ms)
        return len(tally.erased)

    async def _sweep_old(self, until_ms: int, tally: _Tally) -> None:
        """Erase orders settled up to *until_ms*, from where this was done last."""
        with store_faults("forget"):
            upto = int(await self._client.hget(self._mark, "upto") or 0)
            # Onwards by time, not by count: what is purged or settled anew meanwhile moves all that is behind it.
            done, at_ms, met = pool_key(self.pool, "done"), upto, set[bytes]()
            while page := await self._client.zrange(
                done, at_ms, until_ms, byscore=True, offset=0, num=_FAMILIES + len(met), withscores=True
            ):
                refs = [OrderRef.parse(member.decode()) for member, _ in page if member not in met]
                if not refs:
                    break
                bases = list(dict.fromkeys(OrderRef(ref.channel, ref.id) for ref in refs))
                families = await self._families(bases)
                codes = await self._call(bases, families, _RETENTION, (0, 0))
                for ref, family, code in zip(bases, families, codes, strict=True):
                    tally.count(ref, family, code)  # one that changed has a newer place, and is met there
                last_ms = int(page[-1][1])
                met = {member for member, score in page if int(score) == last_ms} | (met if last_ms == at_ms else set())
                at_ms = last_ms
            if until_ms > upto:
                await self._client.hset(self._mark, "upto", until_ms)

    async def _now_ms(self) -> int:
        seconds, micros = await self._client.time()
        return int(seconds) * 1000 + int(micros) // 1000

    async def _note_erased(self) -> None:
        with store_faults("forget"):
            await self._client.hset(self._mark, "erased", await self._now_ms())

    async def scrub(self, *, wait_s: float = 0.0, least_ms: int = 0) -> Scrubbed | None:
        """Let the server write its files anew; see the port."""
        with store_faults("scrub"):
            marks = await self._client.hmget(self._mark, "erased", "scrubbed", "asked")
            erased_ms, scrubbed_ms, asked_ms = (int(at or 0) for at in marks)
            now_ms = await self._now_ms()
            if erased_ms <= scrubbed_ms or now_ms - asked_ms < least_ms:
                return None
            await self._client.hset(self._mark, "asked", now_ms)
            done = await scrub(self._client, wait_s)
            if done.code in (ScrubCode.CLEAN, ScrubCode.NONE):
                await self._client.hset(self._mark, "scrubbed", now_ms)
        return done

    # ------------------------------------------------------------------------------------------------------- demands

    async def demand(self, demand: Demand, body: bytes) -> str:
        """Keep what a platform demands; see the port."""
        demand_id = hashlib.blake2b(demand.channel.encode() + b"\0" + body, digest_size=8).hexdigest()
        with store_faults("demand"):
            now_ms, over = await self._now_ms(), await self._client.hget(self._demands, demand_id) or b""
            met_ms = msgspec.json.decode(over, type=Demand).met_ms if over else 0
            if not met_ms or now_ms - met_ms < _AGAIN_MS:
                over = b""
            written = msgspec.json.encode(replace(demand, id=demand_id, at_ms=now_ms))
            args: list[str | bytes | int] = [demand_id, demand.channel, demand.kind, written, over]
            await load("demand").call(self._client, [self._demands, self._journal], args)
        return demand_id

    async def demands(self) -> list[Demand]:
        """Return all that was demanded, oldest first."""
        with store_faults("demands"):
            kept = await self._client.hvals(self._demands)
        return sorted((msgspec.json.decode(one, type=Demand) for one in kept), key=lambda one: (one.at_ms, one.id))

    async def meet(self, demand_id: str, *, by: str, outcome: str) -> Demand:
        """Note that a demand was met; see the port."""
        with store_faults("meet_demand"):
            was = await self._client.hget(self._demands, demand_id)
            if was is None:
                raise NotFound("there is no such demand")
            demand = msgspec.json.decode(was, type=Demand)
            if demand.met_ms:
                return demand
            nobody = Person(channel=demand.person.channel)
            met = replace(demand, person=nobody, met_ms=await self._now_ms(), by=clean(by), outcome=clean(outcome))
            args: list[str | bytes | int] = [
                demand_id,
                was,
                msgspec.json.encode(met),
                met.channel,
                met.kind,
                met.by,
                met.outcome,
            ]
            await self._note_erased()
            await load("meet_demand").call(self._client, [self._demands, self._journal], args)
            await self._note_erased()
        return met

    async def _drop_met(self, now_ms: int) -> None:
        old = [one.id for one in await self.demands() if one.met_ms and one.met_ms < now_ms - _KEPT_MS]
        if old:
            with store_faults("demands"):
                await self._client.hdel(self._demands, *old)


_Member = tuple[OrderRecord | None, bytes, bool]  # with its canonical order as it is packed, and whether a body is kept
_Family = list[_Member]

_OVER = frozenset({OrderState.DELIVERED, OrderState.CANCELLED, OrderState.IGNORED})


class _Tally:
    """What became of orders."""

    def __init__(self) -> None:
        self.erased: list[str] = []
        self.clean = 0
        self.spared: list[Spared] = []
        self.backends: set[str] = set()
        self.gone: set[OrderRef] = set()

    def count(self, ref: OrderRef, family: _Family, code: bytes) -> None:
        """Take note of one."""
        there = [one for one, _, _ in family if one is not None]
        if code in (b"erased", b"clean", b"open"):
            self.backends |= {one.backend for one in there if one.sends and one.backend}
        if code == b"erased":
            self.erased.append(str(ref))
        elif code == b"clean":
            self.clean += 1
        elif code == b"open":
            waits = next((one for one in there if one.state not in _OVER or one.has_next), there[0])
            self.spared.append(Spared(str(ref), waits.state))
        elif code == b"gone":
            self.gone.add(ref)


def _rests_of(ref: OrderRef) -> list[OrderRef]:
    """Return what may have been split off an order, and off that."""
    rest = rest_of(ref)
    return [rest, rest_of(rest)]


def _left_of(record: OrderRecord | None, kept: bytes) -> bytes:
    """Return what stays of a canonical order; the same bytes where nothing is to go."""
    if record is None or record.order is None:
        return b""
    left = erased(record.order)
    return kept if left == record.order else pack_order(left)


def _would(family: _Family) -> bytes:
    """Say what erase.lua would answer."""
    base = family[0][0]
    there = [(one, kept, raw) for one, kept, raw in family if one is not None]
    if base is None:
        return b"gone"
    if any(one.state not in _OVER or one.has_next for one, _, _ in there):
        return b"open"
    holds = any(raw or one.reason or _left_of(one, kept) != kept for one, kept, raw in there)
    return b"erased" if holds or not base.erased else b"clean"
