"""The actor over the real scripts: what intake accepted reaches a backend, through a lost reply and a dead leader."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest
from redis.asyncio import Redis

from flashd.actors.backend import BackendActor
from flashd.actors.backend_rules import BackendRules
from flashd.domain.delivery import BackendTraits, Doubtful
from flashd.domain.order import OrderRef, OrderState
from flashd.domain.rate import Rate
from flashd.runtime.clock import SystemClock
from flashd.store.gate import RedisBackendGate
from flashd.store.outbox import RedisOutbox
from tests.conformance.outboxes import RedisBench, make_record
from tests.fakes.announcer import FakeAnnouncer
from tests.fakes.backend import BatchingFake, FakeBackend
from tests.until import until

RULES = BackendRules(rate=Rate.parse("100/s"), settle_s=0.3, timeout_s=5.0, lease_s=3.0, poll_s=0.1, max_in_flight=8)


def build(client: Redis, backend: FakeBackend, owner: str, rules: BackendRules = RULES) -> BackendActor:
    clock = SystemClock()

    async def apply_next(_: str) -> int:
        return 0

    return BackendActor(
        backend,
        rules,
        [RedisOutbox(client, "main", "erp")],
        RedisBackendGate(client, "erp", clock),
        clock=clock,
        announcer=FakeAnnouncer(),
        owner=owner,
        apply_next=apply_next,
    )


async def settled(bench: RedisBench, refs: list[OrderRef], within_s: float = 60.0) -> None:
    """Wait until the store says that all are delivered."""
    deadline = time.monotonic() + within_s
    while {(await bench.record(ref)).state for ref in refs} != {OrderState.DELIVERED}:
        assert time.monotonic() < deadline, [(await bench.record(ref)).state for ref in refs]
        await asyncio.sleep(0.05)


async def test_all_arrive_once_though_replies_are_lost_and_the_leader_dies(client: Redis) -> None:
    bench = RedisBench(client)
    refs = []
    for number in range(60):
        record = make_record(f"{number:03}")
        await bench.put(record)
        refs.append(record.ref)
    backend = FakeBackend(SystemClock(), takes_s=0.005)  # type: ignore[arg-type]  # only monotonic_s and sleep are used
    backend.traits = BackendTraits(idempotent=False, lookup=True)
    dropped: list[Any] = [backend.record_and_drop_the_reply, Doubtful("reset"), backend.record_and_drop_the_reply]
    backend.by_order.update(zip(("004", "009", "014"), dropped, strict=True))

    first = build(client, backend, "first")
    life = first.start()
    await until(lambda: len(backend.sent) >= 25, "25 requests")
    first.on_stop = _die  # type: ignore[method-assign]  # as SIGKILL would: nothing is settled, nobody resigns
    life.cancel()
    await asyncio.gather(life, return_exceptions=True)

    second = build(client, backend, "second")
    second.start()
    # items that the dead leader had claimed wait for the end of their lease: end it now
    await asyncio.sleep(0)
    for item in await second._outboxes[0].in_flight():
        await client.zadd("fd:{main}:fl:erp", {str(item.ref): 0})
    del backend.by_order["009"]
    await settled(bench, refs)
    await second.stop()
    assert len(backend.recorded) == len(set(backend.recorded)) == 60
    for ref in refs:
        assert await bench.index_names(ref) == ["done"]


@pytest.mark.parametrize("rate", ["100/s", "unlimited"])
@pytest.mark.parametrize("moment", ["claimed", "sent"])
async def test_batches_arrive_once_though_the_leader_is_killed(client: Redis, rate: str, moment: str) -> None:
    """Killed between the claims and the requests, or between a request and the settling of it."""
    bench = RedisBench(client)
    refs = []
    for number in range(96):
        record = make_record(f"{number:03}")
        await bench.put(record)
        refs.append(record.ref)
    traits = BackendTraits(idempotent=False, lookup=True, batch=8)
    backend = BatchingFake(SystemClock(), takes_s=0.005, traits=traits)  # type: ignore[arg-type]  # as above
    backend.poisoned.add("021")
    rules = replace(RULES, rate=Rate.parse(rate, unlimited=True), batch=8, max_in_flight=4)

    first = build(client, backend, "first", rules)
    if moment == "sent":
        first._outboxes[0].finish = _never  # type: ignore[method-assign]  # the reply comes, and nothing is settled
    life = first.start()
    await until(lambda: len(backend.sent) >= 16 or any(first._in_hand.parcels.values()), "the first batches")
    if moment == "sent":
        await until(lambda: len(backend.recorded) >= 16, "two batches recorded")
    first.on_stop = _die  # type: ignore[method-assign]  # as SIGKILL would
    life.cancel()
    await asyncio.gather(life, return_exceptions=True)
    await asyncio.sleep(0.01)

    second = build(client, backend, "second", rules)
    second.start()
    for item in await second._outboxes[0].in_flight():
        await client.zadd("fd:{main}:fl:erp", {str(item.ref): 0})  # the end of its lease
    await settled(bench, [ref for ref in refs if ref.id != "021"])
    await until(lambda: ["021"] in backend.batches, "the poisonous one alone")
    await second.stop()
    assert len(backend.recorded) == len(set(backend.recorded)) == 95
    assert (await bench.record(OrderRef("shop", "021"))).state is OrderState.DEAD
    for ref in refs:
        assert await bench.index_names(ref) == (["dead"] if ref.id == "021" else ["done"])


@pytest.mark.parametrize("names", [("web:1", "web:1"), ("web:1", "web:2")], ids=["the same name", "another name"])
async def test_of_two_at_work_by_mistake_one_leads_and_nothing_is_sent_twice(
    client: Redis, names: tuple[str, str]
) -> None:
    """Two containers may have one host name and one process id: what they are called decides nothing."""
    bench, refs = RedisBench(client), []
    for number in range(40):
        record = make_record(f"{number:03}")
        await bench.put(record)
        refs.append(record.ref)
    backend = FakeBackend(SystemClock(), takes_s=0.005)  # type: ignore[arg-type]  # as above
    backend.traits = BackendTraits(idempotent=False, lookup=True)
    pair = [build(client, backend, name, replace(RULES, lease_s=0.6)) for name in names]
    for actor in pair:
        actor.start()
    most = 0
    while len(backend.recorded) < 20:
        most = max(most, sum(actor.leadership.term is not None for actor in pair))
        await asyncio.sleep(0.01)
    assert most == 1
    await until(lambda: any(actor.leadership.term is not None for actor in pair), "one leads")
    leader = next(actor for actor in pair if actor.leadership.term is not None)
    await leader.stop()
    await settled(bench, refs)
    for actor in pair:
        await actor.stop()
    assert len(backend.recorded) == len(set(backend.recorded)) == 40
    # Both led, one after the other; again, where a pause of ours outlasted a term.
    assert len({(await bench.record(ref)).epoch for ref in refs}) >= 2


async def _never(*_: Any, **__: Any) -> Any:
    await asyncio.Event().wait()


async def _die() -> None:
    return


async def test_three_processes_share_one_bucket(client: Redis) -> None:
    """Whoever leads, drops come from one bucket: no window holds more uses than the bound."""
    gates = [RedisBackendGate(client, "erp", SystemClock()) for _ in range(3)]
    taken = 0

    async def draw(gate: RedisBackendGate) -> None:
        nonlocal taken
        while taken < 60:
            drop = await gate.drop(20_000, ahead_us=20_000)
            taken += not drop.wait_ms
            await asyncio.sleep(drop.wait_ms / 1000 or drop.after_us / 1e6)

    began: Any = await client.time()
    await asyncio.gather(*(draw(gate) for gate in gates))
    ended: Any = await client.time()
    took_s = ended[0] - began[0] + (ended[1] - began[1]) / 1e6
    assert took_s >= (taken - 1) * 0.020
