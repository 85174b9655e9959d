"""The connection that carries the scripts: each reply to its caller, each command once, whatever breaks."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uvloop
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from flashd.config import Secret, SecretText, StoreConfig
from flashd.store.client import Client
from flashd.store.connection import connect
from flashd.store.refusals import refusal
from flashd.store.scripts import load
from flashd.store.wire import CALLS, Wire
from tests.conftest import PassTime
from tests.fakes.cutting_proxy import CuttingProxy
from tests.servers import Server
from tests.until import until


def reveal(secret: Secret) -> SecretText:
    return SecretText(secret.env or "")


def wire_to(path: str, **options: float) -> Wire:
    client = connect(StoreConfig(url=f"unix://{path}", timeout_s=options.pop("timeout_s", 60.0)), reveal)
    assert client.wire is not None
    return Wire(client.wire.dial, timeout_s=client.wire.timeout_s, **options)  # type: ignore[arg-type]  # counts


@pytest.fixture
async def proxy(valkey: Server, tmp_path: Path) -> AsyncIterator[CuttingProxy]:
    async with CuttingProxy(valkey.socket_path, tmp_path / "p") as proxy:
        yield proxy


@pytest.fixture
async def wire(proxy: CuttingProxy) -> AsyncIterator[Wire]:
    wire = wire_to(proxy.path)
    await wire.call("FLUSHALL")
    yield wire
    assert wire._calls_left == CALLS, "room was lost"
    await wire.close()


async def outcome(wire: Wire, *command: str | int) -> object:
    try:
        return await wire.call(*command)
    except RedisError as error:
        return type(error)


async def test_each_reply_reaches_its_caller_over_one_connection(wire: Wire, proxy: CuttingProxy) -> None:
    said = await asyncio.gather(*(wire.call("ECHO", number) for number in range(2000)))
    assert said == [b"%d" % number for number in range(2000)]
    assert proxy.opened == 1


async def test_a_refusal_fails_its_own_call_alone(wire: Wire) -> None:
    said = await asyncio.gather(outcome(wire, "ECHO", 1), outcome(wire, "NONSENSE"), outcome(wire, "ECHO", 2))
    assert [*said] == [b"1", ResponseError, b"2"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("NOSCRIPT No matching script.", NoScriptError),
        ("OOM command not allowed when used memory > 'maxmemory'.", OutOfMemoryError),
        ("READONLY You can't write against a read only replica.", ReadOnlyError),
        ("LOADING Valkey is loading the dataset in memory", BusyLoadingError),
        ("WRONGPASS invalid username-password pair", AuthenticationError),
        ("ERR flashd: accept wants fourteen arguments", ResponseError),
    ],
)
def test_a_server_s_error_is_what_redis_py_makes_of_it(text: str, kind: type[Exception]) -> None:
    assert type(refusal(text)) is kind
    assert str(refusal(text)) == text


async def test_cut_in_the_middle_of_a_reply_all_in_flight_fail_and_nothing_is_sent_again(
    wire: Wire, proxy: CuttingProxy
) -> None:
    proxy.lets_through = len(b":1\r\n:2\r\n:")
    said = await asyncio.gather(*(outcome(wire, "INCR", "n") for _ in range(5)))
    assert said == [1, 2, RedisConnectionError, RedisConnectionError, RedisConnectionError]
    assert await wire.call("GET", "n") == b"5", "each was written once"
    assert (proxy.cuts, proxy.opened) == (1, 2)


async def test_a_lost_reply_is_not_asked_for_again(wire: Wire, proxy: CuttingProxy) -> None:
    proxy.swallows = True
    assert await outcome(wire, "INCR", "n") is RedisConnectionError
    proxy.swallows = False
    assert await wire.call("GET", "n") == b"1"


async def test_a_store_that_hangs_is_answered_in_time_and_its_late_reply_reaches_nobody(
    valkey: Server, proxy: CuttingProxy, pass_time: PassTime
) -> None:
    wire = wire_to(proxy.path, timeout_s=60)
    await wire.call("FLUSHALL")
    proxy.withholds = True
    first = asyncio.create_task(outcome(wire, "INCR", "n"))
    await asyncio.sleep(0)
    pass_time(40)
    second = asyncio.create_task(outcome(wire, "ECHO", "second"))
    await asyncio.sleep(0)
    pass_time(21)
    assert await asyncio.wait_for(first, 20) is RedisTimeoutError
    # The connection may be dead: it carries no new call. The second, which is on it, keeps its own time.
    other = asyncio.create_task(outcome(wire, "ECHO", "other"))
    await until(lambda: proxy.opened == 2, "a new connection")
    proxy.release()
    assert await second == b"second"
    assert await other == b"other"
    assert await wire.call("GET", "n") == b"1"
    await until(lambda: proxy.open == 1, "the retired one is closed with its last reply")
    await wire.close()


async def test_a_store_that_is_dead_without_a_word_is_left_by_all(proxy: CuttingProxy, pass_time: PassTime) -> None:
    wire = wire_to(proxy.path, timeout_s=60)
    await wire.call("PING")
    proxy.withholds = True
    asking = asyncio.gather(*(outcome(wire, "ECHO", number) for number in range(10)))
    await asyncio.sleep(0)
    pass_time(61)
    assert await asyncio.wait_for(asking, 20) == [RedisTimeoutError] * 10
    await until(lambda: wire._lines == set(), "the connection is given up")
    assert wire._calls_left == CALLS
    await wire.close()


async def test_a_server_that_is_killed_fails_what_is_in_flight_and_is_found_again(tmp_path: Path) -> None:
    server = Server("valkey").start()
    wire = wire_to(server.socket_path)
    try:
        await wire.call("INCR", "n")
        asleep = [asyncio.create_task(outcome(wire, "BLPOP", "none", 0)) for _ in range(3)]
        await asyncio.sleep(0.05)
        server.kill()
        assert await asyncio.gather(*asleep) == [RedisConnectionError] * 3
        assert await outcome(wire, "GET", "n") is RedisConnectionError
        server.start()
        assert await wire.call("GET", "n") == b"1"
    finally:
        await wire.close()
        server.close()


async def storm(path: str) -> tuple[int, int]:
    """Cancel many of 6,000 calls at any moment; return how many were answered and how many were cancelled."""
    wire, chance = wire_to(path), random.Random(7)

    async def ask(number: int) -> None:
        assert await wire.call("ECHO", number) == b"%d" % number, "the reply to another"

    answered = cancelled = 0
    for begin in range(0, 6000, 1000):
        asking = [asyncio.create_task(ask(begin + number)) for number in range(1000)]
        await asyncio.sleep(0)  # some are written now, the others wait for room
        for task in chance.sample(asking, 500):
            if chance.random() < 0.02:
                await asyncio.sleep(0)
            task.cancel()
        for said in await asyncio.gather(*asking, return_exceptions=True):
            if isinstance(said, asyncio.CancelledError):
                cancelled += 1
            else:
                assert said is None
                answered += 1
    assert await wire.call("ECHO", "last") == b"last"
    assert wire._calls_left == CALLS
    await wire.close()
    return answered, cancelled


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_in_a_storm_of_cancellations_no_reply_reaches_the_wrong_caller(valkey: Server, loop: str) -> None:
    answered, cancelled = (asyncio if loop == "asyncio" else uvloop).run(storm(valkey.socket_path))
    assert answered + cancelled == 6000
    assert answered > 1000
    assert cancelled > 500


async def test_a_caller_who_left_while_the_connection_opened_shifts_no_reply(proxy: CuttingProxy) -> None:
    wire = wire_to(proxy.path)
    leaving = asyncio.create_task(wire.call("ECHO", "left"))
    staying = asyncio.create_task(wire.call("ECHO", "stayed"))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await staying == b"stayed"
    assert leaving.cancelled()
    await wire.close()


async def test_more_calls_than_there_is_room_for_wait_their_turn(valkey: Server) -> None:
    wire = wire_to(valkey.socket_path, calls=3, size=200)
    asking = [asyncio.create_task(wire.call("ECHO", number)) for number in range(300)]
    await asyncio.sleep(0)
    assert sum(len(line._row) for line in wire._lines) == 3
    for task in asking[100:200]:
        task.cancel()
    said = await asyncio.gather(*asking, return_exceptions=True)
    assert [one for one in said if not isinstance(one, asyncio.CancelledError)] == [
        b"%d" % number for number in range(300) if not 100 <= number < 200
    ]
    assert (wire._calls_left, wire._bytes_left) == (3, 200)
    await wire.close()


async def test_room_that_was_given_to_a_caller_who_left_is_the_next_one_s(valkey: Server) -> None:
    wire = wire_to(valkey.socket_path, calls=1)
    await wire.call("PING")

    async def first() -> None:
        await wire.call("ECHO", 1)
        second.cancel()  # in the very turn in which it was given the room

    asking = asyncio.create_task(first())
    await asyncio.sleep(0)
    second = asyncio.create_task(wire.call("ECHO", 2))
    third = asyncio.create_task(wire.call("ECHO", 3))
    async with asyncio.timeout(30):
        await asking
        assert await third == b"3"
    assert second.cancelled()
    await wire.close()


async def test_one_great_reply_makes_room_for_many(valkey: Server) -> None:
    wire = wire_to(valkey.socket_path, size=1000)
    great = asyncio.create_task(wire.call("ECHO", "x" * 2000))
    await asyncio.sleep(0)
    asking = [asyncio.create_task(wire.call("BLPOP", "nothing", "0.2"))]  # the rest is answered after it
    asking += [asyncio.create_task(wire.call("ECHO", number)) for number in range(4)]
    await great
    most = 0
    while not all(task.done() for task in asking):
        most = max(most, *(len(line._row) for line in wire._lines))
        await asyncio.sleep(0)
    assert most == 5, "they went one by one"
    await wire.close()


async def test_who_finds_no_room_is_told_in_time(proxy: CuttingProxy, pass_time: PassTime) -> None:
    wire = wire_to(proxy.path, calls=1, timeout_s=60)
    await wire.call("PING")
    proxy.withholds = True
    asking = asyncio.gather(*(outcome(wire, "ECHO", number) for number in range(3)))
    waited_s = 0
    while not asking.done():
        await asyncio.wait([asking], timeout=0.01)
        pass_time(10)
        waited_s += 10
    assert await asking == [RedisTimeoutError] * 3
    assert waited_s < 300, "they waited one after the other"
    await wire.close()


async def test_closing_fails_what_is_in_flight_and_leaves_nothing_open(proxy: CuttingProxy) -> None:
    wire = wire_to(proxy.path)
    await wire.call("PING")
    proxy.withholds = True
    asking = asyncio.create_task(outcome(wire, "PING"))
    await asyncio.sleep(0.02)
    await wire.close()
    await wire.close()
    assert await asking is RedisConnectionError
    assert await outcome(wire, "PING") is RedisConnectionError
    proxy.release()
    await until(lambda: proxy.open == 0, "nothing is open")


async def test_closing_while_it_opens_fails_who_waits(tmp_path: Path) -> None:
    wire = wire_to(str(tmp_path / "none"))
    asking = asyncio.create_task(outcome(wire, "PING"))
    await asyncio.sleep(0)
    await wire.close()
    assert await asking is RedisConnectionError


async def test_a_server_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    wire = wire_to(str(tmp_path / "none"))
    with pytest.raises(RedisConnectionError, match="FileNotFoundError"):
        await wire.call("PING")
    await wire.close()


@contextlib.asynccontextmanager
async def strange_server(path: Path, says: bytes) -> AsyncIterator[Wire]:
    """A server that says *says* to whoever comes, and nothing else."""

    serving: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        writer.write(says)
        with contextlib.suppress(OSError):
            await reader.read()
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_unix_server(serve, path)
    wire = wire_to(str(path), timeout_s=60)
    yield wire
    await wire.close()
    server.close()
    await asyncio.gather(*(task for task in serving if task is not None))


async def test_what_is_no_reply_is_not_believed(tmp_path: Path) -> None:
    async with strange_server(tmp_path / "s", b"HTTP/1.1 400 Bad Request\r\n\r\n") as wire:
        with pytest.raises(RedisConnectionError, match="no reply"):
            await wire.call("PING")


async def test_a_reply_too_many_ends_the_connection_before_it_reaches_a_caller(tmp_path: Path) -> None:
    async with strange_server(tmp_path / "s", b"+first\r\n+second\r\n") as wire:
        assert await wire.call("PING") == b"first"
        await until(lambda: wire._line is None, "the connection is given up")


async def test_a_greeting_that_is_not_answered_is_given_up_in_time(tmp_path: Path, pass_time: PassTime) -> None:
    async with strange_server(tmp_path / "s", b"") as wire:
        greeted = Wire(wire.dial, greeting=[("AUTH", "secret")], timeout_s=60)
        asking = asyncio.gather(*(outcome(greeted, "PING") for _ in range(3)))
        await asyncio.sleep(0)
        pass_time(61)
        assert await asyncio.wait_for(asking, 20) == [RedisTimeoutError] * 3
        assert greeted._lines == set()
        first = asyncio.create_task(outcome(greeted, "PING"))
        await asyncio.sleep(0)
        pass_time(40)
        second = asyncio.create_task(outcome(greeted, "PING"))
        await asyncio.sleep(0)
        pass_time(21)
        assert await asyncio.wait_for(first, 20) is RedisTimeoutError
        assert await second is RedisConnectionError, "it was never written: nobody waits for the connection any more"
        await greeted.close()


async def test_the_password_and_the_database_are_said_before_any_call(server: Server) -> None:
    admin = connect(StoreConfig(url=server.url), reveal)
    await admin.acl_setuser("wire", enabled=True, passwords=["+opensesame"], categories=["+@all"], keys=["*"])
    config = StoreConfig(url=f"{server.url}?db=3", username="wire", password=Secret(env="opensesame"))
    wrong = connect(StoreConfig(url=server.url, username="wire", password=Secret(env="other")), reveal)
    right = connect(config, reveal)
    try:
        assert right.wire is not None
        assert wrong.wire is not None
        assert await right.wire.call("ACL", "WHOAMI") == b"wire"
        assert b" db=3 " in await right.wire.call("CLIENT", "INFO")
        assert await outcome(wrong.wire, "PING") is AuthenticationError
    finally:
        await admin.acl_deluser("wire")
        for client in (right, wrong, admin):
            await client.aclose()


async def test_a_forgotten_script_is_sent_whole(server: Server) -> None:
    client = connect(StoreConfig(url=server.url), reveal)
    seen: list[str] = []
    client.observe = lambda name, _: seen.append(name)
    try:
        await client.script_flush()
        keys = [f"fd:{{main}}:{name}" for name in ("probe", "meta", "j")]
        for _ in range(2):
            await load("probe").call(client, keys, [])
        assert seen == ["probe", "probe"]
        assert client.wire is not None
        assert client.wire._lines, "it did not go over the wire"
    finally:
        await client.flushall()
        await client.aclose()


def test_a_client_that_is_closed_leaves_no_warning(valkey: Server) -> None:
    async def use() -> None:
        async with connect(StoreConfig(url=valkey.url), reveal) as client:
            assert isinstance(client, Client)
            assert client.wire is not None
            assert await client.wire.call("PING") == b"PONG"

    for run in (asyncio.run, uvloop.run):
        run(use())
    gc.collect()  # warnings are errors: an open transport would say so here
