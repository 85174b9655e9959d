"""What the ledger leaves in Redis: each record in exactly one index, all keys in one slot, tombstones that go."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from flashd.domain.delivery import ResultKind
from flashd.domain.order import Effect, Kind, Line, OrderRef
from flashd.domain.reservation import HoldCode
from flashd.store.keys import pool_key
from flashd.store.scripts import load
from tests.conformance.ledgers import BACKEND, HOUR_MS, Bench, make_hold, make_incoming, real_bench, stock

INDEXES = ("wait", f"q:{BACKEND}", f"fl:{BACKEND}", "desk", "dead", "done")


async def fill(bench: Bench) -> None:
    """At least one item in every state that the ledger and the outbox can bring about."""
    await stock(bench, 60)
    await stock(bench, 1, "mug")
    await bench.ledger.hold([make_hold(), make_hold("h2", ttl_ms=1)])
    told = [
        make_incoming("queued", hold_id="h1"),
        make_incoming("waiting", effect=Effect.WAIT),
        make_incoming("parked", reason="odd"),
        make_incoming("short", lines=(Line("mug", 2),)),
        make_incoming("ignored", effect=Effect.IGNORE),
        make_incoming("cancelled", effect=Effect.CANCEL),
        *[make_incoming(kind) for kind in (*ResultKind, "sending")],
    ]
    await bench.ledger.accept(told, [BACKEND] * len(told), since_ms=0)
    for kind in ResultKind:
        await bench.send(OrderRef("shop", str(kind)), kind)
    await bench.send(OrderRef("shop", "sending"))
    newer = [make_incoming(number, version=2, tee=3) for number in ("delivered", "sending", "parked", "queued")]
    await bench.ledger.accept(newer, [BACKEND] * len(newer), since_ms=0)


async def standing(client: Redis) -> dict[str, list[str]]:
    """In which indexes each member stands."""
    found: dict[str, list[str]] = {}
    for name in INDEXES:
        members: Any = await client.zrange(pool_key("main", name), 0, -1)
        for member in members:
            found.setdefault(member.decode(), []).append(name)
    return found


async def test_every_record_stands_in_exactly_one_index(client: Redis) -> None:
    await fill(real_bench(client))
    records = {key.decode().partition(":ord:")[2] async for key in client.scan_iter("fd:{main}:ord:*", count=1000)}
    found = await standing(client)
    assert set(found) == records
    assert str(OrderRef("shop", "delivered", Kind.AMEND)) in records
    assert {len(names) for names in found.values()} == {1}
    assert {name for names in found.values() for name in names} == set(INDEXES)
    assert await client.zrange(pool_key("main", "pending"), 0, -1) == [b"shop:sending"]


async def test_every_key_is_of_its_pool_s_slot_and_none_expires(client: Redis) -> None:
    await fill(real_bench(client))
    keys = [key async for key in client.scan_iter(count=1000)]
    assert all(key.startswith(b"fd:{main}:") for key in keys)
    assert {await client.ttl(key) for key in keys} == {-1}


async def test_a_tombstone_of_a_hold_goes_when_its_time_has_come(client: Redis) -> None:
    bench = real_bench(client)
    await stock(bench)
    await bench.ledger.hold([make_hold()])
    await bench.ledger.release("h1", "")
    await bench.ledger.sweep()
    assert (await bench.ledger.hold([make_hold()]))[0].code is HoldCode.REPEAT
    ends: Any = await client.zscore(pool_key("main", "hold:end"), "h1")
    assert ends / HOUR_MS > (await client.time())[0] / 3600 + 29 * 24
    await client.zadd(pool_key("main", "hold:end"), {"h1": 1})
    await bench.ledger.sweep()
    assert await client.hlen(pool_key("main", "hold")) == 0
    assert (await bench.ledger.hold([make_hold()]))[0].code is HoldCode.HELD


def _order(*facts: str | int) -> list[str | bytes]:
    """Return the arguments of one order that has these facts."""
    return [msgspec.msgpack.encode(facts)[1:], "{}", ""]


GOOD = ("7", "d", "", "tee\x1fmain\x1f1\x1f0", 0, "")  # all but its group


@pytest.mark.parametrize(
    "bad",
    [
        *(_order(1, version, *GOOD[1:]) for version in ("0x10", "1e3", " 5", "nan", "-1", "", "12345678901234567")),
        _order(1, *GOOD[:-1]),
        _order(2, *GOOD),
        _order("1", *GOOD),
        _order(1, *GOOD[:4], "0", ""),
        _order(1, *GOOD)[:-1],
        [b"\xc1", "{}", ""],
    ],
)
async def test_an_order_that_is_not_as_agreed_is_refused_before_any_is_written(
    client: Redis, bad: list[str | bytes]
) -> None:
    fixed = [pool_key("main", str(number)) for number in range(16)]
    orders = ("ord:shop:1", "ord:shop:1a", "ord:shop:1b", "ord:shop:2", "ord:shop:2a", "ord:shop:2b")
    rest = [pool_key("main", name) for name in ("q:erp", "exp:shop", *orders)]
    group: list[str | bytes | int] = ["deliver", 0, 1, "erp", "", "1 1 none\x1fmain"]
    with pytest.raises(ResponseError, match=r"accept wants|Bad data format"):
        await load("accept").call(client, [*fixed, *rest], ["erp", " ", 1, *group, *_order(1, *GOOD), *bad])
    assert await client.dbsize() == 0


async def test_what_is_published_is_what_stands_in_the_journal(client: Redis) -> None:
    bench = real_bench(client)
    async with client.pubsub() as subscriber:
        await subscriber.psubscribe("fd:events:main:*")
        await stock(bench)
        await bench.ledger.hold([make_hold()])
        await bench.ledger.accept([make_incoming('"\u00e9', hold_id="h1", reason="a\\b")], [BACKEND], since_ms=0)
        entries: Any = await client.xrange(pool_key("main", "j"))
        heard: list[tuple[str, Any]] = []
        while len(heard) < len(entries):
            message = await subscriber.get_message(timeout=5)
            assert message is not None, "less was published than written"
            if message["type"] == "pmessage":
                heard.append((message["channel"].decode(), msgspec.json.decode(message["data"])))
    for (topic, said), (entry_id, fields) in zip(heard, entries, strict=True):
        kind = fields[b"k"].decode()
        at = datetime.fromtimestamp(int(entry_id.partition(b"-")[0]) / 1000, UTC)
        assert topic == f"fd:events:main:{kind.partition('.')[0]}"
        assert datetime.fromisoformat(said.pop("at")) == at
        envelope = {"v": 1, "id": entry_id.decode(), "kind": kind, "pool": "main"}
        assert said == envelope | msgspec.json.decode(b"{" + fields[b"d"] + b"}")
    assert [said["kind"] for _, said in heard][-3:] == ["hold.sold", "order.parked", "stock.changed"]
