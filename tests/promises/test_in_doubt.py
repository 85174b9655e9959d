"""
What the backend's answer can be, times what the backend can: it never books an order twice, and nothing is guessed.

With keys or with a look-up every order ends delivered, and is there once. With neither, what is in doubt is a human's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from aiohttp import web
from redis.asyncio import Redis

from flashd.actors.backend import BackendActor
from flashd.actors.backend_rules import BackendRules
from flashd.backends import http
from flashd.config import SecretText, StoreConfig
from flashd.domain.order import Effect, Incoming, Line, Order, OrderRef, OrderState
from flashd.domain.rate import Rate
from flashd.domain.stock import StockLevel
from flashd.runtime.clock import SystemClock
from flashd.store.connection import connect
from flashd.store.gate import RedisBackendGate
from flashd.store.ledger import RedisLedger
from flashd.store.orderbook import RedisOrderBook
from flashd.store.outbox import RedisOutbox
from tests.fakes.announcer import FakeAnnouncer
from tests.servers import Server

ORDERS, EVERY = 20, 4  # of so many orders each fourth meets the fault when it is sent first
CAN = ("keys", "lookup", "neither")
TIMEOUT_S, SETTLE_S = 0.4, 0.15
LATE_S, LATE_SETTLE_S = 0.9, 1.2  # so long after a cut an order may still be booked: within the settling time
# What happens to a first request: whether it is booked, and how it is answered.
FAULTS: dict[str, tuple[bool, str]] = {
    "cut before": (False, "cut"),
    "cut after": (True, "cut"),
    "cut, and booked later": (False, "late"),
    "black hole": (False, "hang"),
    "booked, and silence": (True, "hang"),
    "500 before": (False, "500"),
    "500 after": (True, "500"),
    "502 after": (True, "502"),
    "504 after": (True, "504"),
    "cut in the middle of the answer's head": (True, "head"),
    "tarpit": (True, "tarpit"),
    "booked when it was called absent": (False, "absent first"),
    "a login page": (True, "page"),
    "a login page instead": (False, "page"),
    "200 with an error in it": (False, "error"),
    "another order's id": (True, "other"),
    "half an answer": (True, "half"),
    "409 that does not say whose": (True, "409"),
    "an empty answer": (True, "empty"),
    "a part of it, and cut": (True, "part"),
    "409, ours": (True, "409 ours"),
    "409, another's": (False, "409 another's"),
    "422": (False, "422"),
    "429": (False, "429"),
    "503": (False, "503"),
}
# Where an order ends that met this, whatever the backend can; else it is delivered, or a human's with neither.
ENDS = {
    "a part of it, and cut": OrderState.MANUAL,
    "409, ours": OrderState.DELIVERED,
    "409, another's": OrderState.DEAD,
    "422": OrderState.DEAD,
    "429": OrderState.DELIVERED,
    "503": OrderState.DELIVERED,
}
UNDOUBTED = {"409, ours", "409, another's", "422", "429", "503"}  # nothing need be looked up


TOLD: dict[str, tuple[int, dict[str, str]]] = {
    "409": (409, {"error": "conflict"}),
    "409 another's": (409, {"id": "SO7", "key": "fd-another", "error": "taken"}),
    "422": (422, {"error": "no such article"}),
    "429": (429, {"error": "later"}),
    "503": (503, {"error": "later"}),
}
TOLD_OF_IT = {  # with its id and its key
    "good": (201, {}),
    "error": (200, {"error": "try later"}),
    "other": (200, {"key": "fd-another"}),
    "409 ours": (409, {"error": "known already"}),
}
BROKEN = {
    "head": b"HTTP/1.1 201 Created\r\nContent-Le",
    "half": b'HTTP/1.1 201 Created\r\nContent-Length: 90\r\n\r\n{"id": "SO',
}
ENDED = {OrderState.DELIVERED, OrderState.MANUAL, OrderState.DEAD}


@dataclass
class Erp:
    """A backend that misbehaves in one way, once for each order that is chosen."""

    can: str
    fault: str
    met: int = 0
    looked_up: int = 0
    booked: list[str] = field(default_factory=list)  # order ids, as often as they were booked
    _keys: dict[str, str] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    again: set[str] = field(default_factory=set)  # came more than once
    _hidden: dict[str, str] = field(default_factory=dict)  # by key, what is booked once it was called absent
    _parts: set[str] = field(default_factory=set)

    async def book(self, request: web.Request) -> web.StreamResponse:
        order, key = await request.json(), request.headers["Idempotency-Key"]
        name = order["order_id"]
        first, chosen = name not in self.seen, int(name) % EVERY == 0
        self.again |= self.seen & {name}
        self.seen.add(name)
        books, answer = FAULTS[self.fault] if first and chosen else (True, "good")
        self.met += answer != "good"
        if books:
            self._book(name, key)
        if answer == "late":
            asyncio.get_running_loop().call_later(LATE_S, self._book, name, key)
        if answer == "absent first":
            self._hidden[key] = name
        if answer == "part":
            self._parts.add(key)
        return await self._answer(request, answer, {"id": f"SO{name}", "key": key})

    def _book(self, name: str, key: str) -> None:
        if not (self.can == "keys" and key in self._keys):
            self.booked.append(name)
            self._keys[key] = name

    async def _answer(self, request: web.Request, how: str, good: dict[str, str]) -> web.StreamResponse:  # noqa: PLR0911  # a table
        assert request.transport is not None
        if how in TOLD:
            status, told = TOLD[how]
            return web.json_response(told, status=status, headers={"Retry-After": "0"} if status in {429, 503} else {})
        if how in TOLD_OF_IT:
            status, told = TOLD_OF_IT[how]
            return web.json_response(good | told, status=status)
        if how.isdigit():
            return web.Response(status=int(how), text="internal")
        match how:
            case "page":
                return web.Response(text="<html>Please log in</html>", content_type="text/html")
            case "empty":
                return web.Response(status=204)
            case "hang":
                await asyncio.sleep(3 * TIMEOUT_S)
            case "tarpit":
                return await self._drip(request, msgspec.json.encode(good))
            case "head" | "half":
                request.transport.write(BROKEN[how])
                request.transport.close()
            case _:  # cut, here or in the middle of something
                request.transport.abort()
        return web.Response()  # goes nowhere

    @staticmethod
    async def _drip(request: web.Request, body: bytes) -> web.StreamResponse:
        answer = web.StreamResponse(status=201, headers={"Content-Type": "application/json"})
        await answer.prepare(request)
        for byte in body:
            await answer.write(bytes([byte]))
            await asyncio.sleep(TIMEOUT_S / 3)
        return answer

    async def find(self, request: web.Request) -> web.Response:
        self.looked_up += 1
        key = request.query["key"]
        name = self._keys.get(key)
        if key in self._hidden:
            self._book(self._hidden.pop(key), key)  # by the request of then, right behind this answer
        lines = [] if key in self._parts else [{"sku": "tee", "quantity": 1, "unit_price": 100}]
        told = {"id": f"SO{name}", "key": key, "order_id": name, "lines": lines, "total": 100}
        return web.json_response([told] if name else [])

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_post("/orders", self.book)
        app.router.add_get("/orders", self.find)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/orders"
        finally:
            await runner.cleanup()


@contextlib.asynccontextmanager
async def outflow(
    client: Redis, pool: str, url: str, can: str, settle_s: float, *, backend_name: str = "", **rules: Any
) -> AsyncIterator[None]:
    """The real adapter and its actor, feeding that backend; it is called as its pool where it has no name."""
    limits: dict[str, Any] = {"timeout_s": rules.get("timeout_s", TIMEOUT_S), "max_in_flight": 4}
    wish = {"kind": "http", "url": url, "idempotent": "keys" in can} | limits
    config = msgspec.convert(
        wish | ({} if can in {"neither", "only keys"} else {"lookup_url": url + "?key={key}"}), http.Config
    )
    name = backend_name or pool
    backend, clock = http.connect(name, config, lambda _: SecretText("")), SystemClock()
    ledger = RedisLedger(client, pool)
    usual: dict[str, Any] = {"settle_s": settle_s, "timeout_s": TIMEOUT_S, "poll_s": 0.03, "slow_start_s": 0.1}
    profile: dict[str, Any] = {"rate": Rate.parse("100/s"), "max_refusals": 50} | usual | rules
    flow = BackendActor(
        backend,
        BackendRules(**profile),
        [RedisOutbox(client, pool, name)],
        RedisBackendGate(client, name, clock),
        clock=clock,
        announcer=FakeAnnouncer(),
        owner=pool,
        apply_next=lambda _: ledger.apply_next(),
    )
    life = flow.start()
    try:
        yield
    finally:
        await flow.stop()
        await asyncio.gather(life, return_exceptions=True)
        await backend.close()


async def cell(server: Server, fault: str, can: str) -> tuple[Erp, dict[str, OrderState]]:
    """Send the orders of one cell; return the backend, and where each order ended."""
    settle_s = LATE_SETTLE_S if FAULTS[fault][1] == "late" else SETTLE_S
    erp, pool, refs = Erp(can, fault), f"{list(FAULTS).index(fault)}{can}", []
    async with connect(StoreConfig(url=server.url, connections=4), lambda _: SecretText("")) as client:
        ledger, book = RedisLedger(client, pool), RedisOrderBook(client, pool)
        await ledger.recount(StockLevel(sku="tee", on_hand=ORDERS))
        for number in range(ORDERS):
            lines = (Line("tee", 1, 100),)
            order = Order(channel="shop", id=str(number), placed_ms=1, currency="EUR", lines=lines, total=100)
            await ledger.accept([Incoming(order=order, version=1, effect=Effect.DELIVER)], [pool], since_ms=0)
            refs.append(OrderRef("shop", str(number)))
        states: dict[str, OrderState] = {}
        async with erp.open() as url, outflow(client, pool, url, can, settle_s), asyncio.timeout(100):
            while not states or not set(states.values()) <= ENDED:
                await asyncio.sleep(0.1)
                records = [await book.get(ref) for ref in refs]
                states = {record.ref.id: record.state for record in records if record is not None}
    return erp, states


def broken(fault: str, can: str, erp: Erp, states: dict[str, OrderState]) -> list[str]:
    """Return what does not hold in a cell."""
    found = []
    times, chosen = Counter(erp.booked), {str(number) for number in range(0, ORDERS, EVERY)}
    wanted = ENDS.get(fault, OrderState.MANUAL if can == "neither" else OrderState.DELIVERED)
    good = {OrderState.DELIVERED} | ({OrderState.MANUAL} if can == "neither" else set())
    astray = {name: str(states[name]) for name in chosen & erp.seen if states[name] is not wanted}
    if fault in UNDOUBTED:  # on a busy machine an answer may come too late, and then the order is in doubt after all
        late = erp.again | (
            {name for name in astray if states[name] is OrderState.MANUAL} if can == "neither" else set()
        )
        astray = {name: state for name, state in astray.items() if name not in late}
    astray |= {name: str(state) for name, state in states.items() if name not in chosen and state not in good}
    if len(states) != ORDERS or max(times.values()) > 1:
        found.append(f"{len(states)} orders, booked {times.most_common(1)}")
    if any(times[name] != 1 for name, state in states.items() if state is OrderState.DELIVERED):
        found.append("delivered, and not there")
    if any(times[name] for name, state in states.items() if state is OrderState.DEAD):
        found.append("buried, and there")
    if astray:
        found.append(f"not {wanted}, or not delivered: {astray}")
    if not 0 < erp.met == len(chosen & erp.seen):  # on a busy machine one may be doubted before it came
        found.append(f"the fault was met {erp.met} times")
    if can == "lookup" and fault not in UNDOUBTED and not erp.looked_up:
        found.append("nothing was looked up")
    return [f"{fault}, {can}: {one}" for one in found]


async def put_to_the_matrix(server: Server, faults: list[str]) -> None:
    turn, found = asyncio.Semaphore(9), []
    async with connect(StoreConfig(url=server.url), lambda _: SecretText("")) as client:
        await client.flushall()

    async def one(fault: str, can: str) -> None:
        async with turn:
            try:
                found.extend(broken(fault, can, *await cell(server, fault, can)))
            except TimeoutError:
                found.append(f"{fault}, {can}: not settled in time")

    await asyncio.gather(*(one(fault, can) for fault in faults for can in CAN))
    print(f"{len(faults) * len(CAN)} cells of {ORDERS} orders: {len(found)} of them broke a promise")
    assert not found, "\n".join(["", *found])


async def test_a_doubt_is_never_a_second_booking(valkey: Server) -> None:
    await put_to_the_matrix(valkey, ["cut after", "cut, and booked later", "black hole", "a login page instead"])


@pytest.mark.slow
async def test_no_answer_of_a_backend_is_ever_a_second_booking(server: Server) -> None:
    await put_to_the_matrix(server, list(FAULTS))
