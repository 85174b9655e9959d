"""The same ledger twice, to be put to the same questions: as a fake, and in Redis."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from flashd.domain.catalogue import Component, Kit
from flashd.domain.delivery import Result, ResultKind
from flashd.domain.listing import Listing
from flashd.domain.order import Accepted, Effect, Incoming, Kind, Line, Order, OrderRecord, OrderRef
from flashd.domain.reservation import HoldRequest
from flashd.domain.sale import Rule
from flashd.domain.stock import Move, StockLevel
from flashd.domain.terms import SellingTerms
from flashd.ports import OrderBook, Outbox, StockLedger, Stockroom
from flashd.store.keys import pool_key
from flashd.store.ledger import RedisLedger
from flashd.store.listings import pack_listing, pack_parts, unpack_listing
from flashd.store.orderbook import RedisOrderBook
from flashd.store.outbox import RedisOutbox
from flashd.store.stockroom import RedisStockroom
from tests.fakes.ledger import FakeLedger
from tests.fakes.orderbook import FakeOrderBook
from tests.fakes.outbox import FakeOutbox
from tests.fakes.pool import FakePool
from tests.fakes.stockroom import FakeStockroom
from tests.servers import KINDS as SERVERS
from tests.servers import Server, find_server, missing

BACKEND = "erp"
KINDS = {BACKEND: {Kind.CREATE, Kind.CANCEL}}  # amends of delivered orders are left to a human
BENCHES = ["fake", *SERVERS]
HOUR_MS = 3_600_000
NO_TERMS: Mapping[str, SellingTerms] = {}
REF = OrderRef("shop", "1001")


@dataclass
class Bench:
    """One pool, all its doors, and its journal as (kind, moves)."""

    ledger: StockLedger
    book: OrderBook
    outbox: Outbox
    stockroom: Stockroom
    fake: FakePool | None = None
    client: Redis | None = None
    seen: list[tuple[str, list[Any]]] = field(default_factory=list)

    async def journal(self) -> list[tuple[str, list[Move]]]:
        """Everything that was announced so far: kind and moves."""
        if self.fake is not None:
            events = [(event.kind, event.data) for event in self.fake.journal]
        else:
            assert self.client is not None
            entries: Any = await self.client.xrange(pool_key("main", "j"))
            events = [(fields[b"k"].decode(), msgspec.json.decode(b"{" + fields[b"d"] + b"}")) for _, fields in entries]
        return [(kind, msgspec.convert(data.get("moves", []), list[Move])) for kind, data in events]

    async def dirty(self) -> dict[str, int]:
        """SKUs whose stock changed, and since when."""
        if self.fake is not None:
            return dict(self.fake.dirty)
        assert self.client is not None
        pairs: Any = await self.client.zrange(pool_key("main", "dirty"), 0, -1, withscores=True)
        return {sku.decode(): int(since) for sku, since in pairs}

    async def wash(self) -> list[str]:
        """Empty that set; return what stood there."""
        skus = sorted(await self.dirty())
        if self.fake is not None:
            self.fake.dirty.clear()
        else:
            assert self.client is not None
            await self.client.delete(pool_key("main", "dirty"))
        return skus

    async def put_kit(self, sku: str, **parts: int) -> None:
        """Let *sku* be a kit of so many of each part; of nothing: it is none any more."""
        kit = Kit(sku, tuple(Component(part, units) for part, units in parts.items()))
        if self.fake is not None:
            self.fake.kits.pop(sku, None)
            if parts:
                self.fake.kits[sku] = kit
            return
        assert self.client is not None
        key: Any = pool_key("main", "kit")
        await self.client.hdel(key, sku)
        if parts:
            await self.client.hset(key, sku, pack_parts(kit.components))

    async def put_listing(self, listing: Listing, channel: str = "shop") -> None:
        """Let a channel show something, without the counters that back it: the caller's business."""
        if self.fake is not None:
            self.fake.listings[channel, listing.sku] = listing
        else:
            assert self.client is not None
            shelf: Any = pool_key("main", f"exp:{channel}")
            await self.client.hset(shelf, listing.sku, pack_listing(listing))

    async def listing(self, sku: str = "tee", channel: str = "shop") -> Listing:
        if self.fake is not None:
            return self.fake.listings[channel, sku]
        assert self.client is not None
        shelf: Any = pool_key("main", f"exp:{channel}")
        packed: Any = await self.client.hget(shelf, sku)
        found = unpack_listing(sku, packed)
        assert found is not None
        return found

    async def put_rules(self, sku: str, *rules: Rule) -> None:
        if self.fake is not None:
            self.fake.rules[sku] = rules
            return
        assert self.client is not None
        key: Any = pool_key("main", "rule")
        await self.client.hset(key, sku, "\x1e".join(map(_pack_rule, rules)))

    async def uses(self) -> dict[str, int]:
        """What counts against quotas and limits."""
        if self.fake is not None:
            return dict(self.fake.uses)
        assert self.client is not None
        key: Any = pool_key("main", "use")
        found: Any = await self.client.hgetall(key)
        return {field.decode(): int(units) for field, units in found.items()}

    async def now_ms(self) -> int:
        """The store's time."""
        if self.fake is not None:
            return self.fake.clock.now_ms()
        assert self.client is not None
        seconds, micros = await self.client.time()
        return int(seconds) * 1000 + int(micros) // 1000

    async def pass_time(self, ms: int) -> None:
        """Let at least *ms* pass at the store; the only clock of a real one is the server's."""
        if self.fake is not None:
            await self.fake.clock.advance(ms / 1000)
        else:
            await _outlast(ms)

    async def send(self, ref: OrderRef, kind: ResultKind | None = None, backend_ref: str = "SO1") -> None:
        """Claim one item, and settle it where *kind* says how."""
        await self.outbox.claim([ref], epoch=1, lease_ms=HOUR_MS)
        if kind is not None:
            await self.outbox.finish([Result(ref=ref, kind=kind, backend_ref=backend_ref)], epoch=1)


