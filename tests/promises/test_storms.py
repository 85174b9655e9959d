"""
Storms, against daemons as processes: everything many times at once, callers that hang up, and every order of things.

The judge is what was answered, what the ERP booked and what `flashd audit` says.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import itertools
import json
import random
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from redis import Redis

from flashd.demo.simulated_erp import SimulatedErp
from tests.channels.bodies import shopify_line, shopify_order, woo_line, woo_order
from tests.configuration import configuration, fed, keep, native, signed
from tests.e2e.process import Flashd
from tests.servers import Server, find_server, missing
from tests.until import until

pytestmark = pytest.mark.timeout(600)  # a busy machine starts a process in twenty seconds

SECRETS = {name: f"{name}-secret-of-the-test" for name in ("shop", "woo", "till")}
HEADERS = {"shop": "X-Shopify-Hmac-Sha256", "woo": "X-WC-Webhook-Signature"}
TILL = {"Authorization": f"Bearer {SECRETS['till']}", "Content-Type": "application/json"}
House = tuple[list[Flashd], SimulatedErp, Server]


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Callable[[int], House]]:
    """Start so many daemons on one store, and the ERP they feed."""
    if find_server("valkey") is None:
        pytest.skip(missing("valkey"))
    keep(tmp_path, shop_secret=SECRETS["shop"], woo_secret=SECRETS["woo"], till_token=SECRETS["till"])
    server = Server("valkey").start()
    erp = SimulatedErp(tmp_path, limit=5000).start()
    sections = (
        signed("shop"),
        signed("woo", "woocommerce"),
        native(),
        fed(erp.url, rate="2000/s", max_in_flight=16, settle_s=0.5),
    )
    daemons: list[Flashd] = []

    def start(count: int) -> House:
        for number in range(count):
            text = configuration(tmp_path, *sections, store=server.url, state=f"state{number}")
            daemons.append(Flashd(tmp_path, text, name=f"flashd{number}").start())
        return daemons, erp, server

    yield start
    for daemon in daemons:
        daemon.close()
    erp.close()
    server.close()


def headers_of(channel: str, body: bytes) -> dict[str, str]:
    digest = hmac.digest(SECRETS[channel].encode(), body, hashlib.sha256)
    return {HEADERS[channel]: base64.b64encode(digest).decode(), "Content-Type": "application/json"}


def stamped(seconds: int, *, age: timedelta = timedelta()) -> str:
    """A moment so many seconds after a fixed one of today."""
    return f"{datetime.now(UTC).replace(microsecond=0) - age + timedelta(seconds=seconds - 60):%Y-%m-%dT%H:%M:%S}"


def of_shopify(number: int, *, quantity: int = 1, at: int = 0, cancelled: bool = False) -> bytes:
    """Return an order of TEE as Shopify tells it."""
    total = f"{5 + 10 * quantity}.00"
    line = shopify_line(sku="TEE", quantity=quantity, current_quantity=quantity, price="10.00", discount_allocations=[])
    moment = f"{stamped(at)}Z"
    body = shopify_order(
        id=number,
        admin_graphql_api_id=f"gid://shopify/Order/{number}",
        line_items=[line],
        total_price=total,
        current_total_price=total,
        created_at=f"{stamped(0)}Z",
        updated_at=moment,
        cancelled_at=moment if cancelled else None,
    )
    return json.dumps(body).encode()


def of_woo(number: int, *, quantity: int = 1, at: int = 0, cancelled: bool = False) -> bytes:
    """Return an order of TEE as WooCommerce tells it."""
    line = woo_line(sku="TEE", quantity=quantity, subtotal=f"{10 * quantity}.00", total=f"{10 * quantity}.00")
    body = woo_order(
        id=number,
        number=str(number),
        line_items=[line],
        status="cancelled" if cancelled else "processing",
        date_created_gmt=stamped(0),
        date_modified_gmt=stamped(at),
    )
    return json.dumps(body).encode()


def of_till(order_id: str) -> bytes:
    line = {"sku": "TEE", "quantity": 1, "unit_price": 1000}
    order = {"id": order_id, "status": "paid", "currency": "EUR", "lines": [line], "total": 1000}
    return json.dumps(order).encode()


def booked(erp: SimulatedErp) -> Counter[str]:
    """How often each order stands in the ERP's books, by channel and id."""
    return Counter(
        f"{entry['order']['channel']}:{entry['order']['order_id']}"
        for entries in erp.bookings().values()
        for entry in entries
    )


def audited(flashd: Flashd) -> None:
    report = flashd.run("audit", "--json")
    assert report.returncode == 0, report.stdout + report.stderr


