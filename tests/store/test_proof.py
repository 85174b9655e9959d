"""With [store] replicas: what is answered is with a replica, also what was only found there; else nothing is known."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from flashd.config import Secret, SecretText, StoreConfig
from flashd.domain.order import AcceptCode, OrderRef, OrderState
from flashd.errors import StoreUnavailable
from flashd.store.client import Client
from flashd.store.connection import connect
from flashd.store.contract import verify
from flashd.store.gate import RedisBackendGate
from flashd.store.ledger import RedisLedger
from flashd.store.orderbook import RedisOrderBook
from flashd.store.proof import Proof, proof_of
from flashd.store.refusals import Unproven
from flashd.store.settings import ServerKind
from flashd.store.watch import RedisWatch
from flashd.store.wire import CALLS
from tests.conformance.ledgers import make_incoming
from tests.conftest import PassTime
from tests.deployments.node import holds
from tests.e2e.process import free_port
from tests.fakes.clock import FakeClock
from tests.servers import Server, find_server, missing

WRITE = "return redis.call('INCR', KEYS[1])"
TIMEOUT_S = 10.0  # what can be proven is, on the busiest machine; `Pair.unproven` waits for the rest


@dataclass
class Pair:
    """A primary and its one replica; *client* asks that the replica has each write."""

    primary: Server
    replica: Server
    client: Client
    there: Client  # of the replica
    config: StoreConfig
    pass_time: PassTime

    def pause(self) -> None:
        """Let the replica stand still."""
        assert self.replica.process is not None
        self.replica.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self.replica.process is not None
        self.replica.process.send_signal(signal.SIGCONT)

    async def unproven(self, work: Awaitable[Any]) -> Any:
        """Let the time of a proof pass, which is half of a call's, and return what *work* comes to."""
        asking = asyncio.ensure_future(work)
        if self.primary.kind == "valkey":  # Redis 7.0 counts that time by itself, in one WAIT
            await asyncio.wait({asking}, timeout=0.05)
            self.pass_time(TIMEOUT_S / 2)
        return await asking

    async def count(self, command: str) -> int:
        """Return how often the primary ran *command*."""
        stats: dict[str, Any] = await self.client.info("commandstats")
        return int(stats.get(f"cmdstat_{command}", {"calls": 0})["calls"])

    async def linked(self) -> bool:
        """Say whether each of the two says that they are in step."""
        there = await self.there.info("replication")
        here = await self.client.info("replication")
        return there.get("master_link_status") == "up" and here.get("slave0", {}).get("state") == "online"


@pytest.fixture(scope="module", params=["valkey", pytest.param("redis7", marks=pytest.mark.slow)])
def two(request: pytest.FixtureRequest) -> Iterator[tuple[Server, Server]]:
    if find_server(request.param) is None:
        pytest.skip(missing(request.param))
    port = free_port()
    primary = Server(request.param, {"bind": "127.0.0.1", "port": str(port), "repl-diskless-sync-delay": "0"})
    replica = Server(request.param, {"replicaof": f"127.0.0.1 {port}"})
    try:
        yield primary.start(), replica.start()
    finally:
        replica.close()
        primary.close()


@pytest.fixture
async def pair(two: tuple[Server, Server], tmp_path: Path, pass_time: PassTime) -> AsyncIterator[Pair]:
    primary, replica = two
    config = StoreConfig(url=primary.url, replicas=1, timeout_s=TIMEOUT_S, state_dir=str(tmp_path))
    away = StoreConfig(url=replica.url, timeout_s=TIMEOUT_S)
    async with connect(config, reveal) as client, connect(away, reveal) as there:
        pair = Pair(primary, replica, client, there, config, pass_time)
        await holds(pair.linked, "the replica is in step")
        await client.flushall()
        await verify(client, config, ["main"], FakeClock())
        try:
            yield pair
        finally:
            pair.resume()
        assert client.wire is not None
        assert client.wire._calls_left == CALLS, "room was lost"


def reveal(_: Secret) -> SecretText:
    return SecretText("")


async def write(client: Client, key: str = "fd:{main}:n") -> Any:
    assert client.wire is not None
    return await client.wire.call("EVAL", WRITE, 1, key)


async def test_what_waits_to_be_proven_when_all_is_closed_is_not_written_over_a_new_connection(pair: Pair) -> None:
    wire = pair.client.wire
    assert wire is not None
    pair.pause()
    first = asyncio.create_task(write(pair.client))
    await asyncio.sleep(0.05)
    behind = asyncio.create_task(write(pair.client))  # of the next group
    await asyncio.sleep(0.05)
    await wire.close()
    told = await asyncio.gather(first, behind, return_exceptions=True)
    assert [isinstance(one, RedisError) for one in told] == [True, True]
    assert wire._lines == set()


