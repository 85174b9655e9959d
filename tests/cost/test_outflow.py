"""What it costs to deliver an order: Python calls and commands, from the claim to the result that is settled."""

from __future__ import annotations

import asyncio
import logging
import queue
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import redis as blocking
import structlog
import uvloop
from redis.asyncio import Redis

from flashd.actors.backend import BackendActor
from flashd.actors.backend_rules import BackendRules
from flashd.backends import http
from flashd.channels import native
from flashd.config import SecretText, StoreConfig
from flashd.domain.order import Incoming, Kind
from flashd.domain.rate import Rate
from flashd.domain.stock import StockLevel
from flashd.runtime.clock import SystemClock
from flashd.store.connection import connect
from flashd.store.gate import RedisBackendGate
from flashd.store.ledger import RedisLedger
from flashd.store.outbox import RedisOutbox
from tests.cost.house import SKU, CallCount
from tests.cost.test_cost import native_order
from tests.fakes.announcer import FakeAnnouncer
from tests.servers import Server

ORDERS = 1280


class _Sink(asyncio.Protocol):
    """Books every order at once, and says which."""

    _text = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._text += data
        head, end, body = self._text.partition(b"\r\n\r\n")
        if end and len(body) >= int(_header(head, b"content-length")):
            self._text = b""
            booked = b'{"id":"so1","key":"%s"}' % _header(head, b"idempotency-key")
            headers = b"Content-Type: application/json\r\nContent-Length: %d" % len(booked)
            self._transport.write(b"HTTP/1.1 201 Created\r\n" + headers + b"\r\n\r\n" + booked)


def _header(head: bytes, name: bytes) -> bytes:
    found = re.search(rb"\r\n" + name + rb": *([^\r]*)", head, re.IGNORECASE)
    assert found is not None, head
    return found[1]


@contextmanager
def sink() -> Iterator[int]:
    """Serve a backend in a thread of its own, whose calls are not counted; hand out its port."""
    opened: queue.SimpleQueue[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]] = queue.SimpleQueue()

    async def serve() -> None:
        loop, end = asyncio.get_running_loop(), asyncio.Event()
        server = await loop.create_server(_Sink, "127.0.0.1", 0)
        opened.put((loop, end, server.sockets[0].getsockname()[1]))
        await end.wait()
        server.close()
        await asyncio.sleep(0.05)  # those who sent have closed their connections

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    loop, end, port = opened.get(timeout=30)
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(30)


@dataclass(frozen=True)
class Cost:
    """What was counted, for each order; the calls of the store carry several orders each."""

    python_calls: float
    scripts: float
    commands: float  # all, those inside scripts too


async def _commands(client: Redis) -> tuple[int, int]:
    stats = await client.info("commandstats")
    scripts = sum(int(stats.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in ("evalsha", "eval"))
    return scripts, sum(int(one["calls"]) for one in stats.values())


def _wait_until_settled(server: Server, actor: BackendActor) -> None:
    """For a thread, so that looking is not counted among the calls; the store is asked when it is as good as over."""
    deadline_s = time.monotonic() + 120
    with blocking.Redis(unix_socket_path=server.socket_path) as client:
        while (
            actor.health.counts.get("delivered", 0) < ORDERS
            or client.zcard("fd:{main}:q:sink")
            or client.zcard("fd:{main}:fl:sink")
        ):
            assert time.monotonic() < deadline_s, "not delivered"
            time.sleep(0.02)


@pytest.fixture
def _quiet() -> Iterator[None]:
    """Say no more than the daemon does unless it is asked to."""
    before = structlog.get_config()["wrapper_class"]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    yield
    structlog.configure(wrapper_class=before)


async def _next(_pool: str) -> int:
    return 0


async def _cost(server: Server, port: int, rules: BackendRules) -> Cost:
    clock = SystemClock()
    async with connect(StoreConfig(url=server.url, timeout_s=30), lambda _: SecretText("")) as client:
        await client.flushall()
        ledger = RedisLedger(client, "main", kinds={"sink": {Kind.CREATE}})
        await ledger.recount(StockLevel(sku=SKU, location="main", on_hand=1_000_000))
        for at in range(0, ORDERS, 64):
            await ledger.accept([_incoming(at + number) for number in range(64)], ["sink"] * 64, since_ms=0)
        backend = http.connect(
            "sink",
            http.Config(kind="http", url=f"http://127.0.0.1:{port}/orders", max_in_flight=rules.max_in_flight),
            lambda _: SecretText(""),
        )
        actor = BackendActor(
            backend,
            rules,
            [RedisOutbox(client, "main", "sink")],
            RedisBackendGate(client, "sink", clock),
            clock=clock,
            announcer=FakeAnnouncer(),
            owner="one",
            apply_next=_next,
        )
        before = await _commands(client)
        try:
            with CallCount() as count:
                actor.start()
                await asyncio.to_thread(_wait_until_settled, server, actor)
            after = await _commands(client)
        finally:
            await actor.stop()
            await backend.close()
    assert actor.health.counts["delivered"] == ORDERS, actor.health.counts
    return Cost(count.calls / ORDERS, (after[0] - before[0]) / ORDERS, (after[1] - before[1] - 1) / ORDERS)


@pytest.mark.usefixtures("_quiet")
def test_a_delivery_costs_no_more_calls_than_it_did(valkey: Server) -> None:
    """Bounds as in test_cost.py. How many orders share a call of the store is the scheduler's, so each call adds."""
    rules = BackendRules(rate=Rate.parse("unlimited", unlimited=True), max_in_flight=64)
    with sink() as port:
        cost = uvloop.run(_cost(valkey, port, rules))
    assert cost.python_calls <= 185, cost
    assert cost.commands <= 6.2 + 11 * cost.scripts, cost
    assert cost.scripts < 0.3, "what leaves together is not claimed and settled together"


def _incoming(number: int) -> Incoming:
    return native.decode_order(native_order(5_000_000_000_000 + number).partition(b"\r\n\r\n")[2], "till")