async def post(session: aiohttp.ClientSession, flashd: Flashd, channel: str, body: bytes) -> tuple[int, Any]:
    path, headers = ("/v1/orders", TILL) if channel == "till" else (f"/webhooks/{channel}", headers_of(channel, body))
    async with session.post(f"http://127.0.0.1:{flashd.intake}{path}", data=body, headers=headers) as answer:
        return answer.status, await answer.json()


async def rain(house: House, orders: int, copies: int) -> None:
    """Send each order so many times at once, over all daemons; see that it is one order everywhere."""
    daemons, erp, _ = house
    daemons[0].ask_admin("PUT", "/admin/v1/stock/TEE", {"on_hand": 100_000})
    bodies = [("shop", of_shopify(number)) for number in range(1, orders // 2 + 1)]
    bodies += [("till", of_till(str(number))) for number in range(1, orders - orders // 2 + 1)]
    statuses: Counter[int] = Counter()
    codes: Counter[str] = Counter()
    timeout = aiohttp.ClientTimeout(60)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=150), timeout=timeout) as session:
        for start in range(0, orders, 20):
            asked = [
                post(session, daemons[copy % len(daemons)], channel, body)
                for copy in range(copies)
                for channel, body in bodies[start : start + 20]
            ]
            for status, answer in await asyncio.gather(*asked):
                statuses[status] += 1
                codes[str(answer.get("code", answer["state"]))] += 1
    print(f"{orders} orders, {copies} times each, {len(daemons)} processes: {dict(statuses)} {dict(codes)}")
    assert sum(statuses.values()) == orders * copies
    assert set(statuses) <= {200, 201}
    assert statuses[201] == orders - orders // 2  # one native answer is the first
    assert codes["accepted"] >= orders // 2
    await until(lambda: len(booked(erp)) >= orders, "the ERP has every order", 60)
    assert set(booked(erp).values()) == {1}
    assert len(booked(erp)) == orders
    (level,) = daemons[0].ask_admin("GET", "/admin/v1/stock")["levels"]
    assert level["sold"] == orders
    audited(daemons[0])


@pytest.mark.slow
async def test_two_hundred_orders_fifty_times_each_over_three_processes_are_one_order_each(
    build: Callable[[int], House],
) -> None:
    await rain(build(3), 200, 50)


# ------------------------------------------------------------------------------------------------------- hanging up


async def hang_up(port: int, request: bytes, dice: random.Random) -> None:
    """Send all or a part of a request, and reset the connection at once, or a moment later."""
    client = socket.socket()
    client.setblocking(False)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    try:
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
        piece = request if dice.random() < 0.8 else request[: dice.randrange(1, len(request))]
        with suppress(OSError):
            await asyncio.get_running_loop().sock_sendall(client, piece)
            await asyncio.sleep(dice.choice([0, 0, 0.001, 0.005, 0.02]))
    finally:
        client.close()


def request_of(order_id: str) -> bytes:
    body = of_till(order_id)
    head = f"POST /v1/orders HTTP/1.1\r\nHost: x\r\nAuthorization: {TILL['Authorization']}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def faithful(session: aiohttp.ClientSession, flashd: Flashd, number: int, over: asyncio.Event) -> list[str]:
    """Order again and again over connections that stay open; each answer must be one's own."""
    had: list[str] = []
    while not over.is_set():
        order_id = f"faithful-{number}-{len(had)}"
        status, answer = await post(session, flashd, "till", of_till(order_id))
        assert status == 201, answer
        assert answer["order"] == f"till:{order_id}", answer
        had.append(order_id)
    return had


async def storm_of_hang_ups(house: House, count: int, seed: int) -> None:
    (flashd, *_), erp, server = house
    flashd.ask_admin("PUT", "/admin/v1/stock/TEE", {"on_hand": 100_000})
    assert flashd.process is not None
    process = psutil.Process(flashd.process.pid)
    print(f"seed {seed}")

    async def clients(number: int) -> None:
        dice = random.Random(f"{seed}/{number}")
        for turn in range(count // 60):
            await hang_up(flashd.intake, request_of(f"gone-{number}-{turn}"), dice)

    async with aiohttp.ClientSession() as session:
        for number in range(30):
            await post(session, flashd, "till", of_till(f"before-{number}"))
        files, links = process.num_fds(), clients_of(server)
        over = asyncio.Event()
        staying = [asyncio.create_task(faithful(session, flashd, number, over)) for number in range(8)]
        await asyncio.gather(*(clients(number) for number in range(60)))
        over.set()
        had = list(itertools.chain(*await asyncio.gather(*staying)))
    # 16 connections to the ERP may be kept
    await until(lambda: process.num_fds() <= files + 20, "every connection is closed", 30)
    assert clients_of(server) <= links + 32  # of the pool, which keeps what it opened
    await until(lambda: not waiting(flashd), "nothing waits for the ERP", 60)
    books = booked(erp)
    gone = sum(key.startswith("till:gone-") for key in books)
    print(f"{count} hung up, {gone} of their orders were taken; {len(had)} stayed and were answered as they asked")
    assert set(books.values()) == {1}
    assert {f"till:{order_id}" for order_id in had} <= set(books)
    assert 0 < gone < count
    (level,) = flashd.ask_admin("GET", "/admin/v1/stock")["levels"]
    assert level["sold"] == len(books)
    assert flashd.call("GET", "/readyz", port=flashd.admin)[0] == 200
    audited(flashd)


def clients_of(server: Server) -> int:
    with Redis(unix_socket_path=server.socket_path) as client:
        return int(client.info("clients")["connected_clients"])


def waiting(flashd: Flashd) -> int:
    (backend,) = flashd.ask_admin("GET", "/admin/v1/backends")["backends"]
    return int(backend["flow"]["queued"]) + int(backend["flow"]["in_flight"]) + int(backend["flow"]["in_doubt"])


@pytest.mark.slow
async def test_six_thousand_callers_hang_up_and_leave_nothing_behind(build: Callable[[int], House]) -> None:
    await storm_of_hang_ups(build(1), 6000, random.SystemRandom().randrange(10**6))


# ------------------------------------------------------------------------------------------------- orders of things


@pytest.mark.slow
async def test_create_update_and_cancel_of_both_platforms_end_alike_in_any_order_each_told_twice(
    build: Callable[[int], House],
) -> None:
    (flashd,), erp, _ = build(1)
    flashd.ask_admin("POST", "/admin/v1/backends/erp/pause", {"reason": "so that all is told before anything leaves"})
    flashd.ask_admin("PUT", "/admin/v1/stock/TEE", {"on_hand": 100})
    ends: Counter[str] = Counter()
    async with aiohttp.ClientSession() as session:
        for channel, made in (("shop", of_shopify), ("woo", of_woo)):
            for number, turns in enumerate(itertools.permutations(range(3)), 1):
                told = [made(number, at=0), made(number, quantity=3, at=1), made(number, at=2, cancelled=True)]
                for index in (*turns, *turns):
                    status, answer = await post(session, flashd, channel, told[index])
                    assert status == 200, answer
                record = flashd.ask_admin("GET", f"/admin/v1/orders/{channel}/{number}")
                ends[record["summary"]["state"]] += 1
    print(dict(ends))
    assert ends == {"cancelled": 12}
    (level,) = flashd.ask_admin("GET", "/admin/v1/stock")["levels"]
    assert (level["sold"], level["free"]) == (0, 100)
    flashd.ask_admin("POST", "/admin/v1/backends/erp/resume")
    audited(flashd)
    assert booked(erp) == {}


@pytest.mark.slow
async def test_a_webhook_that_comes_again_after_weeks_is_a_repeat_and_one_that_is_older_than_memory_is_never_taken(
    build: Callable[[int], House],
) -> None:
    (flashd,), erp, server = build(1)
    flashd.ask_admin("PUT", "/admin/v1/stock/TEE", {"on_hand": 100})
    async with aiohttp.ClientSession() as session:
        first = of_shopify(1)
        assert (await post(session, flashd, "shop", first))[1]["code"] == "accepted"
        await until(lambda: len(booked(erp)) == 1, "it is delivered")
        with Redis(unix_socket_path=server.socket_path) as client:  # three weeks pass: its place in the index is older
            weeks_ago = (datetime.now(UTC) - timedelta(weeks=3)).timestamp() * 1000
            assert client.zadd("fd:{main}:done", {"shop:1": weeks_ago}, xx=True, ch=True) == 1
    flashd.terminate()
    flashd.start()
    async with aiohttp.ClientSession() as session:
        status, answer = await post(session, flashd, "shop", first)
        assert (status, answer["code"]) == (200, "repeat")
        old = json.loads(of_shopify(2)) | dict.fromkeys(
            ("created_at", "updated_at", "processed_at"), f"{stamped(0, age=timedelta(days=40))}Z"
        )
        status, answer = await post(session, flashd, "shop", json.dumps(old).encode())
        print(answer)
        assert status == 200
        assert answer["state"] in {"ignored", "parked", "unrelated", "quarantined"}
    assert booked(erp) == {"shop:1": 1}
