"""Slow, idle, endless and too many clients."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest

from flashd.domain.order import Line, Order, OrderState
from flashd.errors import Busy
from flashd.web.limits import Budget
from tests.conftest import PassTime
from tests.fakes.doors import READ, SHOP_TOKEN, DoorHouse, record, sign
from tests.web.conftest import Serve, Served, eventually

FAST = {"limit_header_timeout_s": 0.3, "body_timeout_s": 0.3}


async def ended(reader: asyncio.StreamReader, within_s: float = 30.0) -> bytes:
    """Read until the server closes; what it said. The bound is for a server that never does, not for a slow machine."""
    said = b""
    async with asyncio.timeout(within_s):
        try:
            while piece := await reader.read(65536):
                said += piece
        except ConnectionError:
            pass  # our own bytes met a closed socket; what it said before was read
    return said


def status(said: bytes) -> int:
    return int(said.split(b" ", 2)[1])


def title(said: bytes) -> str:
    return str(json.loads(said.partition(b"\r\n\r\n")[2])["title"])


async def test_a_connection_that_says_nothing_is_closed(serve: Serve) -> None:
    reader, _ = await (await serve("intake", **FAST)).connect()
    assert await ended(reader) == b""


async def test_a_head_that_trickles_is_closed_however_busily(serve: Serve) -> None:
    reader, writer = await (await serve("intake", **FAST)).connect()
    closed = asyncio.create_task(ended(reader))
    writer.write(b"GET /v1/stock HTTP/1.1\r\n")
    while not closed.done():
        writer.write(b"X-A: b\r\n")
        await asyncio.wait({closed}, timeout=0.02)
    assert await closed == b""


async def test_the_second_head_on_a_connection_has_a_deadline_as_well(serve: Serve) -> None:
    reader, writer = await (await serve("intake", **FAST)).connect()
    writer.write(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b'no such path here"}')
    writer.write(b"GET /nothing HTTP/1.1\r\nHos")
    assert await ended(reader) == b""


async def test_an_idle_connection_outlives_the_header_deadline_and_then_ends(serve: Serve, pass_time: PassTime) -> None:
    served = await serve("intake", limit_header_timeout_s=60.0, limit_idle_s=600.0)
    reader, writer = await served.connect()
    writer.write(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b'no such path here"}')
    closed = asyncio.create_task(ended(reader, 1000))
    pass_time(100)
    await asyncio.wait({closed}, timeout=0.05)
    assert not closed.done()
    pass_time(600)
    assert await asyncio.wait_for(closed, 30) == b""


async def test_an_idle_connection_takes_the_next_request(serve: Serve, pass_time: PassTime) -> None:
    served = await serve("intake", limit_header_timeout_s=60.0, limit_idle_s=600.0)
    reader, writer = await served.connect()
    for _ in range(3):
        writer.write(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"404" in await reader.readuntil(b'no such path here"}')
        pass_time(100)  # idle for longer than the header deadline


async def test_pipelined_requests_are_all_answered(serve: Serve) -> None:
    reader, writer = await (await serve("intake", **FAST)).connect()
    writer.write(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n" * 5)
    for _ in range(5):
        assert b"HTTP/1.1 404" in await asyncio.wait_for(reader.readuntil(b'no such path here"}'), 5)


@pytest.mark.parametrize("framing", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
async def test_a_body_that_trickles_is_408_and_closed(serve: Serve, framing: str) -> None:
    served = await serve("intake", **FAST)
    reader, writer = await served.connect()
    closed = asyncio.create_task(ended(reader))
    writer.write(f"POST /webhooks/shop HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n".encode())
    piece = b"1\r\nx\r\n" if "chunked" in framing else b"x"
    while not closed.done():
        writer.write(piece)
        await asyncio.wait({closed}, timeout=0.02)
    said = await closed
    assert (status(said), title(said)) == (408, "body_timeout")


async def test_a_body_that_never_comes_is_408(serve: Serve) -> None:
    reader, writer = await (await serve("intake", **FAST)).connect()
    head = f"POST /v1/orders HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SHOP_TOKEN}\r\nContent-Length: 9\r\n\r\n"
    writer.write(head.encode())
    assert status(await ended(reader)) == 408


async def test_a_length_over_the_limit_is_413_before_the_body_comes(intake: Served) -> None:
    reader, writer = await intake.connect()
    writer.write(b"POST /webhooks/shop HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n")
    said = await reader.readuntil(b"}")
    assert (status(said), title(said)) == (413, "too_large")  # at the body's deadline it would be 408


async def test_headers_over_8_kb_in_all_are_431_or_cut(serve: Serve) -> None:
    served = await serve("intake")
    at_once = "".join(f"X-{number}: {'a' * 200}\r\n" for number in range(60))
    reader, writer = await served.connect()
    writer.write(f"GET /v1/stock HTTP/1.1\r\nHost: x\r\n{at_once}\r\n".encode())
    assert (status(said := await ended(reader)), title(said)) == (431, "headers_too_large")
    reader, writer = await served.connect()
    closed = asyncio.create_task(ended(reader))
    writer.write(b"GET /v1/stock HTTP/1.1\r\nHost: x\r\n")
    for number in range(200):
        writer.write(f"X-{number}: {'a' * 200}\r\n".encode())
        await asyncio.wait({closed}, timeout=0.005)
        if closed.done():
            break
    assert number < 60
    await closed


async def test_a_body_longer_than_the_head_limit_is_no_head(intake: Served, house: DoorHouse) -> None:
    house.count("TEE", 1)
    reader, writer = await intake.connect()
    body = json.dumps({"id": "1", "lines": [], "note": "x" * 100_000}).encode()
    head = "POST /v1/orders HTTP/1.1\r\nHost: x\r\n"
    head += f"Authorization: Bearer {SHOP_TOKEN}\r\nContent-Length: {len(body)}\r\n\r\n"
    for _ in range(2):  # the second time on a connection that was used before
        writer.write(head.encode())
        for start in range(0, len(body), 10_000):
            writer.write(body[start : start + 10_000])
            await writer.drain()
            await asyncio.sleep(0)
        said = await reader.readuntil(b"}")
        assert status(said) in {200, 201}


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\nContent-Length: 1, 2\r\n\r\n",
        b"POST /v1/orders HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_a_400_problem_and_no_line_in_the_log(
    intake: Served, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await intake.connect()
    writer.write(garbage)
    said = await ended(reader)
    assert (status(said), title(said)) == (400, "malformed")
    assert caplog.records == []


async def test_a_broken_chunk_is_a_400(intake: Served) -> None:
    reader, writer = await intake.connect()
    writer.write(b"POST /webhooks/shop HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
    assert status(await ended(reader)) == 400


async def test_a_million_tiny_chunks_stay_bounded(serve: Serve, house: DoorHouse) -> None:
    served = await serve("intake", webhook_bytes=2000, body_timeout_s=10.0, limit_header_timeout_s=1.0)
    reader, writer = await served.connect()
    closed = asyncio.create_task(ended(reader))
    writer.write(b"POST /webhooks/shop HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    sent = 0
    try:
        while not closed.done() and sent < 1_000_000:
            writer.write(b"1\r\nx\r\n" * 1000)
            sent += 1000
            await writer.drain()
            await asyncio.sleep(0)
    except ConnectionError:
        pass
    said = await closed
    assert said == b"" or status(said) == 413  # the answer is lost where our last chunks met a closed socket
    assert house.main.asked == []
    assert 'result="too_large"} 1.0' in house.doors.metrics.text().decode()


async def test_all_bodies_together_have_a_budget(serve: Serve) -> None:
    served = await serve("intake", budget_bytes=1500)
    reader, writer = await served.connect()
    writer.write(b"POST /webhooks/shop HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n" + b"x" * 1000)
    await writer.drain()
    answer = await served.call("POST", "/webhooks/shop", data=b"y" * 1000)
    while answer.status != 503:  # until the first one's bytes were read
        answer = await served.call("POST", "/webhooks/shop", data=b"y" * 1000)
    assert (answer.json["title"], answer.headers["Retry-After"]) == ("busy", "2")
    writer.write(b"x")
    assert b" 401 " in await reader.readline()
    body = b'"' + b"y" * 900 + b'"'
    assert (await served.call("POST", "/webhooks/shop", data=body, headers=sign(body))).status == 200


def test_a_budget_counts_out_what_it_counted_in() -> None:
    budget = Budget(10)
    with budget.share() as share:
        share.take(7)
        with pytest.raises(Busy):
            share.take(4)
        with budget.share() as other:
            other.take(3)
        assert budget.used == 7
    assert budget.used == 0


async def test_more_connections_than_the_cap_are_turned_away_and_room_comes_back(serve: Serve) -> None:
    served = await serve("intake", limit_connections=3)
    guard = served.listener.guard
    assert guard is not None
    open_ones = [await served.connect() for _ in range(3)]
    await eventually(lambda: len(guard.connections) == 3)
    reader, _ = await served.connect()
    assert await ended(reader) == b""
    assert guard.turned_away == 1
    open_ones[0][1].close()
    await eventually(lambda: len(guard.connections) < 3)
    assert (await served.call("GET", "/v1/stock")).status == 401


@pytest.mark.parametrize("way", ["GET /nothing", "POST /webhooks/shop"])
async def test_who_only_rests_makes_room_where_there_is_none_and_who_works_does_not(serve: Serve, way: str) -> None:
    served = await serve("intake", limit_connections=3)
    guard = served.listener.guard
    assert guard is not None
    busy = [await served.connect() for _ in range(2)]
    for _, writer in busy:
        writer.write(b"POST /webhooks/shop HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx")
    reader, writer = await served.connect()
    writer.write(f"{way} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
    await reader.readuntil(b"}")
    assert (await served.call("GET", "/v1/stock")).status == 401
    assert await ended(reader) == b""
    assert guard.turned_away == 0
    extra = await served.connect()
    await eventually(lambda: len(guard.connections) == 3)
    late, _ = await served.connect()
    assert await ended(late) == b""  # nobody rests: the last to come is the one to go
    extra[1].close()
    for reader, writer in busy:
        writer.write(b"12345678")
        assert b" 401 " in await reader.readline()


async def test_a_client_that_does_not_read_what_it_asked_for_is_cut_off(serve: Serve, house: DoorHouse) -> None:
    served = await serve("admin", limit_write_timeout_s=0.3)
    wide = Line("TEE", 1, title="x" * 4000)
    for number in range(4000):  # 16 MB: more than the kernel takes for it
        order = Order(channel="shop", id=str(number), placed_ms=1, currency="EUR", lines=(wide,), total=0)
        house.main.put(record(order, OrderState.QUEUED))
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", served.listener.port))
        client.send(
            b"GET /admin/v1/orders/export?pool=main HTTP/1.1\r\nHost: localhost\r\n"
            + f"Authorization: Bearer {READ}\r\n\r\n".encode()
        )
        guard = served.listener.guard
        assert guard is not None
        await eventually(lambda: len(guard.connections) == 1)
        await eventually(lambda: not guard.connections)


async def ask_without_end(client: socket.socket) -> None:
    while True:
        await asyncio.get_running_loop().sock_sendall(client, b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n" * 500)


async def test_a_client_that_asks_and_asks_and_reads_nothing_is_cut_off(serve: Serve) -> None:
    served = await serve("intake", limit_write_timeout_s=0.3)
    guard = served.listener.guard
    assert guard is not None
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", served.listener.port))
        await eventually(lambda: len(guard.connections) == 1)
        [connection] = guard.connections
        assert connection.transport is not None
        own = connection.transport.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # or the kernel takes megabytes of small answers
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(ask_without_end(client), 60)


async def test_a_client_that_reads_slowly_gets_all_of_it(serve: Serve, house: DoorHouse) -> None:
    served = await serve("admin", limit_write_timeout_s=0.4)
    wide = Line("TEE", 1, title="x" * 4000)
    for number in range(2000):
        order = Order(channel="shop", id=str(number), placed_ms=1, currency="EUR", lines=(wide,), total=0)
        house.main.put(record(order, OrderState.QUEUED))
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, ("127.0.0.1", served.listener.port))
        asked = "GET /admin/v1/orders?pool=main&limit=500 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        await loop.sock_sendall(client, f"{asked}Authorization: Bearer {READ}\r\n\r\n".encode())
        said = b""
        async with asyncio.timeout(60):
            while piece := await loop.sock_recv(client, 8192):
                said += piece
                await asyncio.sleep(0.001)
    head, _, body = said.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head


async def test_a_good_request_passes_among_hundreds_of_slow_ones(
    serve: Serve, house: DoorHouse, pass_time: PassTime
) -> None:
    house.count("TEE", 5)
    served = await serve("intake", limit_header_timeout_s=600.0, body_timeout_s=600.0)
    slow = [await served.connect() for _ in range(200)]
    for number, (_, writer) in enumerate(slow):
        head = b"POST /webhooks/shop HTTP/1.1\r\nHost: x\r\n"
        writer.write(head if number % 2 else head + b"Content-Length: 100\r\n\r\nx")
    order = {"id": "1", "lines": [{"sku": "TEE", "quantity": 1}]}
    assert (await served.call("POST", "/v1/orders", json=order, token=SHOP_TOKEN)).status == 201
    assert not any(reader.at_eof() for reader, _ in slow), "it waited until they were gone"
    pass_time(600)
    ends = await asyncio.gather(*(ended(reader) for reader, _ in slow))
    assert {status(said) if said else 0 for said in ends} == {0, 408}
