"""Real Sentinels and a real Cluster: the store finds its primary, and finds it again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError

from flashd.config import Secret, SecretText, StoreConfig
from flashd.domain.event import Event
from flashd.domain.stock import StockLevel
from flashd.errors import ConfigError, StoreUnavailable
from flashd.store.admission import Primacy
from flashd.store.audit import audit
from flashd.store.client import Client
from flashd.store.connection import connect, listen
from flashd.store.contract import verify
from flashd.store.feed import RedisAnnouncer, RedisFeed
from flashd.store.gate import RedisBackendGate
from flashd.store.keys import backend_key, generation_key
from flashd.store.ledger import RedisLedger
from flashd.store.watch import watch_over
from tests.deployments.cluster import ClusterOfThree, slot_of
from tests.deployments.node import holds
from tests.deployments.sentinel import SentinelTrio
from tests.e2e.process import free_port
from tests.fakes.clock import FakeClock
from tests.servers import Server, find_server, missing

POOLS = ("north", "west", "south", "web", "east")  # two, two and one on the three servers


def reveal(secret: Secret) -> SecretText:
    return SecretText(secret.env or "")


@pytest.fixture(params=["valkey", pytest.param("redis7", marks=pytest.mark.slow)])
def kind(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    if find_server(found) is None:
        pytest.skip(missing(found))
    return found


@asynccontextmanager
async def opened(url: str, tmp_path: Path, pools: Sequence[str], **more: Any) -> AsyncIterator[tuple[Client, Any]]:
    """A client whose contract holds, and its watch."""
    config = StoreConfig(url=url, state_dir=str(tmp_path), timeout_s=1.0, **more)
    clock = FakeClock()
    async with connect(config, reveal) as client:
        contract = await verify(client, config, pools, clock)
        yield client, watch_over(client, config, contract, clock)


async def port_of(client: Any) -> int:
    return int((await client.info("server"))["tcp_port"])


async def test_a_primary_that_sentinels_replaced_is_found_again_with_all_that_was_answered(
    kind: str, tmp_path: Path
) -> None:
    async with (
        SentinelTrio(kind, replicas=2) as trio,
        opened(f"{trio.url}?db=0", tmp_path, ["main"], replicas=1) as (client, watch),
    ):
        ledger = RedisLedger(client, "main")
        await ledger.recount(StockLevel(sku="tee", location="main", on_hand=5))
        health = await watch.probe()
        assert health.ok
        old = await trio.primary()
        assert await port_of(client) == old.port
        old.kill()
        with pytest.raises(StoreUnavailable):
            await ledger.levels()
        assert not (await watch.probe()).ok
        elected = await trio.failed_over(old)

        async def back() -> bool:
            return bool((await watch.probe()).ok)

        await holds(back, "the new primary is used", within_s=15)
        assert [level.on_hand for level in await ledger.levels()] == [5]
        assert await port_of(client) == elected.port
        assert (await watch.probe()).run != health.run


async def test_a_cluster_is_one_store_whose_pools_and_gates_are_each_at_home_somewhere(
    kind: str, tmp_path: Path
) -> None:
    async with ClusterOfThree(kind) as cluster, opened(cluster.url, tmp_path, POOLS) as (client, watch):
        for pool in POOLS:
            one = client.at(generation_key(pool))
            await RedisLedger(one, pool).recount(StockLevel(sku="tee", location="main", on_hand=5))
            assert await port_of(one) == (await cluster.node_of(pool)).port
            assert (await audit(one, pool)).ok
        gate = RedisBackendGate(client.at(backend_key("erp", "lease")), "erp", FakeClock())
        assert await gate.lead("us", 1000) is not None
        await gate.pause(reason="a test", by="ann")
        assert (await gate.status()).paused
        await hears_of_every_pool(client, cluster.url)
        await moves(cluster, client, "south")
        await closes_alone(cluster, watch, "north")


async def hears_of_every_pool(client: Client, url: str) -> None:
    """A subscriber on any server hears what is published on all."""
    listener = listen(StoreConfig(url=url), reveal)
    try:
        for pool in POOLS:
            feed = RedisFeed(client.at(generation_key(pool)), listener, pool, poll_s=60)
            events = feed.follow()
            hearing = asyncio.ensure_future(anext(events))
            announcer, told = RedisAnnouncer(client), False
            while not told:  # until it has subscribed
                await announcer.announce(pool, "alert.raised", {"n": 1})
                told = bool((await asyncio.wait([hearing], timeout=0.05))[0])
            heard = hearing.result()
            assert isinstance(heard, Event)
            assert heard.kind == "alert.raised"
            await events.aclose()
    finally:
        await listener.aclose()


async def moves(cluster: ClusterOfThree, client: Client, pool: str) -> None:
    """A slot moves: a script follows it, a reading is refused once, and what is open elsewhere is not touched."""
    one = client.at(generation_key(pool))
    ledger = RedisLedger(one, pool)
    source = await cluster.node_of(pool)
    to = next(node for node in cluster.nodes if node is not source)
    assert await cluster.move_slot(slot_of(pool), to) > 0
    counted = await ledger.recount(StockLevel(sku="tee", location="main", on_hand=6))
    assert counted.on_hand == 6
    stale = 0
    for _ in range(3):
        try:
            await one.exists(generation_key(pool))
        except MovedError:
            stale += 1
    assert stale <= 1, "one connection told, and the others did not listen"
    assert await port_of(one) == to.port


async def closes_alone(cluster: ClusterOfThree, watch: Any, pool: str) -> None:
    """A server dies: its own pools are closed, and open again when it is back."""
    node = await cluster.node_of(pool)
    hit = {one for one in POOLS if await cluster.node_of(one) is node}
    assert 0 < len(hit) < len(POOLS)
    node.pause()
    health = await watch.probe()
    assert (health.ok, set(health.closed)) == (True, hit)
    assert "it has not answered for 0.8 s" in health.reason
    node.resume()

    async def open_again() -> bool:
        return not (await watch.probe()).closed

    await holds(open_again, "all pools are open", within_s=15)


@asynccontextmanager
async def sentinel_that_says(answer: bytes) -> AsyncIterator[str]:
    """The URL of one who answers every question so."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(1000):
            writer.write(answer)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"sentinel://127.0.0.1:{server.sockets[0].getsockname()[1]}/shop"
    finally:
        server.close()


