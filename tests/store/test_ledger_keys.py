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


def _packed(*values: object) -> bytes:
    """Pack at most fifteen values as the scripts want them, one behind the other."""
    return msgspec.msgpack.encode(values)[1:]


GOOD = (1, 1, "7", "d", "", "tee\x1fmain\x1f1\x1f0", 0, "", 1)


def _but(at: int, value: object) -> tuple[object, ...]:
    return (*GOOD[:at], value, *GOOD[at + 1 :])


def _call(facts: tuple[object, ...], texts: tuple[str, ...], *, more: bytes = b"") -> tuple[list[str], list[Any]]:
    """Return keys and arguments of two orders: a good one, and one that has these facts and texts."""
    fixed = [pool_key("main", str(number)) for number in range(16)]
    orders = ("ord:shop:1", "ord:shop:1a", "ord:shop:1b", "ord:shop:2", "ord:shop:2a", "ord:shop:2b")
    rest = [pool_key("main", name) for name in ("q:erp", "exp:shop", *orders)]
    alike = _packed("deliver", False, True, "", "1 1 none\x1fmain")
    return [*fixed, *rest], ["erp", " ", 1, alike, _packed(*GOOD) + _packed(*facts) + more, "{}", "", *texts]


async def test_an_order_that_is_as_agreed_is_taken_where_it_is_called_by_hand(client: Redis) -> None:
    store: Any = client
    await store.hset(pool_key("main", "0"), "tee\x1fmain", "5 0 0 0 0 0")
    assert await load("accept").call(client, *_call(GOOD, ("{}", ""))) == [1, 1]


@pytest.mark.parametrize(
    ("facts", "texts", "more"),
    [
        *(
            (_but(2, version), ("{}", ""), b"")
            for version in ("0x10", "1e3", " 5", "nan", "-1", "", "12345678901234567", 7)
        ),
        (GOOD[:-1], ("{}", ""), b""),
        (_but(0, 2), ("{}", ""), b""),
        (_but(0, "1"), ("{}", ""), b""),
        (_but(1, 2), ("{}", ""), b""),
        (_but(6, "0"), ("{}", ""), b""),
        (_but(8, 2), ("{}", ""), b""),
        (GOOD, ("{}",), b""),
        (GOOD, (), b""),
        (GOOD, ("{}", ""), b"\xc1"),
        (GOOD, ("{}", ""), b"\xa5te"),
    ],
)
async def test_an_order_that_is_not_as_agreed_is_refused_before_any_is_written(
    client: Redis, facts: tuple[object, ...], texts: tuple[str, ...], more: bytes
) -> None:
    with pytest.raises(ResponseError, match=r"accept wants|Bad data format|Missing bytes"):
        await load("accept").call(client, *_call(facts, texts, more=more))
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
