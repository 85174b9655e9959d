"""One request over one connection: whatever the other side sends, it is an answer, or nothing was written, or doubt."""

from __future__ import annotations

import asyncio
import gzip
import shutil
import ssl
import subprocess
import tracemalloc
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from flashd.backends import connections
from flashd.backends.connections import LARGEST_ANSWER, Connections, CutError, Origin, Reply, UnreachedError
from flashd.backends.exchange import Answer, Link
from flashd.domain.delivery import Doubtful, Later
from flashd.errors import ConfigError
from flashd.ports.departure import MomentPassedError, before_departure
from tests.backends.scripted_server import HANG_UP, RESET, ScriptedServer, Step
from tests.conftest import PassTime

ASK = b"POST /orders HTTP/1.1\r\nHost: erp\r\nContent-Length: 2\r\n\r\n{}"
HEAD = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n"
WHOLE = HEAD + b"Content-Length: 8\r\n\r\n" + b'{"id":1}'
BOMB = gzip.compress(b"\0" * (64 * LARGEST_ANSWER))
SILENCE: Sequence[Step] = ()


# The loop of the tests, and that of the daemon: they word and time the end of a connection in other ways.
on_both_loops = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])


@asynccontextmanager
async def a_pool(most: int = 2, timeout_s: float = 20, connect_s: float = 10) -> AsyncIterator[Connections]:
    made = Connections(most=most, timeout_s=timeout_s, connect_s=connect_s)
    yield made
    await made.close()


@pytest.fixture
async def pool() -> AsyncIterator[Connections]:
    async with a_pool() as made:
        yield made


@pytest.fixture
async def narrow() -> AsyncIterator[Connections]:
    """One at a time, and all the time in the world."""
    async with a_pool(most=1, timeout_s=600) as made:
        yield made


def at(server: ScriptedServer) -> Origin:
    return Origin("127.0.0.1", server.port, is_tls=False)


def pieces(data: bytes) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))]


