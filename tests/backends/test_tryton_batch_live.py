"""Batches into a real Tryton; what Tryton holds is read from its database."""

from __future__ import annotations

import asyncio
import json
import urllib.request
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from flashd.backends.tryton import Config, TrytonBackend, connect
from flashd.config import Secret
from flashd.domain.delivery import Absent, Away, Declined, Delivered, Delivery, Doubtful, Found, Mismatch, Outcome, Sunk
from flashd.domain.order import Address, Line
from flashd.errors import BackendUnavailable
from tests.backends.orders import a_delivery, an_order, reveal
from tests.erp.fixtures import any_tryton, tryton, tryton_pg, trytons
from tests.erp.tryton import DATABASE, PASSWORD, USER, HeldOrder, Tryton
from tests.until import until

__all__ = ["any_tryton", "tryton", "tryton_pg", "trytons"]

pytestmark = pytest.mark.timeout(600)  # the first use on a machine installs and fills Tryton

Make = Callable[..., TrytonBackend]


@pytest.fixture
async def make_backend() -> AsyncIterator[Make]:
    """Make adapters that are closed at the end."""
    made: list[TrytonBackend] = []

    def make(tryton: Tryton, **changes: Any) -> TrytonBackend:
        login = {"user": USER, "password": Secret(env=PASSWORD), "secret": Secret(env=tryton.key)}
        fields = tryton.config(timeout_s=60.0, batch=50) | login | changes
        made.append(connect("erp", msgspec.convert(fields, Config), reveal))
        return made[-1]

    yield make
    for backend in made:
        await backend.close()


@pytest.fixture
def backend(any_tryton: Tryton, make_backend: Make) -> TrytonBackend:
    return make_backend(any_tryton)


def some(count: int, **changes: Any) -> list[Delivery]:
    """Orders of one to three lines, each with prices of its own."""
    made = []
    for number in range(count):
        lines = tuple(
            Line(f"SKU-{1 + (number + more) % 20:02}", 1 + more, 1000 + 7 * number + more)
            for more in range(1 + number % 3)
        )
        made.append(a_delivery(an_order(uuid.uuid4().hex[:10], lines=lines, **changes)))
    return made


def again(deliveries: list[Delivery]) -> list[Delivery]:
    return [msgspec.structs.replace(delivery, sends=delivery.sends + 1) for delivery in deliveries]


def held(tryton: Tryton, deliveries: list[Delivery]) -> dict[str, HeldOrder]:
    """Return the one sale of each that has any, by key."""
    found = tryton.orders([delivery.key for delivery in deliveries])
    assert max(Counter(order.web_id for order in found).values(), default=1) == 1, "there twice"
    return {order.web_id: order for order in found}


def assert_whole(tryton: Tryton, deliveries: list[Delivery], outcomes: list[Outcome]) -> None:
    """Each is there once, under the number that was answered, with its lines and its total, and processed."""
    there = held(tryton, deliveries)
    for delivery, outcome in zip(deliveries, outcomes, strict=True):
        one, order = there[delivery.key], delivery.order
        assert outcome == Delivered(backend_ref=str(one.id))
        assert one.state == "processing"
        assert one.reference == order.number
        wanted = [(line.sku, float(line.quantity), Decimal(line.unit_price) / 100) for line in order.lines]
        assert [line for line in one.lines if line[0].startswith("SKU-")] == wanted
        assert one.total == Decimal(order.total) / 100


