"""The server's clock is set back, or on, by an hour: nobody waits for the hour to pass, and nothing is sent twice."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from flashd.domain.delivery import ClaimCode, Result, ResultKind
from flashd.domain.order import OrderRef, OrderState
from flashd.runtime.clock import SystemClock
from flashd.store.audit import audit
from flashd.store.gate import RedisBackendGate
from flashd.store.outbox import RedisOutbox
from tests.conformance.ledgers import BACKEND, make_incoming, real_bench, stock
from tests.faketime import Turned, turn, turned

HOUR_S = 3600


@pytest.fixture(params=["valkey", "redis7"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Turned]:
    server = turned(request.param, tmp_path / "clock")
    yield server
    server.close()


def client_of(server: Turned) -> Redis:
    return Redis(unix_socket_path=server.socket_path)


async def test_a_leader_that_died_before_the_clock_was_set_back_is_followed_soon(server: Turned) -> None:
    async with client_of(server) as client:
        dead, heir = (RedisBackendGate(client, BACKEND, SystemClock()) for _ in range(2))
        first = await dead.lead("dead", 60_000)
        assert await heir.lead("heir", 60_000) is None
        await turn(server, client, -HOUR_S)
        assert await heir.lead("heir", 60_000) is None  # it may live, and has its whole term
        await turn(server, client, 61 - HOUR_S)
        second = await heir.lead("heir", 60_000)  # an hour later, if nothing were done about it
    assert first is not None
    assert second is not None
    assert second > first


async def test_a_leader_that_lives_keeps_its_term_though_the_clock_is_set_back(server: Turned) -> None:
    async with client_of(server) as client:
        gate, other = (RedisBackendGate(client, BACKEND, SystemClock()) for _ in range(2))
        epoch = await gate.lead("leader", 60_000)
        await turn(server, client, -HOUR_S)
        assert await other.lead("other", 60_000) is None
        assert await gate.lead("leader", 60_000) == epoch
        assert await other.lead("other", 60_000) is None


async def test_the_backlog_and_what_is_in_doubt_flow_on_in_their_order_when_the_clock_is_set_back(
    server: Turned,
) -> None:
    async with client_of(server) as client:
        bench, outbox = real_bench(client), RedisOutbox(client, "main", BACKEND)
        await stock(bench)
        names = [f"{number}" for number in (3, 1, 2, 5, 4)]
        for name in names:
            await bench.ledger.accept([make_incoming(name)], [BACKEND], since_ms=0)
            await asyncio.sleep(0.002)  # each has a moment of its own
        refs = [OrderRef("shop", name) for name in names]
        await outbox.claim(refs[:1], epoch=1, lease_ms=1000)
        await outbox.finish([Result(ref=refs[0], kind=ResultKind.DOUBT, delay_ms=0)], epoch=1)
        await turn(server, client, -HOUR_S)
        assert await outbox.due(10) == []
        await outbox.recover(epoch=1, delay_ms=100)
        await asyncio.sleep(0.2)  # they lie as far apart as they did
        assert await outbox.due(10) == refs[1:]
        [flying] = await outbox.in_flight()
        assert 0 < flying.due_ms - await now_ms(client) < 200_000  # it may be on its way for as long as any
        assert {code for code, _ in await outbox.claim(refs[1:], epoch=1, lease_ms=1000)} == {ClaimCode.CLAIMED}
        assert (await audit(client, "main")).ok


async def test_what_is_on_its_way_is_in_doubt_and_not_sent_again_when_the_clock_is_set_on(server: Turned) -> None:
    async with client_of(server) as client:
        bench, outbox = real_bench(client), RedisOutbox(client, "main", BACKEND)
        await stock(bench)
        ref = OrderRef("shop", "1")
        await bench.ledger.accept([make_incoming("1")], [BACKEND], since_ms=0)
        await outbox.claim([ref], epoch=1, lease_ms=5000)
        await turn(server, client, HOUR_S)
        assert await outbox.recover(epoch=1, delay_ms=60_000) == [ref]
        assert await outbox.due(10) == []
        assert await outbox.doubtful(10) == []  # not before the settling time, by whatever clock
        await outbox.finish([Result(ref=ref, kind=ResultKind.DELIVERED, backend_ref="SO1")], epoch=1)
        record = await bench.book.get(ref)
        assert record is not None
        assert record.state is OrderState.DELIVERED


async def now_ms(client: Redis) -> int:
    seconds, micros = await client.time()
    return int(seconds) * 1000 + int(micros) // 1000