def _pack_rule(rule: Rule) -> str:
    times = (rule.start_ms, rule.end_ms, rule.quota, rule.limit, rule.sale_limit)
    parts = (rule.sale, rule.state.value, *map(str, times), " ".join(rule.channels), str(int(rule.closed_outside)))
    return "\x1f".join(parts)


async def _outlast(ms: int) -> None:
    until = time.monotonic() + ms / 1000
    while time.monotonic() < until:
        time.sleep(0.001)  # noqa: ASYNC251  # a server's clock cannot be turned; a few ms, nothing else runs


Terms = Mapping[str, SellingTerms]


def fake_bench(kinds: Mapping[str, set[Kind]] = KINDS, terms: Terms = NO_TERMS) -> Bench:
    pool = FakePool()
    return Bench(
        FakeLedger(pool, kinds=kinds, terms=terms),
        FakeOrderBook(pool),
        FakeOutbox(pool, BACKEND),
        FakeStockroom(pool, margin_ms=0),
        fake=pool,
    )


def real_bench(client: Redis, kinds: Mapping[str, set[Kind]] = KINDS, terms: Terms = NO_TERMS) -> Bench:
    ledger = RedisLedger(client, "main", kinds=kinds, terms=terms)
    return Bench(
        ledger,
        RedisOrderBook(client, "main"),
        RedisOutbox(client, "main", BACKEND),
        RedisStockroom(client, "main", margin_ms=0),
        client=client,
    )


@asynccontextmanager
async def open_bench(kind: str, servers: dict[str, Server], terms: Terms = NO_TERMS) -> AsyncIterator[Bench]:
    """A bench of one of BENCHES, empty."""
    if kind == "fake":
        yield fake_bench(terms=terms)
        return
    if find_server(kind) is None:
        pytest.skip(missing(kind))
    if kind not in servers:
        servers[kind] = Server(kind).start()
    client = Redis(unix_socket_path=servers[kind].socket_path, retry=Retry(NoBackoff(), 0))
    await client.flushall()
    yield real_bench(client, terms=terms)
    await client.aclose()


def make_incoming(
    order_id: str = "1001", version: int = 1, effect: Effect = Effect.DELIVER, *, tee: int = 2, **more: Any
) -> Incoming:
    """One version of an order of *tee* tees; *more* goes to the Incoming, or to the order where it fits there."""
    lines = more.pop("lines", (Line("tee", tee, 1000),))
    order = Order(
        channel=more.pop("channel", "shop"),
        id=order_id,
        placed_ms=more.pop("placed_ms", 1_790_000_000_000),
        currency="EUR",
        lines=lines,
        total=sum(line.total for line in lines),
        note=more.pop("note", ""),
    )
    return Incoming(order=order, version=version, effect=effect, **more)


def make_hold(hold_id: str = "h1", *, tee: int = 2, ttl_ms: int = HOUR_MS, **more: Any) -> HoldRequest:
    lines = more.pop("lines", (Line("tee", tee),))
    digest = more.pop("digest", f"{lines}")
    return HoldRequest(id=hold_id, lines=lines, ttl_ms=ttl_ms, digest=digest, **more)


async def stock(bench: Bench, on_hand: int = 10, sku: str = "tee", safety: int = 0) -> None:
    await bench.ledger.recount(StockLevel(sku=sku, on_hand=on_hand, safety=safety))


async def level(bench: Bench, sku: str = "tee") -> StockLevel:
    return (await bench.ledger.levels([sku]))[0]


async def accept(bench: Bench, *incoming: Incoming, since_ms: int = 0) -> list[Accepted]:
    return await bench.ledger.accept(incoming, [BACKEND] * len(incoming), since_ms=since_ms)


async def record(bench: Bench, ref: OrderRef = REF) -> OrderRecord:
    found = await bench.book.get(ref)
    assert found is not None, ref
    return found


async def sold(bench: Bench, sku: str = "tee") -> int:
    return (await level(bench, sku)).sold


async def deliver_one(bench: Bench, tee: int = 2) -> None:
    """An order of *tee* tees that the backend has, of ten on hand."""
    await stock(bench)
    await accept(bench, make_incoming(tee=tee))
    await bench.send(REF, ResultKind.DELIVERED)