def named(port: int) -> bytes:
    return b"*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%d\r\n" % (len(str(port)), port)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"*-1\r\n", "watches no 'shop'"),
        (b"-NOAUTH Authentication required.\r\n", "sentinel_username and sentinel_password"),
        (b"-ERR unknown command 'SENTINEL'\r\n", "does not know the question"),
    ],
)
async def test_sentinels_that_cannot_tell_are_a_mistake_of_the_file(answer: bytes, says: str, tmp_path: Path) -> None:
    async with sentinel_that_says(answer) as url:
        with pytest.raises(ConfigError, match=says):
            async with opened(url, tmp_path, ["main"]):
                pass


async def test_sentinels_that_are_not_there_are_waited_for(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"nobody of 127\.0\.0\.1:1 says"):
        async with opened("sentinel://127.0.0.1:1/shop", tmp_path, ["main"]):
            pass


async def test_a_server_that_stands_alone_is_no_cluster_and_one_of_a_cluster_is_no_store_by_itself(
    kind: str, tmp_path: Path
) -> None:
    alone = await ClusterOfThree(kind)._node(kind, 0).start()
    try:
        with pytest.raises(ConfigError, match=r"is part of a Cluster.*cluster://"):
            async with opened(f"redis://{alone.address}", tmp_path, ["main"]):
                pass
    finally:
        await alone.close()


async def test_a_server_that_does_not_lead_is_refused_on_every_connection_though_a_sentinel_names_it(
    kind: str, tmp_path: Path
) -> None:
    port = free_port()
    server = Server(kind, {"bind": "127.0.0.1", "port": str(port)}).start()
    try:
        async with sentinel_that_says(named(port)) as url, opened(url, tmp_path, ["main"]) as (client, watch):
            assert (await watch.probe()).ok
            assert client.wire is not None
            await client.replicaof("127.0.0.1", 1)
            assert "READONLY" in (await watch.probe()).reason
            refused = "is refused: the server's role is slave"
            with pytest.raises(RedisConnectionError, match=refused):
                await client.wire.call("PING")
            with pytest.raises(RedisConnectionError, match=refused):
                await client.ping()
            assert refused in (await watch.probe()).reason
    finally:
        server.close()


def test_who_was_elected_must_keep_what_the_contract_asks_and_know_the_pools() -> None:
    primacy = Primacy()
    assert primacy.questions() == [("ROLE",)]
    assert primacy.refuse([[b"master", 0, []]]) == ""
    assert "role is slave" in primacy.refuse([[b"slave", b"127.0.0.1", 1, b"connected", 0]])
    primacy.expect("fsync", {"main": "g1"})
    master = [b"master", 0, []]
    fine = [b"appendonly", b"yes", b"appendfsync", b"always", b"no-appendfsync-on-rewrite", b"no"]
    fine += [b"maxmemory-policy", b"noeviction"]
    assert len(primacy.questions()) == 3
    assert primacy.refuse([master, fine, b"g1"]) == ""
    by_resp3 = dict(zip(fine[::2], fine[1::2], strict=True))
    assert primacy.refuse([master, by_resp3, b"g1"]) == ""
    assert "appendfsync is no" in primacy.refuse([master, by_resp3 | {b"appendfsync": b"no"}, b"g1"])
    assert "never was a replica of this store" in primacy.refuse([master, fine, None])
    assert "another life" in primacy.refuse([master, fine, b"g2"])
