"""The express way and aiohttp's ordinary one share a connection, and only the Server header tells them apart."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

import pytest

from flashd.web import connection as connection_module
from tests.fakes.doors import SHOP_TOKEN, DoorHouse
from tests.web.conftest import Serve, Served, eventually


@dataclass
class Told:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def went_express(self) -> bool:
        return "server" not in self.headers  # aiohttp names itself


async def hear(reader: asyncio.StreamReader) -> Told:
    async with asyncio.timeout(30):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-1])}
        return Told(int(head[0].split()[1]), headers, await reader.readexactly(int(headers.get("content-length", 0))))


def order(number: int) -> bytes:
    return json.dumps({"id": str(number), "lines": [{"sku": "TEE", "quantity": 1}]}).encode()


def post(body: bytes, path: str = "/v1/orders", *, version: str = "1.1", extra: str = "") -> bytes:
    head = f"POST {path} HTTP/{version}\r\nHost: x\r\nAuthorization: Bearer {SHOP_TOKEN}\r\n{extra}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.fixture
async def served(serve: Serve, house: DoorHouse) -> Served:
    house.count("TEE", 1000)
    return await serve("intake", limit_stop_s=600.0)


async def test_requests_in_one_packet_are_answered_in_their_order_whichever_way_they_go(served: Served) -> None:
    reader, writer = await served.connect()
    stock = f"GET /v1/stock/TEE HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SHOP_TOKEN}\r\n\r\n".encode()
    writer.write(post(order(1)))
    told = [await hear(reader)]
    writer.write(post(order(2)) + stock + post(order(3)))
    told += [await hear(reader) for _ in range(3)]
    assert [one.status for one in told] == [201, 201, 200, 201]
    assert [json.loads(one.body).get("order") for one in told] == ["shop:1", "shop:2", None, "shop:3"]
    assert [one.went_express for one in told] == [True, False, False, False]  # aiohttp keeps a connection that it has


@pytest.mark.parametrize(
    "request_bytes",
    [post(order(1), version="1.0"), post(order(1), extra="Connection: close\r\n")],
    ids=["HTTP/1.0", "to be closed"],
)
async def test_what_is_not_plain_is_aiohttps(served: Served, request_bytes: bytes) -> None:
    reader, writer = await served.connect()
    writer.write(request_bytes)
    told = await hear(reader)
    assert (told.status, told.went_express) == (201, False)
    assert await asyncio.wait_for(reader.read(), 30) == b""


async def test_a_body_that_is_still_on_its_way_is_aiohttps(served: Served) -> None:
    reader, writer = await served.connect()
    text = post(order(1))
    writer.write(text[:-5])
    await asyncio.sleep(0.05)
    writer.write(text[-5:])
    told = await hear(reader)
    assert (told.status, told.went_express) == (201, False)


@pytest.mark.parametrize(
    "request_bytes",
    [
        post(order(1), extra="Expect: 100-continue\r\n"),
        post(order(1), extra="Content-Encoding: identity\r\n"),
        post(order(1), path="/v1/orders?x=1"),
        post(order(1)).replace(b"Content-Length: 53", b"Transfer-Encoding: chunked").replace(b"{", b"35\r\n{", 1)
        + b"\r\n0\r\n\r\n",
    ],
    ids=["expects an answer before its body", "may be encoded", "has a query", "is chunked"],
)
async def test_what_is_more_than_its_body_is_aiohttps(served: Served, request_bytes: bytes) -> None:
    assert len(order(1)) == 53
    reader, writer = await served.connect()
    writer.write(request_bytes)
    told = await hear(reader)
    told = await hear(reader) if told.status == 100 else told
    assert (told.status, told.went_express) == (201, False)


async def test_who_says_that_the_connection_stays_goes_express(served: Served) -> None:
    reader, writer = await served.connect()
    writer.write(post(order(1), extra="Connection: Keep-Alive\r\n"))
    told = await hear(reader)
    assert (told.status, told.went_express) == (201, True)


async def test_what_comes_while_a_request_is_at_work_waits_its_turn(served: Served, house: DoorHouse) -> None:
    shop = house.intakes["shop"]
    shop.gate.clear()
    reader, writer = await served.connect()
    writer.write(post(order(1)))
    await asyncio.wait_for(shop.inside.wait(), 30)
    for number in (2, 3):
        writer.write(post(order(number)))
        await asyncio.sleep(0.05)
    assert shop.most_at_work == 1
    shop.gate.set()
    told = [await hear(reader) for _ in range(3)]
    assert [json.loads(one.body)["order"] for one in told] == ["shop:1", "shop:2", "shop:3"]
    assert shop.most_at_work == 1


async def test_a_request_at_work_outlives_the_time_of_being_idle(serve: Serve, house: DoorHouse) -> None:
    house.count("TEE", 5)
    served = await serve("intake", limit_idle_s=0.2)
    shop = house.intakes["shop"]
    reader, writer = await served.connect()
    writer.write(post(order(1)))
    assert (await hear(reader)).went_express
    shop.gate.clear()
    writer.write(post(order(2)))
    await asyncio.sleep(0.5)
    shop.gate.set()
    assert (await hear(reader)).status == 201
    assert await asyncio.wait_for(reader.read(), 30) == b""


async def test_a_bug_is_a_500_and_the_connection_goes_on(served: Served, house: DoorHouse) -> None:
    reader, writer = await served.connect()
    house.intakes["shop"].error = ZeroDivisionError("secret")
    writer.write(post(order(1)))
    told = await hear(reader)
    assert (told.status, told.went_express) == (500, True)
    assert b"secret" not in told.body
    house.intakes["shop"].error = None
    writer.write(post(order(1)))
    assert (await hear(reader)).status == 201


async def test_both_ways_read_the_same_header(served: Served, house: DoorHouse) -> None:
    for ends in (b"", b"Connection: close\r\n"):
        reader, writer = await served.connect()
        text = post(order(1)).replace(b"Authorization: Bearer", ends + b"AUTHORIZATION:\t Bearer")
        writer.write(text.replace(SHOP_TOKEN.encode(), SHOP_TOKEN.encode() + b" \t", 1))
        assert (await hear(reader)).status in {200, 201}


async def test_a_connection_may_turn_to_another_path_with_each_request(served: Served, house: DoorHouse) -> None:
    reader, writer = await served.connect()
    hold = json.dumps({"id": "h", "lines": [{"sku": "TEE", "quantity": 1}]}).encode()
    for path, body, member in (
        ("/v1/orders", order(1), "order"),
        ("/v1/holds", hold, "expires_at"),
        ("/v1/orders", order(2), "order"),
        ("/webhooks/shop", b"webhook_id=1", "state"),
        ("/webhooks/shop2", b"webhook_id=1", "title"),
    ):
        writer.write(post(body, path))
        told = await hear(reader)
        assert told.went_express
        assert member in json.loads(told.body), path


async def test_of_a_header_that_stands_twice_the_first_counts_however_it_is_spelt(served: Served) -> None:
    reader, writer = await served.connect()
    for second in ("authorization", "Authorization"):
        text = post(order(1)).replace(b"Content-Length", f"{second}: Bearer nobody\r\nContent-Length".encode())
        writer.write(text)
        told = await hear(reader)
        assert (told.status // 100, told.went_express) == (2, True)


async def test_a_header_that_is_not_utf_8_is_read_all_the_same(served: Served) -> None:
    reader, writer = await served.connect()
    writer.write(post(order(1)).replace(b"Host: x", b"Host: x\r\nX-Name: Andr\xe9"))
    told = await hear(reader)
    assert (told.status, told.went_express) == (201, True)


async def test_a_refusal_goes_express_too_with_its_headers(served: Served, house: DoorHouse) -> None:
    reader, writer = await served.connect()
    writer.write(b"POST /v1/orders HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
    told = await hear(reader)
    assert (told.status, told.went_express, told.headers["www-authenticate"]) == (401, True, "Bearer")
    assert told.headers["content-type"] == "application/problem+json"
    writer.write(post(b"{"))
    assert (await hear(reader)).status == 400  # the connection goes on
    writer.write(post(order(1)))
    assert (await hear(reader)).status == 201


async def test_a_head_over_the_limit_is_refused_and_ends_the_connection(serve: Serve, house: DoorHouse) -> None:
    served = await serve("intake", limit_head_bytes=2000)
    reader, writer = await served.connect()
    writer.write(post(order(1), extra="".join(f"X-{number}: {'x' * 900}\r\n" for number in range(3))))
    told = await hear(reader)
    assert told.status == 431
    assert await asyncio.wait_for(reader.read(), 30) == b""
    assert house.main.records == {}


async def test_a_body_over_the_limit_is_413_and_ends_the_connection(serve: Serve) -> None:
    served = await serve("intake", body_bytes=100)
    reader, writer = await served.connect()
    writer.write(post(b"x" * 101))
    told = await hear(reader)
    assert (told.status, told.went_express) == (413, True)
    assert await asyncio.wait_for(reader.read(), 30) == b""


async def test_an_idle_connection_is_closed(serve: Serve, house: DoorHouse) -> None:
    house.count("TEE", 5)
    served = await serve("intake", limit_idle_s=0.2)
    reader, writer = await served.connect()
    for number in range(3):
        writer.write(post(order(number)))
        assert (await hear(reader)).went_express
    assert await asyncio.wait_for(reader.read(), 30) == b""


async def test_a_stop_lets_the_request_in_hand_end(served: Served, house: DoorHouse) -> None:
    shop = house.intakes["shop"]
    shop.gate.clear()
    reader, writer = await served.connect()
    writer.write(post(order(1)))
    await asyncio.wait_for(shop.inside.wait(), 30)
    stopped = asyncio.create_task(served.listener.stop())
    await asyncio.sleep(0.05)
    assert not stopped.done()
    shop.gate.set()
    told = await hear(reader)
    assert (told.status, told.went_express) == (201, True)
    await asyncio.wait_for(stopped, 30)


async def test_a_client_that_goes_away_leaves_nothing_behind_and_its_order_is_kept(
    served: Served, house: DoorHouse
) -> None:
    shop = house.intakes["shop"]
    shop.gate.clear()
    _, writer = await served.connect()
    writer.write(post(order(1)))
    await asyncio.wait_for(shop.inside.wait(), 30)
    writer.transport.abort()
    guard = served.listener.guard
    assert guard is not None
    await eventually(lambda: not guard.connections)
    shop.gate.set()
    await eventually(lambda: not shop.at_work)
    assert len(house.main.records) == 1
    assert house.broken == []


async def test_an_aiohttp_with_other_inner_names_serves_all_of_it_in_its_own_way(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "IS_KNOWN", False)
    reader, writer = await served.connect()
    writer.write(post(order(1)) + post(order(2)))
    told = [await hear(reader) for _ in range(2)]
    assert [(one.status, one.went_express) for one in told] == [(201, False)] * 2


@pytest.mark.parametrize(
    ("options", "status", "result"),
    [({"webhook_bytes": 10}, 413, "too_large"), ({"budget_bytes": 10}, 503, "busy")],
    ids=["too long", "no room"],
)
@pytest.mark.parametrize("extra", ["", "Connection: close\r\n"], ids=["express", "ordinary"])
async def test_a_webhook_that_is_not_even_taken_counts_whichever_way_it_goes(
    serve: Serve, house: DoorHouse, options: dict[str, int], status: int, result: str, extra: str
) -> None:
    served = await serve("intake", **options)
    reader, writer = await served.connect()
    writer.write(post(b"x" * 11, path="/webhooks/shop", extra=extra))
    told = await hear(reader)
    assert (told.status, told.went_express) == (status, not extra)
    counted = f'flashd_webhooks_received_total{{channel="shop",result="{result}"}} 1.0'
    assert counted in house.doors.metrics.text().decode()


@pytest.mark.parametrize("is_answered", [True, False])
async def test_a_stop_does_not_wait_for_an_answer_whose_reader_went_away(
    serve: Serve, house: DoorHouse, *, is_answered: bool
) -> None:
    house.count("TEE", 5)
    served = await serve("intake", limit_stop_s=600.0)
    shop = house.intakes["shop"]
    shop.gate.clear()
    _, writer = await served.connect()
    writer.write(post(order(1)))
    await asyncio.wait_for(shop.inside.wait(), 30)
    assert served.listener.guard is not None
    [connection] = served.listener.guard.connections
    connection.pause_writing()  # as the loop does where nobody reads
    if is_answered:
        shop.gate.set()
        await eventually(lambda: not shop.at_work)
        await asyncio.sleep(0.05)
    stopped = asyncio.create_task(served.listener.stop())
    await asyncio.sleep(0.05)
    assert not stopped.done()
    writer.transport.abort()
    await eventually(lambda: not connection.connected)
    shop.gate.set()
    await asyncio.wait_for(stopped, 60)


async def test_what_still_comes_over_a_connection_that_was_closed_at_work_is_no_error(
    served: Served, house: DoorHouse
) -> None:
    shop = house.intakes["shop"]
    shop.gate.clear()
    _, writer = await served.connect()
    writer.write(post(order(1)))
    await asyncio.wait_for(shop.inside.wait(), 30)
    assert served.listener.guard is not None
    [connection] = served.listener.guard.connections
    connection.force_close()
    connection.data_received(post(order(2)))  # as TLS does, which reads on until the other side has heard of the end
    shop.gate.set()
    await eventually(lambda: not shop.at_work)
    assert len(house.main.records) == 1


def test_this_aiohttp_is_one_that_is_known() -> None:
    assert connection_module.IS_KNOWN
