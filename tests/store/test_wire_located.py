"""The connection of the scripts where the primary may be elsewhere: what it follows, what it leaves, what it tells."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import AskError, ClusterDownError, MovedError, ReadOnlyError, RedisError, TryAgainError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from flashd.store.line import Command
from flashd.store.refusals import refusal
from flashd.store.wire import CALLS, Wire
from tests.conftest import PassTime
from tests.until import until


class Scripted:
    """A server that answers each PING by the next of *says*; the last one it says for ever."""

    def __init__(self, path: Path, *says: bytes) -> None:
        self.path = path
        self.says = list(says)
        self.role = b"*1\r\n+master\r\n"
        self.heard = 0
        self.opened = 0
        self.greetings: list[bytes] = []
        self.holds = asyncio.Event()
        self.holds.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        buffer = b""
        while piece := await reader.read(1000):
            buffer += piece
            *whole, buffer = buffer.split(b"*1\r\n$4\r\n")
            for part in (*whole[1:], buffer) if whole else ():
                await self.holds.wait()
                if part == b"ROLE\r\n":
                    self.greetings.append(part)
                    writer.write(self.role)
                elif part:
                    self.heard += 1
                    writer.write(self.says.pop(0) if len(self.says) > 1 else self.says[0])
            buffer = b""
        writer.close()


class World:
    """Two servers and a wire to one of them; it goes where the last MOVED says."""

    def __init__(self, folder: Path) -> None:
        self.one, self.two = Scripted(folder / "1", b"+one\r\n"), Scripted(folder / "2", b"+two\r\n")
        self.at = self.one
        self.told: list[tuple[object, type[RedisError]]] = []
        self.refused = ""
        self.wire = Wire(self.dial, timeout_s=60, tell=self.tell, admission=self)

    async def dial(self, protocol: Callable[[], asyncio.BaseProtocol]) -> Scripted:
        server = self.at
        await asyncio.get_running_loop().create_unix_connection(protocol, str(server.path))
        return server

    def tell(self, node: object, error: RedisError) -> None:
        self.told.append((node, type(error)))
        if isinstance(error, MovedError):
            self.at = self.two if error.port == 2 else self.one

    def questions(self) -> Sequence[Command]:
        return [("ROLE",)]

    def refuse(self, replies: Sequence[Any]) -> str:
        assert replies == [[b"master"]]
        return self.refused

    async def ping(self) -> Any:
        return await self.wire.call("PING")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    servers = [await asyncio.start_unix_server(one.serve, one.path) for one in (world.one, world.two)]
    yield world
    assert world.wire._calls_left == CALLS, "room was lost"
    await world.wire.close()
    for server in servers:
        server.close()


def moved(to: int) -> bytes:
    return b"-MOVED 5 10.0.0.1:%d\r\n" % to


async def test_a_call_that_was_moved_is_written_once_more_and_the_next_goes_there_at_once(world: World) -> None:
    world.one.says = [moved(2)]
    assert await world.ping() == b"two"
    assert await world.ping() == b"two"
    assert (world.one.heard, world.two.heard, world.two.opened) == (1, 2, 1)
    assert [kind.__mro__[1] for _, kind in world.told] == [MovedError]
    assert len(world.one.greetings) == len(world.two.greetings) == 1


async def test_a_call_whose_server_was_moved_before_it_was_written_has_its_time_elsewhere(world: World) -> None:
    world.one.role = moved(2)  # a pool's generation is asked for in the greeting: the slot tells where it is
    assert await world.ping() == b"two"
    assert (world.one.heard, world.two.heard) == (0, 1)


async def test_who_is_sent_in_a_circle_is_told_after_two_steps(world: World) -> None:
    world.one.says, world.two.says = [moved(2)], [moved(1)]
    with pytest.raises(MovedError):
        await world.ping()
    assert (world.one.heard, world.two.heard) == (1, 1)


async def test_what_is_followed_has_no_more_time_than_it_had(world: World, pass_time: PassTime) -> None:
    world.one.says = [moved(2)]
    world.one.holds.clear()
    world.two.holds.clear()
    asking = asyncio.create_task(world.ping())
    await asyncio.sleep(0)
    pass_time(40)
    world.one.holds.set()
    await until(lambda: world.two.opened == 1, "it is followed")
    pass_time(21)
    with pytest.raises(RedisTimeoutError):
        await asyncio.wait_for(asking, 20)
    world.two.holds.set()
    await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (b"-READONLY You can't write against a read only replica.\r\n", ReadOnlyError),
        (b"-CLUSTERDOWN The cluster is down\r\n", ClusterDownError),
    ],
)
async def test_a_server_that_is_no_primary_any_more_is_left_when_all_have_their_answers(
    world: World, said: bytes, kind: type[RedisError]
) -> None:
    world.one.says = [said, b"+still here\r\n"]
    world.one.holds.clear()
    asking = [asyncio.create_task(world.ping()) for _ in range(3)]
    await asyncio.sleep(0.02)
    world.at = world.two
    world.one.holds.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(answers[0]), *answers[1:]] == [kind, b"still here", b"still here"]
    assert world.told == [(world.one, kind)]
    assert await world.ping() == b"two"
    assert world.one.opened == 1


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n", TryAgainError),
        (b"-ASK 5 10.0.0.1:2\r\n", AskError),
    ],
)
async def test_half_way_through_a_move_a_call_is_refused_and_nobody_leaves(
    world: World, said: bytes, kind: type[RedisError]
) -> None:
    world.one.says = [said, b"+one\r\n"]
    with pytest.raises(kind):
        await world.ping()
    assert await world.ping() == b"one"
    assert (world.told, world.one.opened, world.two.opened) == ([], 1, 0)


async def test_a_server_that_is_not_admitted_gets_no_call(world: World) -> None:
    world.refused = "it is a stranger"
    for _ in range(2):
        with pytest.raises(RedisConnectionError, match="is refused: it is a stranger"):
            await world.ping()
    assert (world.one.heard, len(world.one.greetings), len(world.told)) == (0, 2, 2)
    world.refused = ""
    assert await world.ping() == b"one"


async def test_whoever_leaves_a_server_waits_for_what_it_owes(world: World) -> None:
    await world.ping()
    world.one.holds.clear()
    asking = asyncio.create_task(world.ping())
    await asyncio.sleep(0.02)
    world.at = world.two
    world.wire.leave(world.one)
    assert world.one.opened == 1
    world.wire.leave(world.two)
    assert await world.ping() == b"two"
    world.one.holds.set()
    assert await asking == b"one"
    assert world.told == []


async def test_a_lost_and_a_silent_server_are_told_of(world: World, pass_time: PassTime) -> None:
    world.one.holds.clear()
    asking = asyncio.create_task(world.ping())
    await until(lambda: world.one.opened == 1, "it has its connection")
    pass_time(61)
    with pytest.raises(RedisTimeoutError):
        await asyncio.wait_for(asking, 20)
    world.one.holds.set()
    await asyncio.sleep(0.02)
    assert world.told == [(world.one, RedisTimeoutError)]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("TRYAGAIN Multiple keys request during rehashing of slot", TryAgainError),
        ("CLUSTERDOWN Hash slot not served", ClusterDownError),
    ],
)
def test_refusals_of_a_cluster_are_what_redis_py_makes_of_them(text: str, kind: type[Exception]) -> None:
    assert type(refusal(text)) is kind


def test_a_server_s_word_where_a_slot_is_names_slot_and_server() -> None:
    for code in ("MOVED", "ASK"):
        said = refusal(f"{code} 3999 fd00::1:6381")
        assert isinstance(said, AskError)
        assert (said.slot_id, said.host, said.port) == (3999, "fd00::1", 6381)
