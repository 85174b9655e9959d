"""Real Sentinels and a real Cluster: the store finds its primary, and finds it again."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError

from flashd.config import Secret, SecretText, StoreConfig
from flashd.domain.event import Event
from flashd.domain.stock import StockLevel
from flashd.errors import ConfigError, StoreUnavailable
from flashd.ports import StoreWatch
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
from tests.deployments.node import Node, holds
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


@dataclass
class Opened:
    """A client whose contract holds, and its watch."""

    client: Client
    watch: StoreWatch
    clock: FakeClock

    async def back(self) -> bool:
        """Say whether everything is open."""
        health = await self.watch.probe()
        return health.ok and not health.closed


@asynccontextmanager
async def opened(url: str, tmp_path: Path, pools: Sequence[str] = ("main",), **more: Any) -> AsyncIterator[Opened]:
    config = StoreConfig(url=url, state_dir=str(tmp_path), timeout_s=1.0, **more)
    clock = FakeClock()
    async with connect(config, reveal) as client:
        contract = await verify(client, config, pools, clock)
        yield Opened(client, watch_over(client, config, contract, clock), clock)


async def port_of(client: Any) -> int:
    return int((await client.info("server"))["tcp_port"])


@pytest.mark.slow
async def test_a_primary_that_sentinels_replaced_is_found_again_with_all_that_was_answered(
    kind: str, tmp_path: Path
) -> None:
    async with SentinelTrio(kind, replicas=2) as trio, opened(f"{trio.url}?db=0", tmp_path, replicas=1) as store:
        ledger = RedisLedger(store.client, "main")
        await ledger.recount(StockLevel(sku="tee", location="main", on_hand=5))
        health = await store.watch.probe()
        assert health.ok
        old = await trio.primary()
        assert await port_of(store.client) == old.port
        old.kill()
        with pytest.raises(StoreUnavailable):
            await ledger.levels()
        assert not (await store.watch.probe()).ok
        elected = await trio.failed_over(old)
        await holds(store.back, "the new primary is used", within_s=60)
        assert [level.on_hand for level in await ledger.levels()] == [5]
        assert await port_of(store.client) == elected.port
        assert (await store.watch.probe()).run != health.run


async def test_a_cluster_is_one_store_whose_pools_and_gates_are_each_at_home_somewhere(
    kind: str, tmp_path: Path
) -> None:
    async with ClusterOfThree(kind) as cluster, opened(cluster.url, tmp_path, POOLS) as store:
        client = store.client
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
        await closes_alone(cluster, store, "north")


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
    """A slot moves: half way nothing runs, then a script follows it, and one reading at most is refused."""
    one = client.at(generation_key(pool))
    ledger = RedisLedger(one, pool)
    source = await cluster.node_of(pool)
    to = next(node for node in cluster.nodes if node is not source)
    slot, ids = slot_of(pool), [await node.call("CLUSTER", "MYID") for node in (source, to)]
    await to.call("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
    await source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
    await source.call("MIGRATE", "127.0.0.1", to.port, generation_key(pool), 0, 5000)
    with pytest.raises(StoreUnavailable, match=r"TryAgainError|AskError"):
        await ledger.recount(StockLevel(sku="mug", location="main", on_hand=9))
    assert await cluster.move_slot(slot, to) > 0
    assert [level.sku for level in await levels(ledger)] == ["tee"], "what was refused half way had run"
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


async def levels(ledger: RedisLedger) -> list[StockLevel]:
    """Return the counters; the first reading after a move may be refused."""
    try:
        return await ledger.levels()
    except StoreUnavailable:
        return await ledger.levels()


async def closes_alone(cluster: ClusterOfThree, store: Opened, pool: str) -> None:
    """A server dies: its own pools are closed, and open again when it is back."""
    node = await cluster.node_of(pool)
    hit = {one for one in POOLS if await cluster.node_of(one) is node}
    assert 0 < len(hit) < len(POOLS)
    node.pause()
    health = await store.watch.probe()
    assert (health.ok, set(health.closed)) == (True, hit)
    assert "it has not answered for 0.8 s" in health.reason
    node.resume()
    await holds(store.back, "all pools are open", within_s=60)


class Sentinel:
    """One who answers every question by *says*."""

    def __init__(self, says: bytes) -> None:
        self.says = says
        self.url = ""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(1000):
            writer.write(self.says)
        await reader.read()
        writer.close()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"sentinel://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/shop"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()


@contextmanager
def server_of(kind: str, **settings: str) -> Iterator[tuple[Server, int]]:
    """A server that listens on a port."""
    port = free_port()
    server = Server(kind, {"bind": "127.0.0.1", "port": str(port), "repl-diskless-sync-delay": "0", **settings})
    try:
        yield server.start(), port
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
    async with Sentinel(answer) as sentinel:
        with pytest.raises(ConfigError, match=says):
            async with opened(sentinel.url, tmp_path):
                pass


async def test_the_sentinels_have_a_login_of_their_own_that_may_ask_one_question_alone(
    kind: str, tmp_path: Path
) -> None:
    with server_of(kind) as (_, port):
        sentinel = Node(kind, tmp_path / "sentinel", arguments=("--sentinel",))
        sentinel.settings = {
            "sentinel monitor shop": f"127.0.0.1 {port} 1",
            "user asker": "on >sesame -@all +auth +sentinel|get-master-addr-by-name",
        }
        await sentinel.start()
        login: dict[str, Any] = {"sentinel_username": "asker", "sentinel_password": Secret(env="sesame")}
        try:
            async with opened(f"sentinel://{sentinel.address}/shop", tmp_path, **login) as store:
                assert (await store.watch.probe()).ok
            login["sentinel_password"] = Secret(env="opensesame")
            with pytest.raises(ConfigError, match="sentinel_username and sentinel_password") as caught:
                async with opened(f"sentinel://{sentinel.address}/shop", tmp_path, **login):
                    pass
            assert "opensesame" not in str(caught.value)
        finally:
            await sentinel.close()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 that signs itself, and its key beside it."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    path = tmp_path / "cert.pem"
    request = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=flashd"
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(tmp_path / "key.pem"), "-out", str(path)]
    subprocess.run([*request.split(), *files], check=True, capture_output=True)
    return path


async def is_up(ask: Any) -> bool:
    return b"cluster_state:ok" in await ask("CLUSTER", "INFO")


@pytest.mark.slow
async def test_a_cluster_is_asked_and_used_over_tls(certificate: Path, tmp_path: Path) -> None:
    if find_server("redis7") is None:
        pytest.skip(missing("redis7"))
    port = free_port()
    settings = {"tls-port": str(port), "bind": "127.0.0.1", "tls-auth-clients": "no", "tls-cluster": "yes"}
    settings |= {"cluster-enabled": "yes", "cluster-port": str(free_port()), "tls-ca-cert-file": str(certificate)}
    settings |= {"tls-cert-file": str(certificate), "tls-key-file": str(certificate.with_name("key.pem"))}
    server = Server("redis7", settings).start()
    try:
        async with connect(StoreConfig(url=server.url), reveal) as admin:
            ask: Any = admin.execute_command
            await ask("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            await holds(lambda: is_up(ask), "the Cluster is up")
        async with opened(f"cluster://127.0.0.1:{port}", tmp_path, POOLS[:2], ca_file=str(certificate)) as store:
            assert (await store.watch.probe()).ok
        with pytest.raises(StoreUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            async with opened(f"cluster://127.0.0.1:{port}?tls=true", tmp_path):
                pass
    finally:
        server.close()


async def test_sentinels_that_are_not_there_are_waited_for(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"nobody of 127\.0\.0\.1:1 says"):
        async with opened("sentinel://127.0.0.1:1/shop", tmp_path):
            pass


async def test_one_server_of_a_cluster_is_no_store_by_itself(kind: str, tmp_path: Path) -> None:
    alone = server_of(kind, **{"cluster-enabled": "yes", "cluster-port": str(free_port())})
    with alone as (_, port), pytest.raises(ConfigError, match=r"is part of a Cluster.*cluster://"):
        async with opened(f"redis://127.0.0.1:{port}", tmp_path):
            pass


async def test_a_server_that_stands_alone_is_no_cluster(kind: str, tmp_path: Path) -> None:
    with server_of(kind) as (_, port), pytest.raises(ConfigError, match="cluster support disabled"):
        async with opened(f"cluster://127.0.0.1:{port}", tmp_path):
            pass


async def test_a_server_that_does_not_lead_is_refused_on_every_connection_though_a_sentinel_names_it(
    kind: str, tmp_path: Path
) -> None:
    with server_of(kind) as (_, port):
        async with Sentinel(named(port)) as sentinel, opened(sentinel.url, tmp_path) as store:
            assert (await store.watch.probe()).ok
            assert store.client.wire is not None
            await store.client.replicaof("127.0.0.1", 1)
            assert "READONLY" in (await store.watch.probe()).reason
            refused = "is refused: the server's role is slave"
            with pytest.raises(RedisConnectionError, match=refused):
                await store.client.wire.call("PING")
            with pytest.raises(RedisConnectionError, match=refused):
                await store.client.ping()
            assert refused in (await store.watch.probe()).reason


async def test_a_primary_that_was_deposed_behind_its_back_is_left_and_a_stranger_is_not_believed(
    kind: str, tmp_path: Path
) -> None:
    with server_of(kind) as (_, deposed), server_of(kind) as (heir, port), server_of(kind) as (_, stranger):
        async with Sentinel(named(deposed)) as sentinel, opened(sentinel.url, tmp_path) as store:
            assert (await store.watch.probe()).ok
            sentinel.says = named(stranger)
            await store.clock.advance(5)
            assert "never was a replica of this store" in (await store.watch.probe()).reason
            sentinel.says = named(deposed)
            assert (await store.watch.probe()).ok
            async with connect(StoreConfig(url=heir.url), reveal) as there:
                await there.replicaof("127.0.0.1", str(deposed))
                await holds(lambda: followed(there), "the heir has all")
                await there.replicaof("NO", "ONE")
            sentinel.says = named(port)
            assert await port_of(store.client) == deposed, "it was left before anybody asked"
            await store.clock.advance(5)
            assert (await store.watch.probe()).ok
            assert store.client.wire is not None
            assert f"tcp_port:{port}\r\n".encode() in await store.client.wire.call("INFO", "server")
            assert await port_of(store.client) == port


async def followed(client: Redis) -> bool:
    return bool((await client.info("replication"))["master_link_status"] == "up")


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
