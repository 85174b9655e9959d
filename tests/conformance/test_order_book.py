"""What every OrderBook answers: the fake, Valkey and Redis 7.0."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from flashd.domain.delivery import ResultKind
from flashd.domain.order import Effect, OrderRef, OrderState
from tests.conformance.ledgers import BACKEND, BENCHES, Bench, make_incoming, open_bench, stock
from tests.servers import Server


@pytest.fixture(params=BENCHES)
async def bench(request: pytest.FixtureRequest, servers: dict[str, Server]) -> AsyncIterator[Bench]:
    async with open_bench(request.param, servers) as opened:
        yield opened


@pytest.fixture
async def shop(bench: Bench) -> Bench:
    """Orders 1 to 7: delivered, dead, queued twice, waiting, a shortfall, cancelled; a moment apart."""
    await stock(bench, 20)
    effects = [Effect.DELIVER] * 4 + [Effect.WAIT, Effect.DELIVER, Effect.CANCEL]
    for number, effect in enumerate(effects, start=1):
        incoming = make_incoming(str(number), effect=effect, tee=99 if number == 6 else 2, raw=b"body" * number)
        await bench.ledger.accept([incoming], [BACKEND], since_ms=0)
        await bench.pass_time(3)
    await bench.send(OrderRef("shop", "1"), ResultKind.DELIVERED, "SO1")
    await bench.send(OrderRef("shop", "2"), ResultKind.DECLINED)
    return bench


async def ids(shop: Bench, *states: OrderState, **more: int) -> list[str]:
    return [record.ref.id for record in await shop.book.page(states, **more)]  # type: ignore[arg-type]  # by name


async def test_an_unknown_order_is_none(shop: Bench) -> None:
    ref = OrderRef("shop", "8")
    assert (await shop.book.get(ref), await shop.book.raw(ref), await shop.book.position(ref)) == (None, None, None)


async def test_a_record_tells_all_that_is_kept(shop: Bench) -> None:
    record = await shop.book.get(OrderRef("shop", "1"))
    assert record is not None
    assert (record.state, record.backend, record.backend_ref, record.sends) == (
        OrderState.DELIVERED,
        BACKEND,
        "SO1",
        1,
    )
    assert record.order == make_incoming("1").order
    assert record.digest == make_incoming("1").order.digest
    assert 0 < record.accepted_ms <= record.changed_ms
    assert record.timeline[0] == (record.accepted_ms, "accepted queued")


async def test_the_raw_body_stays_until_it_is_settled(shop: Bench) -> None:
    assert await shop.book.raw(OrderRef("shop", "3")) == b"body" * 3
    assert await shop.book.raw(OrderRef("shop", "1")) is None
    assert await shop.book.raw(OrderRef("shop", "7")) is None


async def test_a_page_is_of_the_states_that_were_asked_for(shop: Bench) -> None:
    assert await ids(shop, OrderState.QUEUED) == ["3", "4"]
    assert await ids(shop, OrderState.DELIVERED, OrderState.CANCELLED) == ["7", "1"]
    assert await ids(shop, OrderState.CANCELLED) == ["7"]
    assert await ids(shop, OrderState.PARKED) == []


async def test_pages_follow_each_other(shop: Bench) -> None:
    assert len(await ids(shop)) == 7
    pages = [await ids(shop, offset=offset, limit=3) for offset in (0, 3, 6, 9)]
    assert [len(page) for page in pages] == [3, 3, 1, 0]
    assert [order_id for page in pages for order_id in page] == await ids(shop)


async def test_a_page_may_be_of_one_backend(shop: Bench) -> None:
    assert len(await shop.book.page(backend=BACKEND)) == 7
    assert await shop.book.page(backend="other") == []


async def test_every_order_is_counted_once(shop: Bench) -> None:
    assert await shop.book.counts() == {
        "waiting": 1,
        "queued": 2,
        "in_flight": 0,
        "dead": 1,
        "desk": 1,
        "backorder": 0,
        "done": 2,
    }
    await shop.send(OrderRef("shop", "3"))
    assert (await shop.book.counts())["in_flight"] == 1


async def test_the_queues_of_all_backends_are_counted_with_the_orders(bench: Bench) -> None:
    await stock(bench, 20)
    orders = [make_incoming(str(number)) for number in range(1, 5)]
    await bench.ledger.accept(orders, [BACKEND, "other", BACKEND, BACKEND], since_ms=0)
    headcount = await bench.book.headcount()
    assert {name: count for name, count in headcount.queued.items() if count} == {BACKEND: 3, "other": 1}
    assert headcount.orders == await bench.book.counts()
    assert headcount.orders["queued"] == 4
    await bench.send(OrderRef("shop", "1"))
    later = await bench.book.headcount()
    assert (later.queued[BACKEND], later.orders["queued"], later.orders["in_flight"]) == (2, 3, 1)


async def test_position_says_how_many_leave_before(shop: Bench) -> None:
    assert await shop.book.position(OrderRef("shop", "3")) == 0
    assert await shop.book.position(OrderRef("shop", "4")) == 1
    assert await shop.book.position(OrderRef("shop", "5")) is None


async def test_what_was_not_understood_is_kept_once_and_listed_oldest_first(bench: Bench) -> None:
    body, headers = b'{"x":\xff}', {"x-topic": "orders/create"}
    first = await bench.ledger.quarantine("shop", headers, body, "no id")
    assert await bench.ledger.quarantine("shop", {}, body, "no id") == first
    await bench.pass_time(3)
    second = await bench.ledger.quarantine("till", {}, body, "no lines\n")
    assert [entry.id for entry in await bench.book.quarantined()] == [first, second]
    [entry] = await bench.book.quarantined(limit=1)
    assert (entry.channel, entry.reason, entry.headers, entry.body) == ("shop", "no id", headers, body)
    assert entry.received_ms > 0
    for _ in range(2):
        await bench.ledger.unquarantine(first, by="me")
    assert [entry.id for entry in await bench.book.quarantined()] == [second]
    kinds = [kind for kind, _ in await bench.journal()]
    assert (kinds.count("channel.quarantined"), kinds.count("channel.unquarantined")) == (2, 1)


async def test_a_header_that_is_no_text_does_not_keep_a_body_out_of_quarantine(bench: Bench) -> None:
    await bench.ledger.quarantine("shop", {"user-agent": "caf\udce9"}, b"{", "no JSON")
    [entry] = await bench.book.quarantined()
    assert entry.body == b"{"
