"""The Odoo adapter against an in-memory Odoo that follows the documentation; no live server was ever asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from flashd.backends.odoo import Config, OdooBackend, connect
from flashd.config import Secret
from flashd.domain.delivery import Absent, Away, Declined, Delivered, Doubtful, Found, Mismatch, Unsupported
from flashd.domain.order import Kind, Line
from tests.backends.fault_server import FaultServer
from tests.backends.orders import a_delivery, an_order, reveal
from tests.backends.stand_ins import OdooStandIn

EXTRAS = {"shipping": 91, "discount": 92, "tax": 93}


@pytest.fixture
async def server() -> AsyncIterator[FaultServer]:
    async with FaultServer(OdooStandIn()).running() as server:
        yield server


@pytest.fixture
def odoo(server: FaultServer) -> OdooStandIn:
    assert isinstance(server.stand_in, OdooStandIn)
    return server.stand_in


def make(server: FaultServer, **more: Any) -> OdooBackend:
    fields = {"url": server.url, "partner": 9, "currency": "USD", "extras": EXTRAS, "database": "shop", **more}
    return connect("b", msgspec.convert({"kind": "odoo", "secret": Secret(env="secret"), **fields}, Config), reveal)


@pytest.fixture
async def backend(server: FaultServer) -> AsyncIterator[OdooBackend]:
    backend = make(server)
    yield backend
    await backend.close()


async def test_an_order_is_loaded_under_its_external_id_and_confirmed(
    server: FaultServer, odoo: OdooStandIn, backend: OdooBackend
) -> None:
    delivery = a_delivery(an_order("1"))
    assert await backend.deliver(delivery) == Delivered(backend_ref="1")
    assert odoo.names == {delivery.key: 1}
    assert odoo.sales[1]["state"] == "sale"
    assert odoo.sales[1]["amount_total"] == delivery.order.total / 100
    (load,) = [request.json for request in server.seen if request.path.endswith("/load")]
    assert load["fields"][0] == "id"
    assert load["data"][0][0] == f"flashd.{delivery.key}"
    assert [row[0] for row in load["data"][1:]] == [""] * 4
    assert {request.headers["x-odoo-database"] for request in server.seen} == {"shop"}


async def test_a_record_that_exists_is_never_loaded_again(odoo: OdooStandIn, backend: OdooBackend) -> None:
    delivery = a_delivery(an_order("1"))
    for _ in range(3):
        assert await backend.deliver(delivery) == Delivered(backend_ref="1")
    assert odoo.loads == 1


async def test_messages_without_ids_are_a_refusal(odoo: OdooStandIn, backend: OdooBackend) -> None:
    delivery = a_delivery(an_order("1", lines=(Line("SKU-01", 1, 200_000_000),)))
    assert await backend.deliver(delivery) == Declined(reason="Too dear for ***")
    assert odoo.sales == {}


async def test_tax_that_odoo_adds_is_seen_before_the_order_is_confirmed(
    odoo: OdooStandIn, backend: OdooBackend
) -> None:
    odoo.unit_tax = Decimal("0.19")
    delivery = a_delivery(an_order("1"))
    assert isinstance(await backend.deliver(delivery), Doubtful)
    assert isinstance(await backend.find(delivery), Mismatch)
    assert odoo.sales[1]["state"] == "draft"


async def test_a_half_done_order_is_finished_under_its_key(server: FaultServer, odoo: OdooStandIn) -> None:
    half, whole = make(server, until="draft"), make(server)
    delivery = a_delivery(an_order("1"))
    assert await half.deliver(delivery) == Delivered(backend_ref="1")
    assert await whole.find(delivery) == Absent(half_done="1")
    assert await whole.deliver(delivery) == Delivered(backend_ref="1")
    assert odoo.sales[1]["state"] == "sale"
    assert odoo.loads == 1
    await half.close()
    await whole.close()


async def test_a_draft_is_cancelled_and_a_confirmed_order_is_left_to_a_human(
    server: FaultServer, odoo: OdooStandIn, backend: OdooBackend
) -> None:
    half = make(server, until="draft")
    await half.deliver(a_delivery(an_order("1")))
    cancel = a_delivery(an_order("1"), kind=Kind.CANCEL, backend_ref="1")
    assert await backend.find(cancel) == Absent()
    assert await backend.deliver(cancel) == Delivered(backend_ref="1")
    assert await backend.find(cancel) == Found(backend_ref="1")
    await backend.deliver(a_delivery(an_order("2")))
    outcome = await backend.deliver(a_delivery(an_order("2"), kind=Kind.CANCEL, backend_ref="2"))
    assert isinstance(outcome, Unsupported)
    assert odoo.sales[2]["state"] == "sale"
    await half.close()


async def test_an_extra_line_without_a_product_waits_for_the_configuration(
    server: FaultServer, odoo: OdooStandIn
) -> None:
    backend = make(server, extras={})
    outcome = await backend.deliver(a_delivery(an_order("1")))
    assert isinstance(outcome, Away)
    assert "extras.shipping" in outcome.reason
    assert odoo.loads == 0
    await backend.close()


async def test_another_currency_is_declined(odoo: OdooStandIn, backend: OdooBackend) -> None:
    assert isinstance(await backend.deliver(a_delivery(an_order("1", currency="EUR"))), Declined)
    assert odoo.loads == 0
