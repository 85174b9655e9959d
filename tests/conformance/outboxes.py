"""The same outbox twice, to be put to the same questions: as a fake, and in Redis with records written by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
from msgspec.structs import replace
from redis.asyncio import Redis

from flashd.domain.order import Incoming, Item, Kind, Line, Order, OrderRecord, OrderRef, OrderState
from flashd.domain.stock import StockLevel
from flashd.ports import Outbox
from flashd.store.keys import order_key, pool_key
from flashd.store.outbox import RedisOutbox
from flashd.store.packing import RECORD_FIELDS, pack_items, pack_order, pack_raw, unpack_record
from tests.fakes.outbox import FakeOutbox
from tests.fakes.pool import FakePool

BACKEND = "erp"
INDEX = {
    OrderState.WAITING: "wait",
    OrderState.QUEUED: f"q:{BACKEND}",
    OrderState.SENDING: f"fl:{BACKEND}",
    OrderState.IN_DOUBT: f"fl:{BACKEND}",
    OrderState.DEAD: "dead",
    OrderState.DELIVERED: "done",
    OrderState.CANCELLED: "done",
    OrderState.IGNORED: "done",
    OrderState.MANUAL: "desk",
    OrderState.PARKED: "desk",
    OrderState.SHORTFALL: "desk",
    OrderState.BACKORDER: "backorder",
}


def index_of(record: OrderRecord) -> str:
    """The index that a record must stand in."""
    return INDEX[record.state].replace(BACKEND, record.backend)


def make_record(
    order_id: str = "1001",
    state: OrderState = OrderState.QUEUED,
    *,
    kind: Kind = Kind.CREATE,
    sends: int = 0,
    taken: int = 2,
    **changes: Any,
) -> OrderRecord:
    """A record as `accept` leaves it."""
    order = Order(
        channel="shop",
        id=order_id,
        placed_ms=1_790_000_000_000,
        currency="EUR",
        lines=(Line("tee", 2, 1000),),
        total=2000,
    )
    record = OrderRecord(
        ref=OrderRef("shop", order_id, kind),
        state=state,
        version=17,
        digest=order.digest,
        backend=BACKEND,
        sends=sends,
        accepted_ms=1_790_000_000_000,
        changed_ms=1_790_000_000_000,
        items=(Item("tee", "main", 2, taken),),
        order=order,
    )
    return replace(record, **changes)


class Bench(Protocol):
    """An outbox, and what stands behind it."""

    outbox: Outbox

    async def put(self, record: OrderRecord, *, due_in_ms: int = 0, raw: bytes = b"raw") -> None: ...
    async def wait_next(self, ref: OrderRef) -> None: ...
    async def set_level(self, level: StockLevel) -> None: ...
    async def level(self, sku: str) -> StockLevel: ...
    async def record(self, ref: OrderRef) -> OrderRecord: ...
    async def has_raw(self, ref: OrderRef) -> bool: ...
    async def said(self) -> list[tuple[str, dict[str, Any]]]: ...


@dataclass
class FakeBench:
    state: FakePool = field(default_factory=FakePool)

    def __post_init__(self) -> None:
        self.outbox: Outbox = FakeOutbox(self.state, BACKEND)

    async def put(self, record: OrderRecord, *, due_in_ms: int = 0, raw: bytes = b"raw") -> None:
        self.state.records[record.ref] = record
        self.state.due_ms[record.ref] = self.state.clock.now_ms() + due_in_ms
        self.state.raws[record.ref] = raw

    async def wait_next(self, ref: OrderRef) -> None:
        order = self.state.records[ref].order
        assert order is not None
        self.state.waiting[ref] = Incoming(order=order, version=99, effect="deliver")  # type: ignore[arg-type]  # unused

    async def set_level(self, level: StockLevel) -> None:
        self.state.levels[level.sku, level.location] = level

    async def level(self, sku: str) -> StockLevel:
        return self.state.levels[sku, "main"]

    async def record(self, ref: OrderRef) -> OrderRecord:
        return self.state.records[ref]

    async def has_raw(self, ref: OrderRef) -> bool:
        return ref in self.state.raws

    async def said(self) -> list[tuple[str, dict[str, Any]]]:
        return [(event.kind, event.data) for event in self.state.journal]


@dataclass
class RedisBench:
    client: Redis
    pool: str = "main"

    def __post_init__(self) -> None:
        self.outbox: Outbox = RedisOutbox(self.client, self.pool, BACKEND)

    async def put(self, record: OrderRecord, *, due_in_ms: int = 0, raw: bytes = b"raw") -> None:
        flags = ("r" if record.released else "") + ("f" if record.final else "")
        head = (
            f"{record.state} {record.version} {record.digest} {record.ref.kind} {record.backend or '-'} {record.sends} "
            f"{record.refusals} {record.epoch} {record.revision} {record.absences} {record.accepted_ms} "
            f"{record.changed_ms} {flags or '-'}"
        )
        assert record.order is not None
        fields: Any = {
            "s": head,
            "i": pack_items(record.items),
            "o": pack_order(record.order),
            "b": pack_raw(raw),
        }
        if record.backend_ref:
            fields["r"] = record.backend_ref
        seconds, micros = await self.client.time()
        now_ms = seconds * 1000 + micros // 1000
        await self.client.hset(order_key(self.pool, record.ref), mapping=fields)
        await self.client.zadd(pool_key(self.pool, index_of(record)), {str(record.ref): now_ms + due_in_ms})

    async def wait_next(self, ref: OrderRef) -> None:
        await self.client.hset(order_key(self.pool, ref), "n", "a newer version")

    async def set_level(self, level: StockLevel) -> None:
        packed = f"{level.on_hand} {level.held} {level.sold} {level.exposed} {level.safety} {level.seq}"
        field_name = f"{level.sku}\x1f{level.location}"
        await self.client.hset(pool_key(self.pool, "stock"), field_name, packed)

    async def level(self, sku: str) -> StockLevel:
        packed: Any = await self.client.hget(pool_key(self.pool, "stock"), f"{sku}\x1fmain")
        on_hand, held, sold, exposed, safety, seq = (int(part) for part in packed.split())
        return StockLevel(sku=sku, on_hand=on_hand, held=held, sold=sold, exposed=exposed, safety=safety, seq=seq)

    async def record(self, ref: OrderRef) -> OrderRecord:
        values: Any = await self.client.hmget(order_key(self.pool, ref), list(RECORD_FIELDS))
        record = unpack_record(ref, values)
        assert record is not None
        return record

    async def has_raw(self, ref: OrderRef) -> bool:
        return bool(await self.client.hexists(order_key(self.pool, ref), "b"))

    async def said(self) -> list[tuple[str, dict[str, Any]]]:
        entries: Any = await self.client.xrange(pool_key(self.pool, "j"))
        said = [(fields[b"k"].decode(), msgspec.json.decode(b"{" + fields[b"d"] + b"}")) for _, fields in entries]
        return [(kind, data) for kind, data in said if kind.startswith("order.")]

    async def index_names(self, ref: OrderRef) -> list[str]:
        """Return every index that the item stands in: there must be one, the one its state names."""
        names = sorted({*INDEX.values(), "q:other", "fl:other"})
        return [name for name in names if await self.client.zscore(pool_key(self.pool, name), str(ref)) is not None]
