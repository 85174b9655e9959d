"""What the Tryton adapter does where a real Tryton is hard to bring: against a stand-in of its few routes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from flashd.backends.tryton import Config, TrytonBackend, connect
from flashd.backends.tryton_sale import compare, decode_decimal, encode_lines
from flashd.config import Secret
from flashd.domain.delivery import Absent, Declined, Delivered, Doubtful, Found, Later, Mismatch
from flashd.domain.order import Line
from tests.backends.fault_server import Fault, FaultServer, Request, status, throttle
from tests.backends.orders import a_delivery, an_order, reveal
from tests.backends.stand_ins import TrytonStandIn

PRODUCTS = {"SKU-01": (1, 1), "SKU-02": (2, 1), "\x1fshipping": (91, 1)}


@pytest.fixture
async def server() -> AsyncIterator[FaultServer]:
    async with FaultServer(TrytonStandIn()).running() as server:
        yield server


@pytest.fixture
def tryton(server: FaultServer) -> TrytonStandIn:
    assert isinstance(server.stand_in, TrytonStandIn)
    return server.stand_in


def make(server: FaultServer, **more: Any) -> TrytonBackend:
    fields = {"url": server.url, "database": "erp", "shop": 1, "party": 2, "timeout_s": 1.0, **more}
    return connect("b", msgspec.convert({"kind": "tryton", "secret": Secret(env="secret"), **fields}, Config), reveal)


@pytest.fixture
async def backend(server: FaultServer) -> AsyncIterator[TrytonBackend]:
    backend = make(server)
    yield backend
    await backend.close()


def test_the_lines_add_up_to_the_total_whatever_the_parts_say() -> None:
    for total in (None, 1, 99_999):
        order = an_order("1") if total is None else an_order("1", total=total)
        lines = encode_lines(order, PRODUCTS)
        assert sum(line.unit_price * line.quantity for line in lines) == Decimal(order.total) / 100
        assert [line.product for line in lines[:3]] == [1, 2, 91]


def test_a_currency_without_cents_has_none() -> None:
    order = an_order("1", currency="JPY", lines=(Line("SKU-01", 1, 1200),))
    assert encode_lines(order, PRODUCTS)[0].unit_price == Decimal(1200)


@pytest.mark.parametrize("value", [None, 10.5, "10.5", {}, {"decimal": "x"}, {"decimal": None}])
def test_only_an_exact_number_is_one(value: object) -> None:
    assert decode_decimal(value) is None


def test_lines_are_compared_as_a_bag_by_product_quantity_and_price() -> None:
    order = an_order("1", lines=(Line("SKU-01", 1, 500), Line("SKU-02", 2, 300)), shipping=0, discount=0, tax=0)
    lines, total = encode_lines(order, PRODUCTS), Decimal("11.00")

    def sale(*parts: tuple[int, float, str]) -> dict[str, Any]:
        read = [
            {"type": "line", "product": {"id": product}, "quantity": quantity, "unit_price": {"decimal": price}}
            for product, quantity, price in parts
        ]
        return {"state": "draft", "total_amount": {"decimal": "11.0000"}, "lines": [*read, {"type": "comment"}]}

    assert compare(sale((2, 2.0, "3.0000"), (1, 1.0, "5.00")), lines, total) == ""
    for other in ([(1, 1.0, "5.00")], [(1, 1.0, "5.00"), (2, 3.0, "2.00")], [(1, 1.0, "5.00"), (3, 2.0, "3.00")]):
        assert compare(sale(*other), lines, total) == "its lines are others"
    assert compare(sale() | {"state": "cancelled"}, lines, total) == "it is cancelled in Tryton"


async def test_tax_that_tryton_adds_is_seen_before_the_sale_is_quoted(
    tryton: TrytonStandIn, backend: TrytonBackend
) -> None:
    tryton.added = Decimal("0.19")
    delivery = a_delivery(an_order("1"))
    assert isinstance(await backend.deliver(delivery), Doubtful)
    assert isinstance(await backend.find(delivery), Mismatch)
    assert tryton.sales[1]["state"] == "draft"


async def test_a_first_send_of_a_key_that_is_there_goes_on_with_that_sale(
    tryton: TrytonStandIn, backend: TrytonBackend, server: FaultServer
) -> None:
    half, delivery = make(server, until="draft"), a_delivery(an_order("1"))
    assert await half.deliver(delivery) == Delivered(backend_ref="1")
    assert await backend.find(delivery) == Absent(half_done="1")
    assert await backend.deliver(delivery) == Delivered(backend_ref="1")
    assert await backend.find(delivery) == Found(backend_ref="1")
    assert tryton.sales[1]["state"] == "confirmed"
    await half.close()


async def test_a_refused_quotation_is_declined_and_goes_on_when_tryton_is_mended(
    tryton: TrytonStandIn, backend: TrytonBackend
) -> None:
    tryton.refuses = "quote"
    delivery = a_delivery(an_order("1"))
    outcome = await backend.deliver(delivery)
    assert outcome == Declined(reason='sale 1 stays a draft in Tryton: You can not call "quote" for ***')
    tryton.refuses = ""
    assert await backend.deliver(msgspec.structs.replace(delivery, sends=2)) == Delivered(backend_ref="1")


class Steps(TrytonStandIn):
    """Its faults strike the steps, not the creation."""

    def writes(self, request: Request) -> bool:
        return request.path.endswith(("/quote", "/confirm"))


@pytest.mark.parametrize("answer", [status(401), status(503), throttle("7"), status(500), status(404)])
async def test_whatever_happens_to_a_sale_that_is_there_it_is_in_doubt(answer: Any) -> None:
    async with FaultServer(Steps(), fault=Fault("", answer=answer)).running() as server:
        backend, delivery = make(server), a_delivery(an_order("1"))
        outcome = await backend.deliver(delivery)
        assert isinstance(outcome, Doubtful)
        assert "sale 1 was a draft" in outcome.reason
        server.fault = None
        assert await backend.find(delivery) == Absent(half_done="1")
        await backend.close()


async def test_a_failed_look_up_before_anything_is_written_is_only_later(
    server: FaultServer, backend: TrytonBackend
) -> None:
    server.fault, server.on_every = Fault("", answer=status(500)), True
    assert isinstance(await backend.deliver(a_delivery(an_order("1"))), Later)
    assert server.written == 0


async def test_a_creation_that_answers_with_another_web_id_proves_nothing(server: FaultServer) -> None:
    backend = make(server, until="draft")  # no step follows that could tell the difference
    assert isinstance(await backend.deliver(a_delivery(an_order("1"))), Delivered)
    other = server.last
    server.fault = Fault("another order's answer", answer=lambda _: other)
    assert isinstance(await backend.deliver(a_delivery(an_order("2"))), Doubtful)
    await backend.close()
