"""A reply that is lost is the worst that a time-out can mean: every script asked twice has done it once."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis

from flashd.domain.count import Count, CountKind, Receipt
from flashd.domain.delivery import ResultKind
from flashd.domain.order import Effect, OrderRef
from flashd.domain.stock import StockLevel
from flashd.store import ledger, stockroom
from flashd.store.scripts import Script
from tests.conformance.ledgers import BACKEND, HOUR_MS, Bench, make_hold, make_incoming, real_bench, stock

REF = OrderRef("shop", "1001")
BODY_ID = "02b2847a7dea90283081bf60"  # of the body "body" of the channel "shop"
Ask = Callable[[Bench], Awaitable[Any]]


async def nothing(bench: Bench) -> None:
    await stock(bench)


async def a_hold(bench: Bench) -> None:
    await stock(bench)
    await bench.ledger.hold([make_hold()])


async def an_overdue_hold(bench: Bench) -> None:
    await stock(bench)
    await bench.ledger.hold([make_hold(ttl_ms=1)])
    await bench.pass_time(5)


async def an_order(bench: Bench) -> None:
    await a_hold(bench)
    await bench.ledger.accept([make_incoming(raw=b"raw")], [BACKEND], since_ms=0)


async def a_dead_order(bench: Bench) -> None:
    await an_order(bench)
    await bench.send(REF, ResultKind.DECLINED)


async def a_delivered_order(bench: Bench) -> None:
    await an_order(bench)
    await bench.send(REF, ResultKind.DELIVERED)


async def a_waiting_version(bench: Bench) -> None:
    await an_order(bench)
    await bench.send(REF)
    await bench.ledger.accept([make_incoming(version=2, tee=5)], [BACKEND], since_ms=0)
    await bench.send(REF, ResultKind.LATER)


async def a_shortfall(bench: Bench) -> None:
    await bench.ledger.recount(StockLevel(sku="tee", on_hand=0))
    await bench.ledger.accept([make_incoming()], [BACKEND], since_ms=0)
    await stock(bench)


async def a_backorder(bench: Bench) -> None:
    await bench.ledger.recount(StockLevel(sku="tee", on_hand=0))
    await bench.ledger.accept([make_incoming()], [BACKEND], since_ms=0)
    await bench.stockroom.backorder(REF, by="me")


async def a_partly_covered_order(bench: Bench) -> None:
    await bench.ledger.recount(StockLevel(sku="tee", on_hand=1))
    await bench.ledger.accept([make_incoming()], [BACKEND], since_ms=0)


async def a_quarantined_body(bench: Bench) -> None:
    assert await bench.ledger.quarantine("shop", {}, b"body", "why") == BODY_ID


COUNT = Count(sku="tee", quantity=6, kind=CountKind.AVAILABLE, as_of_ms=4_000_000_000_000)

CASES: dict[str, tuple[Callable[[Bench], Awaitable[None]], Ask]] = {
    "hold": (nothing, lambda b: b.ledger.hold([make_hold()])),
    "extend": (a_hold, lambda b: b.ledger.extend("h1", HOUR_MS, max_total_ms=HOUR_MS)),
    "release": (a_hold, lambda b: b.ledger.release("h1", "")),
    "sweep": (an_overdue_hold, lambda b: b.ledger.sweep()),
    "accept": (a_hold, lambda b: b.ledger.accept([make_incoming(hold_id="h1")], [BACKEND], since_ms=0)),
    "accept an edit": (
        an_order,
        lambda b: b.ledger.accept([make_incoming(version=2, tee=5)], [BACKEND], since_ms=0),
    ),
    "accept a cancel": (
        an_order,
        lambda b: b.ledger.accept([make_incoming(version=2, effect=Effect.CANCEL)], [BACKEND], since_ms=0),
    ),
    "accept a follow-up": (
        a_delivered_order,
        lambda b: b.ledger.accept([make_incoming(version=2, tee=5)], [BACKEND], since_ms=0),
    ),
    "accept a cancel of a delivered order": (
        a_delivered_order,
        lambda b: b.ledger.accept([make_incoming(version=2, effect=Effect.CANCEL)], [BACKEND], since_ms=0),
    ),
    "apply_next": (a_waiting_version, lambda b: b.ledger.apply_next()),
    "cancel": (an_order, lambda b: b.ledger.cancel(REF, by="me", reason="")),
    "requeue": (a_dead_order, lambda b: b.ledger.requeue(REF, by="me")),
    "requeue mended": (a_dead_order, lambda b: b.ledger.requeue(REF, by="me", order=make_incoming(tee=4).order)),
    "requeue a shortfall": (a_shortfall, lambda b: b.ledger.requeue(REF, by="me")),
    "settle": (a_dead_order, lambda b: b.ledger.settle(REF, "SO1", by="me")),
    "recount": (an_order, lambda b: b.ledger.recount(StockLevel(sku="tee", on_hand=8, seq=1), lacks=1)),
    "recount while selling": (a_delivered_order, lambda b: b.stockroom.count([COUNT], by="me")),
    "ship": (a_delivered_order, lambda b: b.stockroom.ship(REF, 5, by="me")),
    "receive": (a_backorder, lambda b: b.stockroom.receive(Receipt(id="r", sku="tee", units=3), by="me")),
    "backorder": (a_partly_covered_order, lambda b: b.stockroom.backorder(REF, by="me")),
    "split": (a_partly_covered_order, lambda b: b.stockroom.split(REF, by="me")),
    "quarantine": (nothing, lambda b: b.ledger.quarantine("shop", {}, b"body", "why")),
    "unquarantine": (a_quarantined_body, lambda b: b.ledger.unquarantine(BODY_ID, by="me")),
}


async def view(bench: Bench) -> Any:
    records = [
        replace(
            record,
            accepted_ms=0,
            changed_ms=0,
            delivered_ms=min(1, record.delivered_ms),
            timeline=tuple((0, text) for _, text in record.timeline),
        )
        for record in await bench.book.page()
    ]
    quarantined = [replace(entry, received_ms=0) for entry in await bench.book.quarantined()]
    return records, await bench.ledger.levels(), await bench.book.counts(), quarantined, await bench.journal()


@pytest.mark.parametrize("case", CASES)
async def test_asked_twice_is_done_once(client: Redis, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    prepare, ask = CASES[case]
    await prepare(real_bench(client))
    await ask(real_bench(client))
    once = await view(real_bench(client))
    await client.flushall()

    call, twice = Script.call, []

    async def lose_the_first_reply(script: Script, *args: Any) -> Any:
        if script.header.name == case.split(maxsplit=1)[0]:
            twice.append(await call(script, *args))
        return await call(script, *args)

    await prepare(real_bench(client))
    with monkeypatch.context() as patched:
        patched.setattr(Script, "call", lose_the_first_reply)
        await ask(real_bench(client))
    assert twice, "the script was not asked"
    assert await view(real_bench(client)) == once


def test_every_script_of_the_ledger_has_its_case() -> None:
    files = (ledger.__file__, stockroom.__file__)
    source = "".join(Path(file).read_text(encoding="utf-8") for file in files)
    asked = set(re.findall(r'_(?:call|ask)\("(\w+)"', source))
    assert {case.split()[0] for case in CASES} == asked - {"register"}
