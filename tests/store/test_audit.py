from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from flashd.config import StoreConfig
from flashd.domain.event import Event
from flashd.domain.order import OrderRef
from flashd.domain.stock import StockLevel
from flashd.errors import StoreUnavailable
from flashd.store.audit import AuditReport, audit
from flashd.store.census import Disturbed, entries
from flashd.store.connection import connect
from flashd.store.journal import RedisJournal
from flashd.store.ledger import RedisLedger
from flashd.store.scripts import load
from tests.servers import Server
from tests.store.traffic import Traffic


def told(report: AuditReport) -> list[str]:
    return [difference.what for difference in report.differences]


@pytest.fixture
async def traffic(client: Redis) -> Traffic:
    """A pool with 160 random steps behind it."""
    traffic = Traffic(client, seed=7, lacking=False)
    await traffic.stock(60)
    await traffic.run(160)
    return traffic


async def test_an_empty_pool_adds_up(client: Redis) -> None:
    report = await audit(client, "main")
    assert report.ok
    assert (report.orders, report.events, report.as_of) == (0, 0, "0-0")


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_after_any_traffic_all_adds_up(seed: int, client: Redis) -> None:
    traffic = Traffic(client, seed)
    await traffic.stock(40)
    await traffic.run(250)
    report = await audit(client, "main")
    assert report.differences == ()
    assert report.ok
    assert report.orders > 50
    assert report.skus == 3
    assert min(traffic.did.values()) > 0
    assert msgspec.json.decode(msgspec.json.encode(report), type=AuditReport) == report


async def test_it_adds_up_while_orders_come_in(client: Redis, server: Server) -> None:
    writer = connect(StoreConfig(url=server.url), lambda _: pytest.fail("no secret is needed"))
    others = [Traffic(writer, seed) for seed in (11, 12)]
    await others[0].stock(60)
    await others[0].run(100)
    tasks = [asyncio.ensure_future(other.run(10_000, pause_s=0.005)) for other in others]
    try:
        first = await client.xlen("fd:{main}:j")
        for _ in range(10):
            report = await audit(client, "main")
            assert report.differences == ()
        assert await client.xlen("fd:{main}:j") > first + 20
        assert not any(task.done() for task in tasks)
    finally:
        for other in others:
            other.stopping = True
        await asyncio.gather(*tasks)
        await writer.aclose()


async def test_checkpoint_and_tail_add_up_after_trimming_and_purging(client: Redis, traffic: Traffic) -> None:
    journal = RedisJournal(client, "main")
    before = await audit(client, "main")
    kept = await client.xlen("fd:{main}:j")
    assert await journal.trim(100) == kept - 100
    assert await client.xlen("fd:{main}:j") == 100
    report = await audit(client, "main")
    assert report.differences == ()
    assert report.events == 100
    assert await journal.purge(0) > 0
    report = await audit(client, "main")
    assert report.differences == ()
    assert 0 < report.orders < before.orders
    await traffic.run(50)
    assert (await audit(client, "main")).differences == ()


