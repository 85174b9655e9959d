"""
What an order costs, in counts that are the same on every machine: a guard against a slower hot path.

Times stand in benchmarks/. A bound here is what was counted when it was written, and a tenth: one that is passed means
that somebody added work to every order, and the right answer is rarely a higher bound.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
import uvloop
from redis.asyncio import Redis

from flashd.channels import native
from flashd.domain.delivery import FinishCode, Result, ResultKind
from flashd.domain.order import Incoming, Kind
from flashd.domain.stock import StockLevel
from flashd.store.ledger import RedisLedger
from flashd.store.outbox import RedisOutbox
from flashd.store.settings import SMALL
from tests.cost.house import SECRET, SKU, TOKEN, CallCount, Request, read_all, send, serving
from tests.servers import Server

ORDERS = 1280
CONNECTIONS = 64


def _http(path: str, body: bytes, header: str) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{header}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def native_order(number: int) -> bytes:
    body = {
        "id": str(number),
        "status": "paid",
        "placed_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "currency": "EUR",
        "lines": [{"sku": SKU, "quantity": 1, "unit_price": 1990, "title": "Tee, medium"}],
        "shipping": 490,
        "total": 2480,
        "customer": {"name": "Ada Lovelace", "email": "ada@example.com"},
        "ship_to": {"name": "Ada Lovelace", "street": "Lane 1", "postcode": "53111", "city": "Bonn", "country": "DE"},
    }
    return _http("/v1/orders", json.dumps(body, separators=(",", ":")).encode(), f"Authorization: Bearer {TOKEN}")


def native_hold(number: int) -> bytes:
    body = json.dumps({"id": f"cart-{number}", "lines": [{"sku": SKU, "quantity": 1}], "ttl_ms": 600_000}).encode()
    return _http("/v1/holds", body, f"Authorization: Bearer {TOKEN}")


def shopify_order(number: int) -> bytes:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    body = json.dumps(
        {
            "id": number,
            "created_at": now,
            "updated_at": now,
            "currency": "EUR",
            "financial_status": "paid",
            "total_price": "19.90",
            "line_items": [{"id": 1, "variant_id": 2, "sku": SKU, "quantity": 1, "price": "19.90", "name": "Tee"}],
            "email": "ada@example.com",
        }
    ).encode()
    signature = base64.b64encode(hmac.digest(SECRET, body, hashlib.sha256)).decode()
    return _http("/webhooks/shop", body, f"X-Shopify-Hmac-Sha256: {signature}")


@dataclass(frozen=True)
class Cost:
    """What was counted, for each order."""

    python_calls: float
    scripts: float
    commands: float  # all, those inside scripts too
    good: int


async def _commands(client: Redis) -> tuple[int, int]:
    stats: dict[str, dict[str, Any]] = await client.info("commandstats")
    scripts = sum(int(stats.get(f"cmdstat_{name}", {}).get("calls", 0)) for name in ("evalsha", "eval"))
    return scripts, sum(int(one["calls"]) for one in stats.values())


async def _cost(server: Server, make: Request) -> Cost:
    async with serving(server) as (port, client):
        warm = await asyncio.to_thread(send, port, [make(10_000 + number) for number in range(64)], connections=8)
        assert all(line.split()[1] in {b"200", b"201"} for line in warm), warm[:3]
        requests = [make(100_000 + number) for number in range(ORDERS)]
        before = await _commands(client)
        with CallCount() as count:
            told = await asyncio.to_thread(send, port, requests, connections=CONNECTIONS)
        after = await _commands(client)
    good = sum(line.split()[1] in {b"200", b"201"} for line in told)
    return Cost(count.calls / ORDERS, (after[0] - before[0]) / ORDERS, (after[1] - before[1] - 1) / ORDERS, good)


@dataclass(frozen=True)
class Bound:
    """What an order may cost, and what each call adds that carries some of them: how many do is the scheduler's."""

    make: Callable[[int], bytes]
    python_calls: float
    commands: float = 3.3
    python_calls_a_script: float = 125.0
    commands_a_script: float = 11.0


