"""The Tryton adapter against a real Tryton; what Tryton holds is read from its database."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from flashd.backends.tryton import Config, TrytonBackend, connect
from flashd.config import Secret
from flashd.domain.delivery import Absent, Away, Declined, Delivered, Doubtful, Found, Later, Mismatch, Unsupported
from flashd.domain.order import Address, Kind, Line
from flashd.errors import BackendUnavailable
from tests.backends.orders import a_delivery, an_order, reveal
from tests.erp.fixtures import any_tryton, tryton, tryton_pg, trytons
from tests.erp.tryton import Tryton

__all__ = ["any_tryton", "tryton", "tryton_pg", "trytons"]

pytestmark = pytest.mark.timeout(600)  # the first use on a machine installs and fills Tryton


FINISHED = {"confirmed", "processing"}  # Tryton processes what is confirmed in a transaction of its own
Make = Callable[..., TrytonBackend]


@pytest.fixture
async def make_backend() -> AsyncIterator[Make]:
    """Make adapters that are closed at the end."""
    made: list[TrytonBackend] = []

    def make(tryton: Tryton, **changes: Any) -> TrytonBackend:
        made.append(a_backend(tryton, **changes))
        return made[-1]

    yield make
    for backend in made:
        await backend.close()


def a_backend(tryton: Tryton, **changes: Any) -> TrytonBackend:
    fields = tryton.config(**changes)
    fields.setdefault("timeout_s", 30.0)
    fields["secret"] = Secret(env=changes.get("key", tryton.key))
    fields.pop("key", None)
    return connect("erp", msgspec.convert(fields, Config), reveal)


@pytest.fixture
def backend(any_tryton: Tryton, make_backend: Make) -> TrytonBackend:
    return make_backend(any_tryton)


def new_id() -> str:
    return uuid.uuid4().hex[:10]


async def test_an_order_arrives_with_its_lines_and_prices(any_tryton: Tryton, backend: TrytonBackend) -> None:
    delivery = a_delivery(an_order(new_id()))
    outcome = await backend.deliver(delivery)
    (held,) = any_tryton.orders([delivery.key])
    assert outcome == Delivered(backend_ref=str(held.id))
    assert held.state in FINISHED
    assert held.reference == delivery.order.number
    assert held.lines == [
        ("SKU-01", 2.0, Decimal("10.50")),
        ("SKU-02", 1.0, Decimal("4.99")),
        ("Shipping", 1.0, Decimal("4.95")),
        ("Discount", 1.0, Decimal("-2.99")),
        ("Tax", 1.0, Decimal("1.33")),
    ]
    assert held.total == Decimal(delivery.order.total) / 100
    assert await backend.find(delivery) == Found(backend_ref=str(held.id))


async def test_extra_lines_take_the_configured_products(any_tryton: Tryton, make_backend: Make) -> None:
    products = any_tryton.ids["products"]
    extras = {"shipping": products["SHIPPING"], "discount": products["DISCOUNT"], "tax": products["TAX"]}
    backend = make_backend(any_tryton, extras=extras, products={"MUG": products["SKU-07"]}, ship_to="comment")
    delivery = a_delivery(an_order(new_id(), lines=(Line("MUG", 3, 700),)))
    assert isinstance(await backend.deliver(delivery), Delivered)
    (held,) = any_tryton.orders([delivery.key])
    assert [code for code, _, _ in held.lines] == ["SKU-07", "SHIPPING", "DISCOUNT", "TAX"]
    assert isinstance(await backend.find(delivery), Found)


async def test_a_total_that_a_human_let_go_is_the_total_in_tryton(any_tryton: Tryton, backend: TrytonBackend) -> None:
    delivery = a_delivery(an_order(new_id(), total=2000))
    assert isinstance(await backend.deliver(delivery), Delivered)
    (held,) = any_tryton.orders([delivery.key])
    assert held.total == Decimal("20.00")


async def test_four_sends_of_one_key_at_once_are_one_sale(any_tryton: Tryton, backend: TrytonBackend) -> None:
    await backend.deliver(a_delivery(an_order(new_id())))  # both workers are warm, and the catalogue is read
    for _ in range(3):
        delivery = a_delivery(an_order(new_id()))
        outcomes = await asyncio.gather(*(backend.deliver(delivery) for _ in range(4)))
        held = any_tryton.orders([delivery.key])
        if any_tryton.kind == "sqlite":
            # Only Python validates there, and transactions that write come one after the other: still one sale.
            assert all(isinstance(outcome, Delivered | Doubtful) for outcome in outcomes), outcomes
        else:
            assert set(outcomes) == {Delivered(backend_ref=str(held[0].id))}, outcomes
        assert len(held) == 1
        assert isinstance(await finished(backend, delivery), Found)


async def finished(backend: TrytonBackend, delivery: Any) -> object:
    """Do as the outbox does with an order in doubt: look up; send again while it is absent or half done."""
    finding = await backend.find(delivery)
    if isinstance(finding, Absent):
        await backend.deliver(msgspec.structs.replace(delivery, sends=delivery.sends + 1))
        finding = await backend.find(delivery)
    return finding


async def test_the_same_key_again_is_the_same_sale(any_tryton: Tryton, backend: TrytonBackend) -> None:
    delivery = a_delivery(an_order(new_id()))
    first = await backend.deliver(delivery)
    assert isinstance(first, Delivered)
    assert await backend.deliver(delivery) == first
    assert await backend.deliver(msgspec.structs.replace(delivery, sends=2)) == first
    assert len(any_tryton.orders([delivery.key])) == 1


async def test_an_unknown_sku_is_declined_by_name_and_writes_nothing(
    any_tryton: Tryton, backend: TrytonBackend
) -> None:
    delivery = a_delivery(an_order(new_id(), lines=(Line("SKU-01", 1, 100), Line("NO-SUCH-MUG", 1, 100))))
    outcome = await backend.deliver(delivery)
    assert isinstance(outcome, Declined)
    assert "NO-SUCH-MUG" in outcome.reason
    assert any_tryton.orders([delivery.key]) == []


async def test_an_unknown_currency_is_declined(any_tryton: Tryton, backend: TrytonBackend) -> None:
    delivery = a_delivery(an_order(new_id(), currency="ZZZ"))
    assert isinstance(await backend.deliver(delivery), Declined)
    assert any_tryton.orders([delivery.key]) == []


async def test_what_was_never_sent_is_absent(backend: TrytonBackend) -> None:
    assert await backend.find(a_delivery(an_order(new_id()))) == Absent()


async def test_a_wrong_key_means_that_the_backend_is_away(any_tryton: Tryton, make_backend: Make) -> None:
    backend = make_backend(any_tryton, key="wrong")
    delivery = a_delivery(an_order(new_id()))
    assert isinstance(await backend.deliver(delivery), Away)
    with pytest.raises(BackendUnavailable, match="401"):
        await backend.check()
    assert any_tryton.orders([delivery.key]) == []


async def test_the_guest_party_is_refused_before_anything_is_sent(tryton: Tryton, make_backend: Make) -> None:
    backend = make_backend(tryton, party=tryton.ids["guest"])
    with pytest.raises(BackendUnavailable, match="guest party"):
        await backend.check()
    assert isinstance(await backend.deliver(a_delivery(an_order(new_id()))), Away)


async def test_check_names_the_shop(backend: TrytonBackend) -> None:
    assert "web shop flashd" in await backend.check()


@pytest.mark.parametrize("until", ["draft", "quotation"])
async def test_a_half_done_sale_is_finished_under_its_key(any_tryton: Tryton, until: str, make_backend: Make) -> None:
    half, whole = make_backend(any_tryton, until=until), make_backend(any_tryton)
    delivery = a_delivery(an_order(new_id()))
    outcome = await half.deliver(delivery)
    assert isinstance(outcome, Delivered)
    assert [held.state for held in any_tryton.orders([delivery.key])] == [until]
    assert await half.find(delivery) == Found(backend_ref=outcome.backend_ref)
    assert await whole.find(delivery) == Absent(half_done=outcome.backend_ref)
    assert await whole.deliver(msgspec.structs.replace(delivery, sends=2)) == outcome
    assert [held.state in FINISHED for held in any_tryton.orders([delivery.key])] == [True]


async def test_a_sale_with_other_lines_under_the_key_is_a_mismatch_and_stays(
    any_tryton: Tryton, backend: TrytonBackend
) -> None:
    order_id = new_id()
    assert isinstance(await backend.deliver(a_delivery(an_order(order_id))), Delivered)
    other = a_delivery(an_order(order_id, lines=(Line("SKU-03", 1, 2499),)))
    assert isinstance(await backend.find(other), Mismatch)
    assert isinstance(await backend.deliver(other), Doubtful)
    assert len(any_tryton.orders([other.key])) == 1


async def test_a_sale_made_after_the_time_out_is_found_and_finished(any_tryton: Tryton, make_backend: Make) -> None:
    backend = make_backend(any_tryton, timeout_s=4)
    await finished(backend, a_delivery(an_order(new_id())))  # the catalogue is read, so that only the creation is late
    delivery = a_delivery(an_order(new_id(), ship_to=Address()))
    await backend.close()  # a connection that is kept alive would be dropped unread when Tryton wakes up
    with any_tryton.frozen():
        assert isinstance(await backend.deliver(delivery), Doubtful)
        assert any_tryton.orders([delivery.key]) == []
    async with asyncio.timeout(30):
        while not any_tryton.orders([delivery.key]):  # noqa: ASYNC110  # another process makes it
            await asyncio.sleep(0.05)
    (held,) = any_tryton.orders([delivery.key])
    assert held.state == "draft"
    assert await backend.find(delivery) == Absent(half_done=str(held.id))
    assert await finished(backend, delivery) == Found(backend_ref=str(held.id))
    (held,) = any_tryton.orders([delivery.key])
    assert held.state in FINISHED


async def test_a_time_out_of_a_millisecond_is_doubt_and_ends_in_one_sale(
    any_tryton: Tryton, backend: TrytonBackend, make_backend: Make
) -> None:
    impatient = make_backend(any_tryton, timeout_s=0.001)
    delivery = a_delivery(an_order(new_id()))
    assert isinstance(await impatient.deliver(delivery), Doubtful | Later)
    assert isinstance(await finished(backend, delivery), Found)
    assert len(any_tryton.orders([delivery.key])) == 1


async def test_a_quotation_is_cancelled_and_a_processed_sale_is_left_to_a_human(
    any_tryton: Tryton, make_backend: Make
) -> None:
    quoting, confirming = make_backend(any_tryton, until="quotation"), make_backend(any_tryton)
    order = an_order(new_id())
    made = await quoting.deliver(a_delivery(order))
    assert isinstance(made, Delivered)
    cancel = a_delivery(order, kind=Kind.CANCEL, backend_ref=made.backend_ref)
    assert await quoting.find(cancel) == Absent()
    assert await quoting.deliver(cancel) == made
    assert await quoting.find(cancel) == Found(backend_ref=made.backend_ref)
    assert await quoting.deliver(cancel) == made
    assert [held.state for held in any_tryton.orders([a_delivery(order).key])] == ["cancelled"]

    order = an_order(new_id())
    made = await confirming.deliver(a_delivery(order))
    assert isinstance(made, Delivered)
    outcome = await confirming.deliver(a_delivery(order, kind=Kind.CANCEL, backend_ref=made.backend_ref))
    assert isinstance(outcome, Unsupported)
    assert isinstance(await confirming.deliver(a_delivery(order, kind=Kind.AMEND)), Unsupported)


async def test_a_stopped_tryton_is_later_and_a_started_one_takes_the_order(tryton: Tryton, make_backend: Make) -> None:
    backend = make_backend(tryton)
    delivery = a_delivery(an_order(new_id()))
    tryton.kill()
    assert isinstance(await backend.deliver(delivery), Later)
    await asyncio.to_thread(tryton.start)
    assert isinstance(await backend.deliver(delivery), Delivered)


async def test_one_place_is_one_address_however_many_orders_go_there(tryton: Tryton, make_backend: Make) -> None:
    backend = make_backend(tryton)
    place = Address(name="Bob", street="1 Infinite Loop", street2="Gate 7", city=new_id(), country="US")
    bare = Address(name="Bob", city=place.city)  # less is another place, not a part of the first
    for to in (place, bare, place, bare):
        assert isinstance(await backend.deliver(a_delivery(an_order(new_id(), ship_to=to))), Delivered)
    streets = tryton._rows(
        f"SELECT street_unstructured FROM party_address WHERE city = '{place.city}' ORDER BY id"  # noqa: S608  # ours
    )
    assert streets == [["1 Infinite Loop\nGate 7"], [None]]