def rest(tryton: Tryton, path: str, content: dict[str, Any]) -> Any:
    """Do something in Tryton that flashd does not."""
    request = urllib.request.Request(  # noqa: S310  # our own address
        f"{tryton.url}/{DATABASE}/rest/model/{path}",
        data=json.dumps(content).encode(),
        headers={"Authorization": f"bearer {tryton.key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  # our own address
        return json.loads(answer.read())


def a_product_without_accounts(tryton: Tryton) -> str:
    """Make a product that can be sold and for which no invoice can be made; return its code."""
    code = f"P-{uuid.uuid4().hex[:8]}"
    template = {"name": code, "code": code, "type": "goods", "salable": True, "default_uom": 1, "sale_uom": 1}
    rest(tryton, "product.template?f=code", template | {"products": [["create", [{}]]]})
    return code


async def test_a_batch_arrives_whole_and_sent_twice_is_there_once(any_tryton: Tryton, backend: TrytonBackend) -> None:
    deliveries = some(50 if any_tryton.kind == "postgresql" else 4)
    outcomes = list(await backend.deliver_many(deliveries))
    assert_whole(any_tryton, deliveries, outcomes)
    assert await backend.find_many(deliveries) == [
        Found(backend_ref=outcome.backend_ref) for outcome in outcomes if isinstance(outcome, Delivered)
    ]
    assert await backend.deliver_many(deliveries) == outcomes
    assert await backend.deliver_many(again(deliveries)) == outcomes
    assert_whole(any_tryton, deliveries, outcomes)


@pytest.mark.slow
async def test_of_a_batch_three_are_there_before(
    any_tryton: Tryton, backend: TrytonBackend, make_backend: Make
) -> None:
    deliveries = some(9)
    quoting, drafting = make_backend(any_tryton, until="quotation"), make_backend(any_tryton, until="draft")
    await backend.deliver(deliveries[2])
    await quoting.deliver(deliveries[4])
    await drafting.deliver_many(deliveries[5:6])
    findings = await backend.find_many(deliveries)
    assert [type(finding) for finding in findings] == [Absent, Absent, Found, Absent, Absent, Absent, *[Absent] * 3]
    assert [isinstance(finding, Absent) and bool(finding.half_done) for finding in findings[4:6]] == [True, True]
    assert_whole(any_tryton, deliveries, list(await backend.deliver_many(deliveries)))


@pytest.mark.slow
async def test_an_unknown_product_is_declined_alone(any_tryton: Tryton, backend: TrytonBackend) -> None:
    deliveries, bad = some(4), a_delivery(an_order(uuid.uuid4().hex, lines=(Line("NO-SUCH-MUG", 1, 100),)))
    first, *others = await backend.deliver_many([bad, *deliveries])
    assert first == Declined(reason="NO-SUCH-MUG is not known in Tryton")
    assert_whole(any_tryton, deliveries, others)
    assert held(any_tryton, [bad]) == {}


@pytest.mark.slow
async def test_a_wrong_unit_sinks_the_batch_and_leaves_nothing_until_it_is_alone(
    any_tryton: Tryton, backend: TrytonBackend, make_backend: Make
) -> None:
    deliveries = some(4)
    await make_backend(any_tryton).check()
    await backend._catalogue.learn([one.order for one in deliveries])
    units = {unit["name"]: unit["id"] for unit in await backend._catalogue.search("product.uom", [], ("name",))}
    # What was read of a product is remembered; meanwhile its unit became another one, of another category.
    backend._catalogue._products["SKU-03"] = (any_tryton.ids["products"]["SKU-03"], units["Kilogram"])
    assert await backend.deliver_many(deliveries) == [Sunk(reason="Tryton refused one of a batch of 4")] * 4
    assert held(any_tryton, deliveries) == {}
    assert_whole(any_tryton, deliveries, list(await backend.deliver_many(deliveries)))  # it was read again


@pytest.mark.slow
async def test_a_total_that_tryton_computes_otherwise_is_doubt_for_that_one(
    any_tryton: Tryton, backend: TrytonBackend
) -> None:
    code = f"X{uuid.uuid4().hex[:2].upper()}"
    rounding = {"__class__": "Decimal", "decimal": "0.05"}
    rest(any_tryton, "currency.currency?f=code", {"name": code, "code": code, "rounding": rounding, "digits": 2})
    bad = a_delivery(an_order(uuid.uuid4().hex, currency=code, lines=(Line("SKU-01", 1, 1001),), discount=0, tax=0))
    deliveries = some(4)
    *others, last = await backend.deliver_many([*deliveries, bad])
    assert isinstance(last, Doubtful)
    assert_whole(any_tryton, deliveries, others)
    assert [one.state for one in held(any_tryton, [bad]).values()] == ["draft"]
    assert isinstance((await backend.find_many([bad, *deliveries]))[0], Mismatch)


@pytest.mark.slow
async def test_what_tryton_cannot_process_keeps_no_other_sale_from_being_processed(
    any_tryton: Tryton, backend: TrytonBackend
) -> None:
    code = a_product_without_accounts(any_tryton)
    bad = a_delivery(an_order(uuid.uuid4().hex, lines=(Line(code, 1, 500),), shipping=0, discount=0, tax=0))
    deliveries = some(3)
    first, second, third, last = await backend.deliver_many([*deliveries[:2], bad, deliveries[2]])
    assert isinstance(third, Delivered)
    assert_whole(any_tryton, deliveries, [first, second, last])
    assert [one.state for one in held(any_tryton, [bad]).values()] == ["confirmed"]


@pytest.mark.slow
async def test_a_queue_worker_gets_a_task_for_each_sale_and_nothing_is_processed_in_its_stead(
    tryton: Tryton, make_backend: Make
) -> None:
    del tryton  # whoever cannot have one is skipped; this one is set up in another way
    worked = Tryton("sqlite")
    try:
        worked.settings.write_text(f"{worked.settings.read_text()}\n[queue]\nworker = true\n")
        backend, deliveries = make_backend(worked.start()), some(4)
        assert [type(outcome) for outcome in await backend.deliver_many(deliveries)] == [Delivered] * 4
        assert {one.state for one in held(worked, deliveries).values()} == {"confirmed"}
        assert len(worked._rows("SELECT id FROM ir_queue WHERE finished_at IS NULL")) == 4
    finally:
        worked.close()


@pytest.mark.slow
async def test_places_of_a_batch_are_made_once(any_tryton: Tryton, backend: TrytonBackend) -> None:
    city = uuid.uuid4().hex[:10]
    whole = Address(name="Bob", street=" 1 Infinite Loop", street2="Gate 7", city=city, country="US")
    places = [whole, Address(name="Bob", city=city), whole, Address()]
    deliveries = [a_delivery(an_order(uuid.uuid4().hex, ship_to=to)) for to in places]
    assert_whole(any_tryton, deliveries, list(await backend.deliver_many(deliveries)))
    more = [a_delivery(an_order(uuid.uuid4().hex, ship_to=to)) for to in places]
    assert_whole(any_tryton, more, list(await backend.deliver_many(more)))
    rows = any_tryton._rows(f"SELECT street_unstructured FROM party_address WHERE city = '{city}' ORDER BY id")  # noqa: S608  # ours
    assert sorted(str(row[0]).strip() for row in rows) == ["1 Infinite Loop\nGate 7", "None"]


async def test_a_wrong_password_means_away_and_leaves_no_draft(any_tryton: Tryton, make_backend: Make) -> None:
    backend, deliveries = make_backend(any_tryton, password=Secret(env="wrong")), some(2)
    assert [type(outcome) for outcome in await backend.deliver_many(deliveries)] == [Away, Away]
    assert held(any_tryton, deliveries) == {}
    with pytest.raises(BackendUnavailable, match="refused the login of admin"):
        await backend.check()


@pytest.mark.slow
async def test_a_session_that_tryton_forgot_is_opened_again(any_tryton: Tryton, backend: TrytonBackend) -> None:
    assert backend._session is not None
    await backend._session.open()
    backend._session._header = "YWRtaW46MzphYmM="  # admin:3:abc
    deliveries = some(2)
    assert_whole(any_tryton, deliveries, list(await backend.deliver_many(deliveries)))


@pytest.mark.slow
@pytest.mark.parametrize("when", ["draft", "quotation", "confirmed"])
async def test_a_batch_that_dies_with_tryton_is_finished_and_there_once(
    any_tryton: Tryton, backend: TrytonBackend, when: str
) -> None:
    await backend.deliver_many(some(2))  # the session is open, and what is behind a confirmation is known
    deliveries = some(20)
    sending = asyncio.create_task(backend.deliver_many(deliveries))
    await until(lambda: {one.state for one in held(any_tryton, deliveries).values()} == {when}, f"all are {when}", 60)
    any_tryton.kill()
    outcomes = await sending
    reached = {"confirmed": Delivered}.get(when, Doubtful)
    assert {type(outcome) for outcome in outcomes} <= {Doubtful, reached}
    await asyncio.to_thread(any_tryton.start)
    for finding in await backend.find_many(deliveries):
        if when == "confirmed":
            assert isinstance(finding, Found)
        else:
            assert isinstance(finding, Absent | Found)
            assert isinstance(finding, Found) or finding.half_done
    outcomes = await backend.deliver_many(again(deliveries))
    assert [type(outcome) for outcome in outcomes] == [Delivered] * 20
    there = held(any_tryton, deliveries)
    assert len(there) == 20
    assert {one.state for one in there.values()} <= {"confirmed", "processing"}
    assert [type(finding) for finding in await backend.find_many(deliveries)] == [Found] * 20


@pytest.mark.slow
async def test_two_batches_at_once_with_orders_in_common_are_there_once(tryton_pg: Tryton, make_backend: Make) -> None:
    backend, deliveries = make_backend(tryton_pg), some(16)
    await backend.deliver_many(some(2))
    for _ in range(2):
        both = await asyncio.gather(backend.deliver_many(deliveries[:10]), backend.deliver_many(deliveries[6:]))
        for outcome in (*both[0], *both[1]):
            assert isinstance(outcome, Delivered | Doubtful | Declined | Sunk)
        held(tryton_pg, deliveries)  # asserts that none is there twice
    assert [type(outcome) for outcome in await backend.deliver_many(again(deliveries))] == [Delivered] * 16
    assert len(held(tryton_pg, deliveries)) == 16
