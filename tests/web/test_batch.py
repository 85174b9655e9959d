from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from flashd.errors import StoreUnavailable
from flashd.web import intake_batch
from tests.conftest import PassTime
from tests.fakes.doors import SHOP_TOKEN, DoorHouse
from tests.web.conftest import Serve, Served, eventually


def line(number: int, sku: str = "TEE") -> bytes:
    return json.dumps({"id": str(number), "lines": [{"sku": sku, "quantity": 1}]}).encode() + b"\n"


def results(raw: bytes) -> list[dict[str, object]]:
    return [json.loads(each) for each in raw.splitlines()]


async def test_a_thousand_lines_get_a_thousand_results_in_order_and_bad_ones_spoil_none(
    intake: Served, house: DoorHouse
) -> None:
    house.count("TEE", 10_000)
    lines = [line(number) for number in range(1, 1001)]
    lines[4] = b"{not json\n"
    lines[9] = b'{"lines": []}\n'
    lines[19] = line(1)  # a repeat of the first
    lines[29] = line(31, "CAP")  # cannot be covered, and makes the next one another order of that id
    lines[39] = b"[" * 5000 + b"\n"
    answer = await intake.call("POST", "/v1/orders:batch", data=b"".join(lines))
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/x-ndjson")
    found = results(answer.raw)
    assert [each["line"] for each in found] == list(range(1, 1001))
    odd = {each["line"]: each["status"] for each in found if each["status"] != 201}
    assert odd == {5: 400, 10: 400, 20: 200, 30: 202, 31: 409, 40: 400}
    assert found[29]["short"] == {"CAP": 1}
    assert len(house.main.records) == 1000 - 5
    assert 1 < house.intakes["shop"].most_at_work <= intake_batch.PART * intake_batch.PARTS_AT_ONCE


async def test_the_number_at_work_is_bounded_while_the_store_is_slow(
    intake: Served, house: DoorHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake_batch, "PART", 16)
    most = 16 * intake_batch.PARTS_AT_ONCE
    house.count("TEE", 1000)
    shop = house.intakes["shop"]
    shop.gate.clear()
    call = asyncio.create_task(
        intake.call("POST", "/v1/orders:batch", data=b"".join(line(number) for number in range(500)))
    )
    await eventually(lambda: shop.at_work >= most)
    assert shop.at_work == most
    shop.gate.set()
    assert len(results((await call).raw)) == 500
    assert shop.most_at_work == most


async def test_results_come_while_the_batch_still_goes_on(intake: Served, house: DoorHouse) -> None:
    house.count("TEE", 10)
    more = asyncio.Event()

    async def lines() -> AsyncIterator[bytes]:
        yield line(1)
        await more.wait()
        yield line(2)[:-1]  # the last line may lack its end

    headers = {"Authorization": f"Bearer {SHOP_TOKEN}"}
    async with intake.session.post(intake.base + "/v1/orders:batch", data=lines(), headers=headers) as answer:
        first = await asyncio.wait_for(answer.content.readline(), 30)
        assert json.loads(first)["order"] == "shop:1"
        more.set()
        assert json.loads(await answer.content.readline())["order"] == "shop:2"
        assert await answer.content.read() == b""


async def test_the_store_away_is_503_line_by_line(intake: Served, house: DoorHouse) -> None:
    house.intakes["shop"].error = StoreUnavailable("away")
    found = results((await intake.call("POST", "/v1/orders:batch", data=line(1) + line(2))).raw)
    assert [(each["status"], each["title"]) for each in found] == [(503, "unavailable")] * 2


async def test_a_line_over_the_limit_ends_the_batch_with_a_last_word(serve: Serve, house: DoorHouse) -> None:
    house.count("TEE", 10)
    intake = await serve("intake", body_bytes=200)
    body = line(1) + b"x" * 300 + b"\n" + line(2)
    found = results((await intake.call("POST", "/v1/orders:batch", data=body, token=SHOP_TOKEN)).raw)
    assert [each["status"] for each in found] == [201, 413]


async def test_too_many_lines_end_the_batch_with_a_last_word(
    intake: Served, house: DoorHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake_batch, "LINES", 3)
    house.count("TEE", 10)
    body = b"".join(line(number) for number in range(5))
    found = results((await intake.call("POST", "/v1/orders:batch", data=body)).raw)
    assert [each["status"] for each in found] == [201, 201, 201, 413]


async def test_a_batch_whose_next_line_never_comes_is_ended(
    serve: Serve, house: DoorHouse, pass_time: PassTime
) -> None:
    house.count("TEE", 10)
    intake = await serve("intake", body_timeout_s=600.0)
    hold = asyncio.Event()

    async def lines() -> AsyncIterator[bytes]:
        yield line(1) + b"{"
        await eventually(lambda: len(house.main.records) == 1)
        while not hold.is_set():
            pass_time(600)
            await asyncio.sleep(0.02)

    headers, timeout = {"Authorization": f"Bearer {SHOP_TOKEN}"}, aiohttp.ClientTimeout()
    url = intake.base + "/v1/orders:batch"
    async with intake.session.post(url, data=lines(), headers=headers, timeout=timeout) as answer:
        found = results(await answer.content.read())
        hold.set()
    assert [each["status"] for each in found] == [201, 408]


async def test_a_client_that_goes_away_leaves_no_work_behind(intake: Served, house: DoorHouse) -> None:
    house.count("TEE", 1000)
    shop = house.intakes["shop"]
    shop.gate.clear()
    body = b"".join(line(number) for number in range(100))
    head = (
        f"POST /v1/orders:batch HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SHOP_TOKEN}\r\n"
        f"Content-Length: {len(body) + 1}\r\n\r\n"
    )
    _, writer = await intake.connect()
    writer.write(head.encode() + body)
    await asyncio.wait_for(shop.inside.wait(), 30)
    writer.transport.abort()
    shop.gate.set()
    guard = intake.listener.guard
    assert guard is not None
    await eventually(lambda: not shop.at_work and not guard.connections)
    assert house.broken == []


async def test_a_compressed_batch_is_refused_as_a_whole(intake: Served) -> None:
    answer = await intake.call("POST", "/v1/orders:batch", data=line(1), headers={"Content-Encoding": "gzip"})
    assert answer.status == 415