async def test_what_is_answered_is_with_the_replica(pair: Pair) -> None:
    for number in range(1, 20):
        assert await write(pair.client) == number
        assert await pair.there.get("fd:{main}:n") == b"%d" % number


async def test_while_the_replica_hangs_nothing_is_known_and_the_same_order_again_is_a_repeat(
    pair: Pair,
) -> None:
    ledger = RedisLedger(pair.client, "main")
    await ledger.accept([make_incoming("before")], ["erp"], since_ms=0)
    pair.pause()
    with pytest.raises(StoreUnavailable, match="0 of 1 replicas have it"):
        await pair.unproven(ledger.accept([make_incoming("during")], ["erp"], since_ms=0))
    async with connect(pair.config, reveal) as another:  # which wrote nothing yet
        await verify_without_waiting(another, pair)
        elsewhere = RedisLedger(another, "main")
        for _ in range(2):  # it stands there, and may be forgotten yet
            with pytest.raises(StoreUnavailable, match="0 of 1 replicas have it"):
                await pair.unproven(elsewhere.accept([make_incoming("during")], ["erp"], since_ms=0))
        pair.resume()
        [again] = await elsewhere.accept([make_incoming("during")], ["erp"], since_ms=0)
    assert again.code is AcceptCode.REPEAT
    assert await pair.there.exists("fd:{main}:ord:shop:during") == 1


async def verify_without_waiting(client: Client, pair: Pair) -> None:
    """Have *client* prove as the first one does, without the questions of the contract, which would wait."""
    assert pair.client.wire is not None
    assert client.wire is not None
    assert pair.client.wire._prover is not None
    client.wire.prove(pair.client.wire._prover._proof)
    ledger = RedisLedger(client, "main")
    with pytest.raises(StoreUnavailable):
        await pair.unproven(ledger._learn())


async def test_without_a_mark_a_repeat_is_believed_on_servers_that_count_from_the_last_write(
    pair: Pair,
) -> None:
    """The control of the test above: why a mark is written at all."""
    pair.pause()
    with pytest.raises(Unproven):
        await pair.unproven(write(pair.client))
    async with connect(pair.config, reveal) as another:
        assert another.wire is not None
        another.wire.prove(Proof(("PING",), ("WAIT", 1, 100), 1, 0.0))
        reading = asyncio.ensure_future(another.wire.call("GET", "fd:{main}:n"))
        if pair.primary.kind == "redis7":  # it counts from the last command
            with pytest.raises(Unproven):
                await reading
        else:
            assert await reading == b"1"
    pair.resume()


async def test_a_thousand_calls_cost_few_proofs_and_each_reply_reaches_its_caller(pair: Pair) -> None:
    wait = "waitaof" if pair.primary.kind == "valkey" else "wait"
    before = await pair.count(wait)
    assert pair.client.wire is not None
    said = await asyncio.gather(*(pair.client.wire.call("ECHO", number) for number in range(1000)))
    assert said == [b"%d" % number for number in range(1000)]
    assert 0 < await pair.count(wait) - before < 200


async def test_a_reading_is_proven_by_nobody(pair: Pair) -> None:
    pair.pause()
    assert pair.client.wire is not None
    assert await pair.client.wire.read("GET", "fd:{main}:n") is None
    pair.resume()


async def test_a_refusal_is_told_as_it_is_and_fails_its_own_call_alone(pair: Pair) -> None:
    wire = pair.client.wire
    assert wire is not None
    said = await asyncio.gather(
        wire.call("NONSENSE"), wire.call("ECHO", 1), wire.call("EVALSHA", "0" * 40, 0), return_exceptions=True
    )
    assert [one if isinstance(one, bytes) else type(one) for one in said] == [ResponseError, b"1", NoScriptError]


async def test_who_leaves_while_it_is_proven_takes_nothing_from_the_others(pair: Pair) -> None:
    pair.pause()
    asking = [asyncio.create_task(write(pair.client)) for _ in range(6)]
    await asyncio.sleep(0.05)
    asking += [asyncio.create_task(write(pair.client)) for _ in range(6)]  # the next group
    await asyncio.sleep(0.05)
    for task in asking[::2]:
        task.cancel()
    pair.resume()
    said = await asyncio.gather(*asking, return_exceptions=True)
    assert all(isinstance(one, asyncio.CancelledError) for one in said[::2])
    assert all(isinstance(one, int) for one in said[1::2]), said


async def test_what_drains_a_full_store_is_proven_too(pair: Pair) -> None:
    assert pair.client.wire is not None
    await pair.client.config_set("maxmemory", 1)
    drains = "#!lua flags=allow-oom\nreturn redis.call('SET', KEYS[1], '')"
    assert await pair.client.wire.call("EVAL", drains, 1, "fd:{main}:n") == b"OK"
    with pytest.raises(RedisError, match="OOM"):
        await write(pair.client)
    await pair.client.config_set("maxmemory", 0)


