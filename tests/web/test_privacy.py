"""Forgetting customers and meeting demands over the admin API."""

from __future__ import annotations

from typing import Any

import pytest

from flashd.domain.order import Customer, Order, OrderState
from flashd.domain.privacy import Demand, DemandKind, Person
from tests.fakes.doors import ADMIN, OPERATE, READ, DoorHouse, record
from tests.web.conftest import Served

EMAIL = "ada@example.com"


@pytest.fixture
def admin(admin: Served) -> Served:
    admin.token = ADMIN
    return admin


async def test_orders_are_forgotten_in_the_pool_of_their_channel_alone(admin: Served, house: DoorHouse) -> None:
    answer = await admin.call("POST", "/admin/v1/forget", json={"orders": ["shop:1", "shop:2", "kiosk:3"]})
    assert answer.status == 200, answer.raw
    told = {one["pool"]: one["forgotten"]["erased"] for one in answer.json["pools"]}
    assert told == {"main": ["shop:1", "shop:2"], "other": ["kiosk:3"]}
    assert house.erasers["main"].forgotten == [(Person(channel="shop", orders=("1", "2")), "admin")]
    assert answer.json["scrubbed"] == {"code": "clean", "mend": ["backups"]}
    assert [(one.what, one.pool) for one in house.changes] == [
        ("customer.forgotten", "main"),
        ("customer.forgotten", "other"),
    ]


async def test_a_customer_is_forgotten_in_every_pool_and_the_trail_names_nobody(
    admin: Served, house: DoorHouse
) -> None:
    house.erasers["main"].kept[EMAIL] = ("shop:1",)
    answer = await admin.call("POST", "/admin/v1/forget", json={"email": EMAIL, "phone": "0170 1234567"})
    assert [one["pool"] for one in answer.json["pools"]] == ["main", "other"]
    assert {one.subject for one in house.changes} == {"a customer by email, phone"}
    assert EMAIL not in repr(house.changes)
    assert house.changes[0].after == "1 orders erased, 0 wait until they are settled, 0 quarantined bodies dropped"


async def test_a_dry_run_erases_nothing_and_leaves_no_trace(admin: Served, house: DoorHouse) -> None:
    house.erasers["main"].kept[EMAIL] = ("shop:1",)
    answer = await admin.call("POST", "/admin/v1/forget?dry_run", json={"email": EMAIL})
    assert (answer.json["dry_run"], answer.json["scrubbed"]) == (True, None)
    assert answer.json["pools"][0]["forgotten"]["erased"] == ["shop:1"]
    assert (house.erasers["main"].forgotten, house.changes) == ([], [])


async def test_a_channel_that_is_gone_may_be_emptied_too(admin: Served, house: DoorHouse) -> None:
    answer = await admin.call("POST", "/admin/v1/forget?pool=main", json={"channel": "former", "everything": True})
    assert answer.status == 200
    assert house.erasers["main"].forgotten == [(Person(channel="former", everything=True), "admin")]
    assert house.erasers["other"].forgotten == []


@pytest.mark.parametrize(
    "wish", [{}, {"orders": ["nocolon"]}, {"email": "ada"}, {"everything": True}, {"phone": "12"}, {"orders": 7}]
)
async def test_whoever_cannot_be_found_is_refused(admin: Served, house: DoorHouse, wish: dict[str, Any]) -> None:
    answer = await admin.call("POST", "/admin/v1/forget", json=wish)
    assert answer.status in {400, 422}, answer.raw
    assert house.changes == []


@pytest.mark.parametrize(
    ("reason", "status"), [("ADA@example.com called", 400), ("call 0170 1234567", 400), ("changed their mind", 200)]
)
async def test_a_reason_that_names_the_customer_is_refused(
    admin: Served, house: DoorHouse, reason: str, status: int
) -> None:
    customer = Customer(name="Ada", email=EMAIL, phone="0170 1234567")
    order = Order(channel="shop", id="1", placed_ms=1, currency="EUR", lines=(), total=0, customer=customer)
    house.main.put(record(order, OrderState.QUEUED))
    answer = await admin.call("POST", "/admin/v1/orders/shop/1/cancel", json={"reason": reason})
    assert answer.status == status, answer.raw
    assert EMAIL.encode() not in answer.raw
    assert len(house.changes) == (status == 200)


async def test_only_admin_may_forget_or_see_who_demands(admin: Served, house: DoorHouse) -> None:
    demand = Demand(kind=DemandKind.DISCLOSE, channel="shop", person=Person(channel="shop", email=EMAIL))
    demand_id = await house.erasers["main"].demand(demand, b"body")
    for token in (READ, OPERATE):
        assert (await admin.call("POST", "/admin/v1/forget", json={"email": EMAIL}, token=token)).status == 403
        assert (await admin.call("GET", f"/admin/v1/demands/{demand_id}", token=token)).status == 403
        listed = await admin.call("GET", "/admin/v1/demands", token=token)
        assert [one["id"] for one in listed.json["demands"]] == [demand_id]
        assert EMAIL.encode() not in listed.raw


async def test_a_demand_is_shown_with_what_is_kept_and_met_by_a_human(admin: Served, house: DoorHouse) -> None:
    house.erasers["main"].kept[EMAIL] = ("shop:1",)
    demand = Demand(kind=DemandKind.DISCLOSE, channel="shop", person=Person(channel="shop", email=EMAIL), reference="9")
    demand_id = await house.erasers["main"].demand(demand, b"body")
    shown = await admin.call("GET", f"/admin/v1/demands/{demand_id}")
    assert (shown.json["person"]["email"], shown.json["kept"]["erased"]) == (EMAIL, ["shop:1"])
    answer = await admin.call("POST", f"/admin/v1/demands/{demand_id}/met", json={"reason": "by letter"})
    assert (answer.json["by"], answer.json["outcome"]) == ("admin", "by letter")
    [change] = house.changes
    assert (change.what, change.before, change.after) == ("demand.met", "open", "met: by letter")
    shown = await admin.call("GET", f"/admin/v1/demands/{demand_id}")
    assert (shown.json["person"]["email"], shown.json["kept"]) == ("", None)
    assert (await admin.call("GET", "/admin/v1/demands/none")).status == 404
