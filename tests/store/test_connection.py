from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from flashd.config import Secret, SecretText, StoreConfig
from flashd.errors import ConfigError
from flashd.store.address import Address, Node, read_address
from flashd.store.connection import connect, listen
from tests.conftest import PassTime
from tests.servers import Server, find_server, missing


def reveal(secret: Secret) -> SecretText:
    return SecretText(secret.env or "")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://db:7000/3", Address("redis", "db", 7000, db=3)),
        ("redis://db", Address("redis", "db", 6379)),
        ("rediss://flashd@db:7000/1", Address("rediss", "db", 7000, db=1, username="flashd")),
        ("unix:///run/valkey.sock", Address("unix", path="/run/valkey.sock")),
        ("unix:///run/valkey.sock?db=2", Address("unix", path="/run/valkey.sock", db=2)),
        (
            "sentinel://a:1,b/mymaster?db=2&tls=true",
            Address("sentinel", db=2, nodes=(Node("a", 1), Node("b", 26379)), service="mymaster", tls=True),
        ),
        ("cluster://me@a,[::1]:2", Address("cluster", nodes=(Node("a", 6379), Node("::1", 2)), username="me")),
    ],
)
def test_an_address_is_read_as_it_is_written(url: str, address: Address) -> None:
    assert read_address(url) == address


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sentinel://a,b", "name the service"),
        ("sentinel://a,b:port/mymaster", "'b:port' is not host:port"),
        ("sentinel://a,,b/mymaster", "'' is not host:port"),
        ("sentinel://a:70000/mymaster", "'a:70000' is not host:port"),
        ("sentinel://a/mymaster?db=one", "'one' is not a database number"),
        ("sentinel://a/mymaster?tls=maybe", "wanted: true or false"),
        ("sentinel://a/mymaster?ssl=true", "'ssl' is not known"),
        ("sentinel://:hunter2@a,b/mymaster", "secrets never stand inline"),
        ("cluster://u:hunter2@a", "secrets never stand inline"),
        ("cluster://a/mymaster", "no service and no database"),
        ("cluster://a?db=1", "no service and no database"),
        ("cluster://[::1", "Invalid IPv6"),
        ("http://a", "'http' is not known"),
        ("redis://:hunter2@db", "secrets never stand inline"),
        ("redis://db/main", "'main' is not a database number"),
        ("redis://:hunter2@db:port", "secrets never stand inline"),
        ("redis://db:port", "Port could not be cast"),
        ("unix://valkey.sock", "absolute path"),
    ],
)
def test_an_address_of_no_use_is_refused_with_the_reason(url: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        read_address(url)
    assert "hunter2" not in str(caught.value)


def test_sentinels_named_in_another_order_watch_the_same_store() -> None:
    labels = [str(read_address(f"sentinel://{names}/shop")) for names in ("a,b:1,[::1]", "[::1],b:1,a")]
    assert labels == ["sentinel://[::1]:26379,a:26379,b:1/shop?db=0"] * 2


async def test_the_password_and_the_database_reach_the_server(server: Server) -> None:
    config = StoreConfig(
        url=f"{server.url}?db=3", username="flashd-test", password=Secret(env="opensesame"), connections=2
    )
    admin = connect(StoreConfig(url=server.url), reveal)
    await admin.acl_setuser("flashd-test", enabled=True, passwords=["+opensesame"], categories=["+@all"], keys=["*"])
    client = connect(config, reveal)
    try:
        assert await client.acl_whoami() == "flashd-test"
        await client.set("where", "3")
        assert (await admin.info("keyspace"))["db3"]["keys"] == 1
    finally:
        await client.flushdb()
        await admin.acl_deluser("flashd-test")
        await client.aclose()
        await admin.aclose()


async def test_a_lost_reply_is_not_asked_for_again(server: Server, pass_time: PassTime) -> None:
    client = connect(StoreConfig(url=server.url, timeout_s=600), reveal)
    admin = connect(StoreConfig(url=server.url), reveal)
    try:
        await client.ping()
        await admin.config_resetstat()
        await admin.client_pause(60_000, all=False)  # writes wait; the reply comes too late
        asking = asyncio.ensure_future(client.incr("n"))
        async with asyncio.timeout(30):
            while "incrby" not in [one["cmd"] for one in await admin.client_list()]:  # noqa: ASYNC110  # what Redis has
                await asyncio.sleep(0.01)
        pass_time(600)
        await asyncio.wait({asking}, timeout=0.1)
        await admin.client_unpause()  # who asked again would be answered
        with pytest.raises(RedisTimeoutError):
            await asking
        assert await admin.get("n") in (None, b"1")
        assert (await admin.info("commandstats")).get("cmdstat_incrby", {"calls": 0})["calls"] <= 1
    finally:
        await admin.delete("n")
        await client.aclose()
        await admin.aclose()


async def test_what_does_not_close_in_time_is_left_without_a_word(pass_time: PassTime) -> None:
    server = Server("valkey").start()
    assert server.process is not None
    client = connect(StoreConfig(url=server.url, timeout_s=600), reveal)
    try:
        await client.ping()
        server.process.send_signal(signal.SIGSTOP)
        asking = asyncio.ensure_future(client.set("much", b"x" * 5_000_000))  # more than a socket holds
        await asyncio.wait({asking}, timeout=0.1)
        closing = asyncio.create_task(client.aclose())
        while not closing.done():
            await asyncio.wait({closing}, timeout=0.05)
            pass_time(600)
        await closing
    finally:
        server.close()
    with pytest.raises((RedisConnectionError, RedisTimeoutError)):
        await asking


async def test_more_callers_than_connections_wait_for_their_turn(server: Server) -> None:
    client = connect(StoreConfig(url=server.url, connections=2), reveal)
    try:
        assert all(await asyncio.gather(*(client.ping() for _ in range(300))))
    finally:
        await client.aclose()


async def test_subscribers_do_not_take_the_connections_of_commands(server: Server) -> None:
    config = StoreConfig(url=server.url, connections=2)
    client, listener = connect(config, reveal), listen(config, reveal)
    pubsubs = [listener.pubsub() for _ in range(5)]
    try:
        for pubsub in pubsubs:
            await pubsub.subscribe("topic")
        assert await client.ping()
    finally:
        for pubsub in pubsubs:
            await pubsub.aclose()  # type: ignore[no-untyped-call]  # redis-py left it untyped
        await client.aclose()
        await listener.aclose()


async def test_a_server_that_is_not_there_is_said_at_once() -> None:
    client = connect(StoreConfig(url="unix:///nonexistent/sock"), reveal)
    with pytest.raises(RedisConnectionError):
        await client.ping()
    await client.aclose()


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


async def test_tls_is_proven_by_the_ca_file_and_refused_without_it(certificate: Path) -> None:
    if find_server("redis7") is None:
        pytest.skip(missing("redis7"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {"tls-port": str(port), "bind": "127.0.0.1", "tls-auth-clients": "no"}
    settings |= {"tls-cert-file": str(certificate), "tls-key-file": str(certificate.with_name("key.pem"))}
    settings |= {"tls-ca-cert-file": str(certificate)}
    server = Server("redis7", settings=settings).start()
    url = f"rediss://127.0.0.1:{port}/0"
    trusting = connect(StoreConfig(url=url, ca_file=str(certificate)), reveal)
    wary = connect(StoreConfig(url=url), reveal)
    try:
        assert await trusting.ping()
        with pytest.raises(RedisConnectionError):
            await wary.ping()
        assert trusting.wire is not None
        assert wary.wire is not None
        assert await trusting.wire.call("PING") == b"PONG"
        with pytest.raises(RedisConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
            await wary.wire.call("PING")
    finally:
        await trusting.aclose()
        await wary.aclose()
        server.close()


async def test_scripts_go_over_tcp_too(tmp_path: Path) -> None:
    if find_server("valkey") is None:
        pytest.skip(missing("valkey"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Server("valkey", settings={"port": str(port), "bind": "127.0.0.1"}).start()
    client = connect(StoreConfig(url=f"redis://127.0.0.1:{port}/2"), reveal)
    try:
        assert client.wire is not None
        assert b" db=2 " in await client.wire.call("CLIENT", "INFO")
    finally:
        await client.aclose()
        server.close()


async def test_a_cancellation_at_any_moment_of_a_command_is_never_lost(server: Server) -> None:
    client = connect(StoreConfig(url=server.url, connections=2), reveal)
    reached_the_end = 0
    for turns in range(60):
        if turns % 2:
            await client.connection_pool.disconnect()  # the next command connects first
        done = asyncio.Event()

        async def ask(done: asyncio.Event) -> None:
            await client.get("x")
            done.set()
            await asyncio.Event().wait()

        asking = asyncio.create_task(ask(done))
        for _ in range(turns):
            await asyncio.sleep(0)
        reached_the_end += done.is_set()
        asking.cancel()
        _, deaf = await asyncio.wait({asking}, timeout=2)
        asking.cancel()
        assert not deaf, f"cancelled in turn {turns}, it went on"
    assert reached_the_end < 60, "none was cancelled in the middle"
    assert await client.get("x") is None
    await client.aclose()