@pytest.mark.parametrize("upkeep", ["trim", "purge"])
async def test_upkeep_in_the_midst_of_it_is_no_difference(
    upkeep: str, client: Redis, traffic: Traffic, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = RedisJournal(client, "main")
    went: list[int] = []

    async def disturbed(*arguments: Any) -> AsyncIterator[Event]:
        if not went:  # between the reading of the counters and that of the journal
            went.append(await (journal.trim(20) if upkeep == "trim" else journal.purge(0)))
        async for event in entries(*arguments):
            yield event

    monkeypatch.setattr("flashd.store.audit.entries", disturbed)
    report = await audit(client, "main")
    assert went[0] > 0
    assert report.differences == ()


async def test_an_audit_that_is_disturbed_for_ever_says_so(
    client: Redis, traffic: Traffic, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def disturbed(*arguments: Any) -> AsyncIterator[Event]:
        async for event in entries(*arguments):
            yield event
            raise Disturbed

    monkeypatch.setattr("flashd.store.audit.entries", disturbed)
    with pytest.raises(StoreUnavailable, match="ask again"):
        await audit(client, "main")


Harm = Callable[[Any], Awaitable[object]]


async def one_of(client: Any, index: str) -> str:
    return str((await client.zrange(f"fd:{{main}}:{index}", 0, 0))[0].decode())


async def raise_sold(client: Any) -> None:
    packed = (await client.hget("fd:{main}:stock", "A\x1fmain")).decode().split()
    packed[2] = str(int(packed[2]) + 1)
    await client.hset("fd:{main}:stock", "A\x1fmain", " ".join(packed))


async def raise_held(client: Any) -> None:
    packed = (await client.hget("fd:{main}:stock", "A\x1fmain")).decode().split()
    packed[1] = str(int(packed[1]) + 1)
    await client.hset("fd:{main}:stock", "A\x1fmain", " ".join(packed))


async def lower_on_hand(client: Any) -> None:
    packed = (await client.hget("fd:{main}:stock", "A\x1fmain")).decode().split()
    await client.hset("fd:{main}:stock", "A\x1fmain", " ".join([str(int(packed[0]) - 1), *packed[1:]]))


async def make_sold_negative(client: Any) -> None:
    await client.hset("fd:{main}:stock", "A\x1fmain", "10 0 -1 0 0 0")


async def raise_owed(client: Any) -> None:
    packed = (await client.hget("fd:{main}:stock", "A\x1fmain")).decode().split()
    owed = int(packed[6]) if len(packed) > 6 else 0
    await client.hset("fd:{main}:stock", "A\x1fmain", " ".join([*packed[:6], str(owed + 1)]))


async def wait_without_a_claim(client: Any) -> None:
    await client.zadd("fd:{main}:owing", {f"A\x1fmain\x1f{1:015}\x1f{await one_of(client, 'done')}": 0})


async def index_twice(client: Any) -> None:
    await client.zadd("fd:{main}:q:erp", {await one_of(client, "done"): 1})


async def index_twice_for_a_forgotten_backend(client: Any) -> None:
    await client.zadd("fd:{main}:q:old", {await one_of(client, "done"): 1})


async def lose_an_index_entry(client: Any) -> None:
    await client.zrem("fd:{main}:done", await one_of(client, "done"))


async def lose_a_record(client: Any) -> None:
    await client.delete(f"fd:{{main}}:ord:{await one_of(client, 'done')}")


async def lose_a_record_and_its_index_entry(client: Any) -> None:
    member = await one_of(client, "done")
    await client.delete(f"fd:{{main}}:ord:{member}")
    await client.zrem("fd:{main}:done", member)


async def damage_a_record(client: Any) -> None:
    await client.hset(f"fd:{{main}}:ord:{await one_of(client, 'done')}", "s", "delivered")


async def change_what_was_taken(client: Any) -> None:
    await client.hset(f"fd:{{main}}:ord:{await one_of(client, 'done')}", "i", "B/1\x1fmain\x1f500\x1f500")


async def lose_a_deadline(client: Any) -> None:
    name = await one_of(client, "hold:due")
    await client.zrem("fd:{main}:hold:due", name)


async def lose_a_hold(client: Any) -> None:
    name = await one_of(client, "hold:due")
    await client.hdel("fd:{main}:hold", name)


async def forget_a_waiting_version(client: Any) -> None:
    await client.hset(f"fd:{{main}}:ord:{await one_of(client, 'done')}", "n", "x")


async def cut_the_journal_without_a_checkpoint(client: Any) -> None:
    await client.xtrim("fd:{main}:j", maxlen=50, approximate=False)


@pytest.mark.parametrize(
    ("harm", "finds"),
    [
        (raise_sold, "sold is not what the journal adds up to"),
        (raise_sold, "sold is not what the orders took"),
        (raise_held, "held is not the sum of the live holds"),
        (lower_on_hand, "on_hand is not what the journal adds up to"),
        (make_sold_negative, "counter damaged"),
        (raise_owed, "owed is not what paid orders lack"),
        (wait_without_a_claim, "it waits for goods and is not short"),
        (index_twice, "record in a wrong index"),
        (index_twice_for_a_forgotten_backend, "record in a wrong index"),
        (lose_an_index_entry, "record missing from its index"),
        (lose_a_record, "order without a record"),
        (lose_a_record_and_its_index_entry, "order without a record"),
        (damage_a_record, "record damaged"),
        (change_what_was_taken, "sold is not what the orders took"),
        (lose_a_deadline, "live holds and deadlines differ"),
        (lose_a_hold, "live holds and deadlines differ"),
        (forget_a_waiting_version, "waiting version and index differ"),
        (cut_the_journal_without_a_checkpoint, "on_hand is not what the journal adds up to"),
    ],
)
async def test_whatever_was_changed_by_hand_is_found(harm: Harm, finds: str, client: Redis, traffic: Traffic) -> None:
    await harm(client)
    report = await audit(client, "main")
    assert not report.ok
    assert finds in told(report)
    assert all(difference.mend for difference in report.differences)


async def test_a_deficit_after_a_recount_is_told_and_is_no_difference(client: Redis) -> None:
    traffic = Traffic(client, seed=5)
    await traffic.stock(60)
    await traffic.run(100)
    await traffic.ledger.recount(StockLevel(sku="A", on_hand=0, safety=2, seq=10**12))
    report = await audit(client, "main")
    assert (report.differences, report.oversold) == ((), 0)
    assert [text.partition(":")[0] for text in report.deficits] == ["A at main"]


async def test_a_promise_beyond_the_stock_is_found_in_the_journal(client: Redis) -> None:
    await client.xadd("fd:{main}:j", {"k": "stock.recounted", "d": '"moves":[["A","main",1,0,0,0,0]]'})
    await client.xadd("fd:{main}:j", {"k": "hold.held", "d": '"hold":"1","moves":[["A","main",0,2,0,0,0]]'})
    await client.hset("fd:{main}:stock", "A\x1fmain", "1 2 0 0 0 0")
    report = await audit(client, "main")
    assert "more was promised than there was" in told(report)
    assert report.oversold == 1


async def test_an_order_stays_until_all_that_followed_it_is_settled_long_enough(client: Any, traffic: Traffic) -> None:
    members = {member.decode() for member in await client.zrange("fd:{main}:done", 0, -1)}
    families = {str(OrderRef(ref.channel, ref.id)) for ref in map(OrderRef.parse, members)}
    open_ones = {
        family
        for family in families
        for member in (family, f"{family}\x1fcancel", f"{family}\x1famend")
        if await client.exists(f"fd:{{main}}:ord:{member}") and member not in members
    }
    assert open_ones
    journal = RedisJournal(client, "main")
    assert await journal.purge(1) == 0
    assert await journal.purge(0) == len(families - open_ones)
    left = {member.decode() for member in await client.zrange("fd:{main}:done", 0, -1)}
    assert {str(OrderRef(ref.channel, ref.id)) for ref in map(OrderRef.parse, left)} == open_ones


async def test_who_trims_behind_another_folds_nothing_twice(client: Any, traffic: Traffic) -> None:
    keys = ["fd:{main}:j", "fd:{main}:checkpoint"]
    (first, _), *_ = await client.xrange("fd:{main}:j", count=1)
    late: list[str | bytes | int] = [b"", first, "A\x1fmain", "60 0 0 0 2 0"]  # read before the other trimmed
    assert await RedisJournal(client, "main").trim(10) > 0
    assert await load("trim").call(client, keys, late) == [b"moved", b"0"]
    journals = [RedisJournal(client, "main") for _ in range(3)]
    await asyncio.gather(*(journal.trim(5) for journal in journals))
    assert await client.xlen("fd:{main}:j") == 5
    assert (await audit(client, "main")).differences == ()


@pytest.mark.parametrize("question", ["xlen", "hget"])
async def test_who_trims_while_another_looks_takes_nothing_of_what_is_to_stay(
    client: Any, traffic: Traffic, question: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, others = getattr(client, question), RedisJournal(client, "main")

    async def asked(*args: Any) -> Any:
        monkeypatch.undo()
        answer = await ask(*args)
        assert await others.trim(5) > 0  # between this answer and the next question
        return answer

    monkeypatch.setattr(client, question, asked)
    await RedisJournal(client, "main").trim(5)
    assert await client.xlen("fd:{main}:j") == 5
    assert (await audit(client, "main")).differences == ()


async def test_a_journal_of_many_skus_is_trimmed_in_calls_that_hold_nobody_up(client: Any) -> None:
    ledger, journal = RedisLedger(client, "main"), RedisJournal(client, "main")
    async with client.pipeline(transaction=False) as pipe:
        for name in (f"S-{number:04}" for number in range(1200)):
            pipe.xadd("fd:{main}:j", {"k": "stock.recounted", "d": f'"moves":[["{name}","main",7,0,0,0,1]]'})
            pipe.hset("fd:{main}:stock", f"{name}\x1fmain", "7 0 0 0 1 0")
        await pipe.execute()
    for _ in range(2):  # on what is known, too
        await ledger.recount(StockLevel(sku="S-0003", location="main", on_hand=9, safety=1))
    await client.config_resetstat()
    assert await journal.trim(0) == 1204
    calls = (await client.info("commandstats"))["cmdstat_evalsha"]["calls"]
    assert calls == 3, "500 entries each, for more than 250 SKUs are enough for one call"
    assert await client.hget("fd:{main}:checkpoint", "S-0003\x1fmain") == b"9 0 0 0 1 0"
    assert await client.hlen("fd:{main}:checkpoint") == 1201
    assert (await audit(client, "main")).differences == ()


async def test_a_journal_of_few_skus_is_trimmed_in_one_call(client: Any) -> None:
    async with client.pipeline(transaction=False) as pipe:
        for name in (f"S-{number % 3}" for number in range(1200)):
            pipe.xadd("fd:{main}:j", {"k": "stock.recounted", "d": f'"moves":[["{name}","main",1,0,0,0,0]]'})
        await pipe.execute()
    await client.hset("fd:{main}:stock", mapping={f"S-{number}\x1fmain": "400 0 0 0 0 0" for number in range(3)})
    await client.config_resetstat()
    assert await RedisJournal(client, "main").trim(0) == 1200
    assert (await client.info("commandstats"))["cmdstat_evalsha"]["calls"] == 1
    assert (await audit(client, "main")).differences == ()


async def test_what_customers_count_for_is_looked_through_once_an_hour_and_only_where_it_counts(client: Any) -> None:
    async def scans(journal: RedisJournal, times: int) -> int:
        await client.config_resetstat()
        for _ in range(times):
            await journal.purge(30)
        return int((await client.info("commandstats")).get("cmdstat_hscan", {"calls": 0})["calls"])

    assert await scans(RedisJournal(client, "main"), 3) == 0, "no sale ever limited anybody"
    await client.hset("fd:{main}:use", "c\x1ffriday\x1fTEE\x1fada", 1)
    assert await scans(RedisJournal(client, "main"), 3) == 1
    assert await scans(RedisJournal(client, "main", uses_every_s=0.0), 3) == 3