async def test_what_is_found_cancelled_is_no_answer_before_the_replica_has_it_though_a_reading_says_so(
    pair: Pair,
) -> None:
    ledger, book, ref = RedisLedger(pair.client, "main"), RedisOrderBook(pair.client, "main"), OrderRef("shop", "1")
    await ledger.accept([make_incoming("1")], ["erp"], since_ms=0)
    pair.pause()
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="0 of 1 replicas have it"):
            await pair.unproven(ledger.cancel(ref, by="shop", reason="regret"))
        found = await book.get(ref)
        assert found is not None
        assert found.state is OrderState.CANCELLED
    pair.resume()
    assert await ledger.cancel(ref, by="shop", reason="regret") is OrderState.CANCELLED
    there = await RedisOrderBook(pair.there, "main").get(ref)
    assert there is not None
    assert there.state is OrderState.CANCELLED


GATE: dict[str, Callable[[RedisBackendGate], Awaitable[None]]] = {
    "pause": lambda gate: gate.pause(reason="stock-taking", by="h"),
    "resume": lambda gate: gate.resume(by="h"),
    "another rate": lambda gate: gate.set_rate("5/s", by="h"),
    "the configured rate": lambda gate: gate.set_rate("", by="h"),
    "asked first": lambda gate: gate.ask_first("a backup was restored", by="h"),
    "asked no more": lambda gate: gate.ask_first("", by="h"),
}


@pytest.mark.parametrize("order", GATE.values(), ids=GATE)
async def test_what_a_human_orders_a_gate_is_answered_when_the_replica_has_it(
    pair: Pair, order: Callable[[RedisBackendGate], Awaitable[None]]
) -> None:
    here, there = (RedisBackendGate(client, "erp", FakeClock()) for client in (pair.client, pair.there))
    if order in (GATE["resume"], GATE["the configured rate"], GATE["asked no more"]):
        for before in ("pause", "another rate", "asked first"):
            await GATE[before](here)
    await order(here)
    assert await there.status() == await here.status()
    pair.pause()
    with pytest.raises(StoreUnavailable, match="0 of 1 replicas have it"):
        await pair.unproven(order(here))


async def test_a_primary_that_dies_in_between_leaves_nobody_waiting(pair: Pair) -> None:
    pair.pause()
    asking = [asyncio.create_task(write(pair.client)) for _ in range(5)]
    await asyncio.sleep(0.05)
    late = asyncio.create_task(write(pair.client))
    pair.primary.kill()
    async with asyncio.timeout(TIMEOUT_S / 2):
        said = await asyncio.gather(*asking, late, return_exceptions=True)
    assert all(isinstance(one, RedisError) and not isinstance(one, RedisTimeoutError) for one in said), said
    pair.primary.start()


async def test_without_its_replica_a_primary_is_not_begun_with_and_found_out_later(pair: Pair) -> None:
    clock = FakeClock()
    contract = await verify(pair.client, pair.config, ["main"], clock)
    watch = RedisWatch(pair.client, pair.config, contract, clock)
    assert (await watch.probe()).ok
    await pair.there.replicaof("NO", "ONE")
    health = await pair.unproven(watch.probe())
    assert not health.ok
    assert "0 of 1 replicas" in health.reason
    with pytest.raises(StoreUnavailable, match=r"0 of 1 replicas follow the server.*lower \[store\] replicas"):
        await pair.unproven(verify(pair.client, pair.config, ["main"], clock))
    await pair.there.replicaof("127.0.0.1", pair.primary.settings["port"])


@pytest.mark.parametrize(
    ("kind", "durability", "wait"),
    [
        (ServerKind("redis", "7.0.15"), "fsync", ("WAIT", 2, 1000)),
        (ServerKind("redis", "7.2.1"), "fsync", ("WAITAOF", 1, 2, 100)),
        (ServerKind("valkey", "9.1.2"), "fsync", ("WAITAOF", 1, 2, 100)),
        (ServerKind("valkey", "9.1.2"), "everysec", ("WAIT", 2, 1000)),
    ],
)
def test_what_is_fsynced_here_is_fsynced_there_where_the_server_can_say_so(
    kind: ServerKind, durability: str, wait: tuple[str | int, ...]
) -> None:
    proof = proof_of(kind, 2, durability, 2.0, ("PING",))
    assert proof is not None
    assert proof.wait == wait
    assert proof_of(kind, 0, durability, 2.0, ("PING",)) is None
    assert proof.lacks([1, 2]) == proof.lacks(2) == proof.lacks(3) == ""
    assert proof.lacks([0, 2]) == "the primary has not fsynced it"
    assert proof.lacks([1, 1]) == proof.lacks(1) == "1 of 2 replicas have it"