@pytest.mark.parametrize(
    "bound",
    [Bound(native_order, 59.0), Bound(shopify_order, 63.0), Bound(native_hold, 58.0)],
    ids=["native order", "Shopify order", "hold"],
)
def test_an_order_costs_no_more_calls_than_it_did(valkey: Server, bound: Bound) -> None:
    cost = uvloop.run(_cost(valkey, bound.make))
    assert cost.good == ORDERS
    assert cost.python_calls <= bound.python_calls + bound.python_calls_a_script * cost.scripts, cost
    assert cost.commands <= bound.commands + bound.commands_a_script * cost.scripts + 0.1, cost
    assert cost.scripts < 0.7, "what arrives together is not made durable together"


def test_a_batch_costs_a_call_for_hundreds_of_orders(valkey: Server) -> None:
    async def measured() -> tuple[int, int]:
        async with serving(valkey) as (port, client):
            lines = [native_order(number).partition(b"\r\n\r\n")[2] for number in range(2000)]
            body = b"\n".join(lines)
            header = f"Authorization: Bearer {TOKEN}\r\nConnection: close"
            before = await _commands(client)
            answer = await asyncio.to_thread(read_all, port, _http("/v1/orders:batch", body, header))
            return (await _commands(client))[0] - before[0], answer.count(b'"status":201')

    scripts, taken = uvloop.run(measured())
    assert taken == 2000
    assert scripts <= 40


def test_a_delivered_order_costs_no_more_commands_than_it_did(valkey: Server) -> None:
    """Claimed and settled, thirty-two in a call; what a call costs before its first order is part of it."""

    async def measured() -> float:
        client = Redis(unix_socket_path=valkey.socket_path)
        await client.flushall()
        ledger, outbox = RedisLedger(client, "main", kinds={"sink": {Kind.CREATE}}), RedisOutbox(client, "main", "sink")
        await ledger.recount(StockLevel(sku=SKU, location="main", on_hand=1_000_000))
        for at in range(0, 4 * 32, 32):
            await ledger.accept([_incoming(at + number) for number in range(32)], ["sink"] * 32, since_ms=0)
        before = (await _commands(client))[1]
        for _ in range(4):
            claims = await outbox.claim(await outbox.due(32), epoch=1, lease_ms=60_000)
            results = [
                Result(ref=delivery.ref, kind=ResultKind.DELIVERED, backend_ref="x", sends=delivery.sends)
                for _, delivery in claims
                if delivery is not None
            ]
            assert set(await outbox.finish(results, epoch=1)) == {FinishCode.DONE}
        after = (await _commands(client))[1]
        await client.aclose()
        return (after - before - 1) / (4 * 32)

    assert asyncio.run(measured()) <= 8.0


def test_a_queued_order_takes_no_more_memory_than_it_did() -> None:
    """Everything counts: the record, its places in the indexes, its part of the journal."""
    server = Server("valkey", settings=dict(SMALL)).start()

    async def measured() -> float:
        client = Redis(unix_socket_path=server.socket_path)
        ledger = RedisLedger(client, "main", kinds={"sink": {Kind.CREATE}})
        await ledger.recount(StockLevel(sku=SKU, location="main", on_hand=1_000_000))
        first, *rest = [_incoming(number) for number in range(4001)]
        assert abs(len(first.raw) - 380) <= 20
        await ledger.accept([first], ["sink"], since_ms=0)
        before = (await client.info("memory"))["used_memory"]
        for at in range(0, len(rest), 200):
            await ledger.accept(rest[at : at + 200], ["sink"] * 200, since_ms=0)
        after = (await client.info("memory"))["used_memory"]
        await client.aclose()
        return float(after - before) / len(rest)

    try:
        assert asyncio.run(measured()) <= 850
    finally:
        server.close()


def _incoming(number: int) -> Incoming:
    return native.decode_order(native_order(5_000_000_000_000 + number).partition(b"\r\n\r\n")[2], "till")