@on_both_loops
@pytest.mark.parametrize(
    ("steps", "body"),
    [
        pytest.param([WHOLE], b'{"id":1}', id="in one piece"),
        pytest.param(pieces(WHOLE), b'{"id":1}', id="byte by byte"),
        pytest.param(
            [HEAD + b'Transfer-Encoding: chunked\r\n\r\n3\r\n{"i\r\n', b'5\r\nd":1}\r\n0\r\nX-Trailer: 1\r\n\r\n'],
            b'{"id":1}',
            id="in chunks",
        ),
        pytest.param([HEAD + b'\r\n{"id"', b":1}", HANG_UP], b'{"id":1}', id="until the connection ends"),
        pytest.param([HEAD + b"Content-Length: 0\r\n\r\n"], b"", id="empty"),
        pytest.param([b"HTTP/1.1 204 No Content\r\n\r\n"], b"", id="without a body"),
        pytest.param(
            [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n", WHOLE], b'{"id":1}', id="100"
        ),
        pytest.param([b"HTTP/1.1 100 Continue\r\n\r\n" + WHOLE], b'{"id":1}', id="100 in the same packet"),
        pytest.param(
            [HEAD + b"Content-Encoding: gzip\r\nContent-Length: 28\r\n\r\n" + gzip.compress(b'{"id":1}', mtime=0)],
            b'{"id":1}',
            id="compressed",
        ),
    ],
)
def test_an_answer_is_read_in_whatever_form_it_comes(run: Callable[..., Any], steps: list[Step], body: bytes) -> None:
    async def asked() -> None:
        async with ScriptedServer([steps]).running() as server, a_pool() as pool:
            reply = await pool.ask(at(server), ASK)
            assert (reply.status // 100, reply.body) == (2, body)
            assert reply.headers.get("content-type", "application/json") == "application/json"
            assert server.seen == [ASK]

    run(asked())


@on_both_loops
@pytest.mark.parametrize(
    ("steps", "said"),
    [
        pytest.param([HANG_UP], "closed", id="nothing"),
        pytest.param([RESET], "reset", id="a reset"),
        pytest.param([WHOLE[:30], HANG_UP], "closed", id="half a head"),
        pytest.param([WHOLE[:-1], HANG_UP], "closed", id="half a body"),
        pytest.param([HEAD + b'\r\n{"id"', RESET], "reset", id="half a body that should end with the connection"),
        pytest.param(
            [HEAD + b'Transfer-Encoding: chunked\r\n\r\n3\r\n{"i\r\n', HANG_UP], "closed", id="half the chunks"
        ),
        pytest.param([HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"], "no HTTP", id="chunks that are none"),
        pytest.param([b"SSH-2.0-OpenSSH_9.2\r\n"], "no HTTP", id="another protocol"),
        pytest.param(
            [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"], "protocol", id="101"
        ),
        pytest.param([WHOLE + WHOLE], "two answers", id="two answers"),
        pytest.param([HEAD + b"Content-Length: 2000000\r\n\r\n" + b" " * 2_000_000], "more than", id="too much"),
        pytest.param(
            [HEAD + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnone"], "cannot be read", id="no gzip"
        ),
        pytest.param([HEAD + b"X: " + b"x" * 100_000], "no HTTP", id="a head without an end"),
    ],
)
def test_whatever_else_comes_is_a_cut_and_the_connection_is_used_no_more(
    run: Callable[..., Any], steps: list[Step], said: str
) -> None:
    async def asked() -> None:
        async with ScriptedServer([steps, [WHOLE]]).running() as server, a_pool() as pool:
            with pytest.raises(CutError, match=said):
                await pool.ask(at(server), ASK)
            assert server.seen == [ASK], "a request is written once"
            assert (await pool.ask(at(server), ASK)).body == b'{"id":1}'
            assert server.connections == 2

    run(asked())


async def test_a_bomb_is_not_blown_up(pool: Connections) -> None:
    async with ScriptedServer([[HEAD + b"Content-Encoding: gzip\r\n\r\n" + BOMB]]).running() as server:
        tracemalloc.start()
        try:
            with pytest.raises(CutError, match="more than"):
                await pool.ask(at(server), ASK)
            assert tracemalloc.get_traced_memory()[1] < 16 * LARGEST_ANSWER
        finally:
            tracemalloc.stop()


async def test_a_connection_is_used_again_and_for_one_request_at_a_time(pool: Connections) -> None:
    async with ScriptedServer([[WHOLE]]).running() as server:
        for _ in range(3):
            await pool.ask(at(server), ASK)
        assert server.connections == 1
        await asyncio.gather(*(pool.ask(at(server), ASK) for _ in range(6)))
        assert (server.connections, len(server.seen)) == (2, 9)


async def test_an_answer_that_closes_its_connection_counts_and_the_next_request_opens_another(
    pool: Connections,
) -> None:
    last = WHOLE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    async with ScriptedServer([[last]]).running() as server:
        for _ in range(2):
            assert (await pool.ask(at(server), ASK)).status == 201
        assert server.connections == 2


async def test_what_comes_without_a_request_is_nobodys_answer(
    pool: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_KEEP_ALIVE_S", 600)
    stray = WHOLE.replace(b"1}", b"9}")
    answered = asyncio.Event()
    async with ScriptedServer([[WHOLE, answered, stray], [WHOLE]]).running() as server:
        assert (await pool.ask(at(server), ASK)).body == b'{"id":1}'
        answered.set()
        await server.until(open_=0)
        assert (await pool.ask(at(server), ASK)).body == b'{"id":1}'
        assert server.connections == 2


async def test_a_connection_that_ends_while_a_request_waits_to_be_written_is_replaced(pool: Connections) -> None:
    end = asyncio.Event()
    async with ScriptedServer([[WHOLE, end, HANG_UP], [WHOLE]]).running() as server:
        moments: list[int] = []

        async def moment() -> bool:
            moments.append(server.connections)
            if len(moments) == 1:
                end.set()
                await server.until(open_=0)
                await asyncio.wait([one.gone for one in pool._open])  # our side has heard of it
            return True

        await pool.ask(at(server), ASK)
        before_departure(moment)
        assert (await pool.ask(at(server), ASK)).body == b'{"id":1}'
        assert (server.connections, len(server.seen)) == (2, 2)
        assert moments == [1, 2], "connecting took time: it is asked for once more"


async def test_the_beginning_of_a_second_answer_does_not_become_that_of_the_next_request(pool: Connections) -> None:
    twice = HEAD + b"Content-Length: 8\r\n\r\n" + b'{"id":9}'
    async with ScriptedServer([[WHOLE + twice[:-30]], [twice[-30:]], [WHOLE]]).running() as server:
        assert (await pool.ask(at(server), ASK)).body == b'{"id":1}'
        with pytest.raises(CutError):
            await pool.ask(at(server), ASK)
        assert (await pool.ask(at(server), ASK)).body == b'{"id":1}'


async def test_a_request_whose_moment_passed_is_not_written_and_its_connection_is_kept(pool: Connections) -> None:
    async def never() -> bool:
        return False

    async with ScriptedServer([[WHOLE]]).running() as server:
        before_departure(never)
        with pytest.raises(MomentPassedError):
            await pool.ask(at(server), ASK)
        assert server.seen == []
        assert (await pool.ask(at(server), ASK)).status == 201
        assert server.connections == 1


async def test_no_answer_in_time_is_a_cut(narrow: Connections, pass_time: PassTime) -> None:
    async with ScriptedServer([SILENCE]).running() as server:
        asking = asyncio.ensure_future(narrow.ask(at(server), ASK))
        await server.until(seen=1)
        pass_time(600)
        with pytest.raises(CutError, match="timed out"):
            await asking
        await server.until(open_=0)


async def test_no_place_in_time_and_no_connection_in_time_means_that_nothing_was_written(
    narrow: Connections, pass_time: PassTime
) -> None:
    async with ScriptedServer([SILENCE]).running() as server:
        under_way = asyncio.ensure_future(narrow.ask(at(server), ASK))
        await server.until(seen=1)
        asking = asyncio.ensure_future(narrow.ask(at(server), ASK))
        await asyncio.sleep(0)
        pass_time(600)
        with pytest.raises((UnreachedError, CutError)) as late:  # its place comes free as its own time is over
            await asking
        with pytest.raises(CutError):
            await under_way
        if isinstance(late.value, UnreachedError):
            assert len(server.seen) == 1
    async with ScriptedServer([SILENCE]).running() as mute, a_pool(connect_s=0.2) as pool:
        with pytest.raises(UnreachedError, match="timed out"):
            await pool.ask(Origin("127.0.0.1", mute.port, is_tls=True), ASK)  # it never shakes hands
        assert mute.seen == []


async def test_where_nobody_listens_nothing_was_written(pool: Connections) -> None:
    for origin in (Origin("127.0.0.1", 1, is_tls=False), Origin("no-such-host.invalid", 80, is_tls=False)):
        with pytest.raises(UnreachedError):
            await pool.ask(origin, ASK)


async def test_who_is_cancelled_leaves_his_answer_to_nobody(pool: Connections) -> None:
    async with ScriptedServer([SILENCE, [WHOLE]]).running() as server:
        asking = asyncio.ensure_future(pool.ask(at(server), ASK))
        await server.until(seen=1)
        asking.cancel()
        await asyncio.wait([asking])
        assert asking.cancelled()
        assert isinstance(await pool.ask(at(server), ASK), Reply)
        await server.until(open_=1)
        assert server.connections == 2


async def test_an_idle_connection_is_closed_before_the_other_side_does(
    pool: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_KEEP_ALIVE_S", 0.05)
    async with ScriptedServer([[WHOLE]]).running() as server:
        await pool.ask(at(server), ASK)
        await server.until(open_=0)
        assert (await pool.ask(at(server), ASK)).status == 201
        assert server.connections == 2


async def test_closing_cuts_what_is_under_way_and_a_later_request_opens_again(pool: Connections) -> None:
    async with ScriptedServer([SILENCE, [WHOLE]]).running() as server:
        asking = asyncio.ensure_future(pool.ask(at(server), ASK))
        await server.until(seen=1)
        await pool.close()
        with pytest.raises(CutError, match="closed"):
            await asking
        assert (await pool.ask(at(server), ASK)).status == 201
        await pool.close()
        await pool.close()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
async def test_tls_is_spoken_only_with_whom_this_machine_trusts(
    pool: Connections, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=erp -addext"
    files = ["subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)]
    await asyncio.to_thread(subprocess.run, [*command.split(), *files], check=True, capture_output=True)
    offered = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    offered.load_cert_chain(cert, key)
    async with ScriptedServer([[WHOLE]]).running(offered) as server:
        with pytest.raises(UnreachedError, match=r"(?i)certificate"):
            await pool.ask(Origin("localhost", server.port, is_tls=True), ASK)
        monkeypatch.setattr(connections, "_trust", lambda: ssl.create_default_context(cafile=str(cert)))
        for _ in range(2):
            reply = await pool.ask(Origin("localhost", server.port, is_tls=True), ASK)
            assert reply.body == b'{"id":1}'
        assert len(server.seen) == 2
        with pytest.raises(UnreachedError, match=r"(?i)certificate"):
            await pool.ask(Origin("127.0.0.1", server.port, is_tls=True), ASK)  # a certificate of another name


# ------------------------------------------------------------------------------------------------- what a Link writes


async def linked(server: ScriptedServer, *, path: str = "/orders", **more: Any) -> Answer | Later | Doubtful:
    link = Link(headers={"Authorization": "Bearer s3cret"}, max_in_flight=1, timeout_s=20)
    try:
        return await link.post(f"http://127.0.0.1:{server.port}{path}", {"a": 1}, **more)
    finally:
        await link.close()


async def test_a_request_says_each_header_once_and_its_own_over_the_usual() -> None:
    async with ScriptedServer([[WHOLE]]).running() as server:
        answer = await linked(server, headers={"authorization": "Basic other", "Idempotency-Key": "k"})
        assert isinstance(answer, Answer)
        head, _, body = server.seen[0].partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        fields = [line.partition(": ") for line in lines]
        assert (first, body) == ("POST /orders HTTP/1.1", b'{"a":1}')
        assert sorted((name.lower(), value) for name, _, value in fields if name != "User-Agent") == [
            ("accept", "application/json"),
            ("accept-encoding", "identity"),
            ("authorization", "Basic other"),
            ("content-length", "7"),
            ("content-type", "application/json"),
            ("host", f"127.0.0.1:{server.port}"),
            ("idempotency-key", "k"),
        ]


@pytest.mark.parametrize(
    "unfit", [{"headers": {"Idempotency-Key": "a\r\nX: 1"}}, {"path": "/a b"}, {"path": "/orders\x00"}], ids=str
)
async def test_what_would_be_another_request_is_not_written(unfit: dict[str, Any]) -> None:
    async with ScriptedServer([[WHOLE]]).running() as server:
        assert isinstance(await linked(server, **unfit), Later)
        assert server.seen == []


def test_a_login_with_a_line_break_is_refused_at_once_and_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        Link(headers={"Authorization": "Bearer s3\ncret"}, max_in_flight=1, timeout_s=20)
    assert "cret" not in str(caught.value)
