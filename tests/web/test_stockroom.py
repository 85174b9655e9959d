"""Counts, shipments, receipts and triage over the admin API."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from flashd.domain.order import Item, OrderRef, OrderState
from flashd.domain.stock import StockLevel
from tests.conformance.ledgers import make_incoming
from tests.fakes.doors import OPERATE, READ, DoorHouse
from tests.fakes.doors import record as make_record
from tests.web.conftest import Served

NOW = "?pool=main&kind=available&as_of=now"
REF = OrderRef("shop", "1001")


@pytest.fixture
def house() -> DoorHouse:
    """Doors whose pool is behind ledger, book and stockroom alike."""
    house = DoorHouse()
    state = house.stockrooms["main"].state
    state.levels["tee", "main"] = StockLevel(sku="tee", on_hand=10, sold=4)
    return house


def put(house: DoorHouse, *, taken: int, wanted: int, state: OrderState) -> None:
    order = make_incoming(tee=wanted).order
    known = make_record(order, state)
    known = msgspec.structs.replace(known, items=(Item("tee", "main", wanted, taken),), reason="", delivered_ms=1)
    house.main.put(known)
    house.stockrooms["main"].state.records[REF] = known


async def ask(admin: Served, path: str, body: Any = None, method: str = "POST") -> Any:
    answer = await admin.call(method, path, json=body, token=OPERATE)
    return answer.status, answer.json


async def test_a_recount_is_a_dry_run_by_default_and_names_the_orders_in_it(admin: Served, house: DoorHouse) -> None:
    put(house, taken=4, wanted=4, state=OrderState.DELIVERED)
    rows = [{"sku": "tee", "quantity": 5}]
    status, told = await ask(admin, f"/admin/v1/stock/recount{NOW}", rows)
    assert (status, told["written"]) == (200, 0)
    [row] = told["rows"]
    assert (row["expected"], row["difference"], row["orders"], row["units"]) == (6, -1, 1, 4)
    assert (row["contained"], row["action"], row["after"]["free"]) == (["shop:1001"], "set", 5)
    assert house.stockrooms["main"].calls == ["forecast"]
    assert house.changes == []
    _, told = await ask(admin, f"/admin/v1/stock/recount{NOW}&repair=safe", rows)
    assert (told["written"], told["rows"][0]["after"]["sold"]) == (1, 0)
    assert [change.what for change in house.changes] == ["stock.recounted"]


async def test_safe_leaves_what_makes_a_deficit_and_all_sets_it(admin: Served, house: DoorHouse) -> None:
    rows = [{"sku": "tee", "quantity": 3}, {"sku": "mug", "quantity": 2}]
    _, told = await ask(admin, f"/admin/v1/stock/recount{NOW}&repair=safe", rows)
    assert [(row["action"], row["deficit"]) for row in told["rows"]] == [("left", 1), ("set", 0)]
    assert house.stockrooms["main"].state.levels["tee", "main"].on_hand == 10
    _, told = await ask(admin, f"/admin/v1/stock/recount{NOW}&repair=all", rows[:1])
    assert (told["rows"][0]["action"], told["rows"][0]["deficit"]) == ("set", 1)
    assert house.stockrooms["main"].state.levels["tee", "main"].on_hand == 3


async def test_a_recount_as_csv(admin: Served, house: DoorHouse) -> None:
    body = b"sku,quantity,kind,as_of\ntee,-2,physical,1970-01-02T00:00:00Z\n"
    answer = await admin.call(
        "POST", "/admin/v1/stock/recount?pool=main", data=body, headers={"Content-Type": "text/csv"}, token=OPERATE
    )
    assert answer.status == 400
    body = body.replace(b"1970-", b"2020-")
    answer = await admin.call(
        "POST",
        "/admin/v1/stock/recount?pool=main&repair=all",
        data=body,
        headers={"Content-Type": "text/csv"},
        token=OPERATE,
    )
    assert (answer.status, answer.json["rows"][0]["after"]["on_hand"]) == (200, -2)


@pytest.mark.parametrize(
    ("query", "row", "says"),
    [
        ("?pool=main&as_of=now", {"sku": "tee", "quantity": 1}, "kind=physical"),
        ("?pool=main&kind=physical", {"sku": "tee", "quantity": 1}, "when it was counted"),
        ("?pool=main&kind=physical&as_of=2199-01-01T00:00:00Z", {"sku": "tee", "quantity": 1}, "yet to come"),
        ("?pool=main&kind=physical&as_of=now&repair=much", {"sku": "tee", "quantity": 1}, "repair is one of"),
    ],
)
async def test_a_recount_that_does_not_say_what_it_is_is_refused(
    query: str, row: dict[str, Any], says: str, admin: Served
) -> None:
    status, told = await ask(admin, f"/admin/v1/stock/recount{query}", [row])
    assert status == 400
    assert says in told["detail"]


async def test_a_receipt_is_told_once(admin: Served, house: DoorHouse) -> None:
    body = {"receipt": "r1", "units": 5}
    status, told = await ask(admin, "/admin/v1/stock/tee/receive?pool=main", body)
    assert (status, told["repeat"], told["level"]["on_hand"]) == (200, False, 15)
    _, told = await ask(admin, "/admin/v1/stock/tee/receive?pool=main", body)
    assert (told["repeat"], told["level"]["on_hand"]) == (True, 15)
    assert [change.what for change in house.changes] == ["stock.received"]


async def test_only_a_delivered_order_is_shipped(admin: Served, house: DoorHouse) -> None:
    put(house, taken=4, wanted=4, state=OrderState.QUEUED)
    assert (await ask(admin, "/admin/v1/orders/shop/1001/ship", {}))[0] == 409
    put(house, taken=4, wanted=4, state=OrderState.DELIVERED)
    assert (await ask(admin, "/admin/v1/orders/shop/1001/ship", {}))[0] == 200
    assert house.stockrooms["main"].state.records[REF].shipped_ms > 0
    assert [change.what for change in house.changes] == ["order.shipped"]


async def test_triage_ranks_what_may_be_done_and_does_what_is_decided(admin: Served, house: DoorHouse) -> None:
    put(house, taken=4, wanted=6, state=OrderState.SHORTFALL)
    listed = await admin.call("GET", "/admin/v1/triage?pool=main", token=READ)
    [shortage] = listed.json["shortages"]
    assert (shortage["short"], shortage["fills_itself"]) == ({"tee": 2}, True)
    ways = [option["way"] for option in shortage["options"]]
    assert ways[-1] == "cancel"
    assert set(ways) == {"backorder", "split", "reduce", "cancel"}
    status, _ = await ask(admin, "/admin/v1/orders/shop/1001/triage", {"do": "substitute"})
    assert status == 409
    status, _ = await ask(admin, "/admin/v1/orders/shop/1001/triage", {"do": "split"})
    assert status == 200
    states = {str(ref): one.state for ref, one in house.stockrooms["main"].state.records.items()}
    assert states == {"shop:1001": OrderState.QUEUED, "shop:1001+rest": OrderState.BACKORDER}
