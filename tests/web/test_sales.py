"""Sales over HTTP: a document is written, shown with what is used, stopped to zero, resumed, closed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from flashd.domain.catalogue import Component, Entry, Kit
from flashd.domain.listing import Listing, ListingState
from flashd.domain.price import PriceRow, PriceState, Tag
from flashd.domain.sale import SaleState
from tests.fakes.doors import OPERATE, READ, DoorHouse
from tests.web.conftest import Served

PATH = "/admin/v1/sales/friday"
POOL = "?pool=main"
START = datetime.fromtimestamp(1_790_000_000, UTC)


def document(**more: Any) -> dict[str, Any]:
    right = {
        "name": "friday",
        "start": START.isoformat(),
        "end": (START + timedelta(hours=1)).isoformat(),
        "products": [{"sku": "TEE", "quota": 10, "price": "9.90"}, {"sku": "CAP"}],
    }
    return right | more


async def put(admin: Served, path: str = PATH + POOL, **more: Any) -> Any:
    return await admin.call("PUT", path, json=document(**more), token=OPERATE)


async def test_a_sale_is_written_shown_and_audited(admin: Served, house: DoorHouse) -> None:
    house.count("TEE", 5)
    house.sales["main"].counted["friday", "TEE"] = 4
    written = await put(admin)
    assert (written.status, written.headers["ETag"]) == (200, '"1"')
    assert (written.json["changed"], written.json["unknown"], written.json["phase"]) == (True, ["CAP"], "open")
    [change] = house.changes
    assert (change.who, change.what, change.subject, change.before, change.after) == (
        "operate",
        "sale.written",
        "friday",
        None,
        1,
    )
    assert house.woken > 0
    shown = (await admin.call("GET", PATH + POOL, token=READ)).json
    first, second = shown["items"]
    assert (first["sku"], first["quota"], first["used"], first["left"]) == ("TEE", 10, 4, 6)
    assert (second["sku"], second["left"]) == ("CAP", None)
    assert shown["document"] == document(pool="main") | {"start": "2026-09-21T14:13:20Z", "end": "2026-09-21T15:13:20Z"}
    listed = (await admin.call("GET", "/admin/v1/sales" + POOL, token=READ)).json["sales"]
    assert [(one["name"], one["state"], one["products"]) for one in listed] == [("friday", "ready", 2)]


async def test_the_same_document_again_changes_nothing(admin: Served, house: DoorHouse) -> None:
    await put(admin)
    again = await put(admin)
    assert (again.json["version"], again.json["changed"], len(house.changes)) == (1, False, 1)


async def test_toml_is_taken_as_people_write_it(admin: Served) -> None:
    body = b"""
        start = 2026-11-27T08:00:00+01:00
        end = 2026-11-27T20:00:00+01:00
        [[products]]
        sku = "TEE"
    """
    headers = {"Content-Type": "application/toml"}
    answer = await admin.call("PUT", PATH + POOL, data=body, headers=headers, token=OPERATE)
    assert (answer.status, answer.json["name"], answer.json["phase"]) == (200, "friday", "before")


async def test_all_faults_of_a_document_are_told_at_once(admin: Served, house: DoorHouse) -> None:
    answer = await put(admin, end=START.isoformat(), channels=["shpo", "kiosk"], products=[{"sku": "A"}, {"sku": "A"}])
    assert (answer.status, answer.json["title"]) == (422, "invalid")
    assert [one["path"] for one in answer.json["problems"]] == ["end", "channels[0]", "channels[1]", "products[1].sku"]
    assert 'did you mean "shop"?' in answer.json["detail"]
    assert house.changes == []


@pytest.mark.parametrize(
    ("path", "more", "said"),
    [
        ("/admin/v1/sales/monday?pool=main", {}, "the document's name is 'friday', and the address says 'monday'"),
        ("/admin/v1/sales/friday?pool=other", {"pool": "main"}, "the document's pool is 'main'"),
        (PATH + POOL + "&version=0", {}, "version must be"),
    ],
)
async def test_an_address_that_contradicts_the_document_is_refused(
    admin: Served, path: str, more: dict[str, Any], said: str
) -> None:
    answer = await put(admin, path, **more)
    assert answer.status == 400
    assert said in answer.json["detail"]


async def test_a_version_that_is_not_the_newest_is_a_conflict(admin: Served) -> None:
    await put(admin)
    await put(admin, limit=2)
    for late in (await put(admin, PATH + POOL + "&version=1", limit=3), await if_match(admin, '"1"')):
        assert (late.status, late.json["title"], late.json["version"]) == (409, "conflict", 2)
    assert (await if_match(admin, '"2"')).json["version"] == 3
    assert (await if_match(admin, "W/two")).status == 400
    old = await admin.call("GET", PATH + POOL + "&version=1", token=READ)
    assert old.json["document"].get("limit", 0) == 0
    versions = (await admin.call("GET", PATH + "/versions" + POOL, token=READ)).json["sales"]
    assert [one["version"] for one in versions] == [3, 2, 1]


async def if_match(admin: Served, tag: str) -> Any:
    headers = {"If-Match": tag}
    return await admin.call("PUT", PATH + POOL, json=document(limit=4), headers=headers, token=OPERATE)


async def test_a_dry_run_says_what_would_change_and_writes_nothing(admin: Served, house: DoorHouse) -> None:
    dry = await put(admin, PATH + POOL + "&dry_run")
    assert (dry.status, dry.json["version"], dry.json["changed"]) == (200, 1, True)
    assert (house.sales["main"].versions, house.changes) == ({}, [])
    await put(admin)
    assert (await put(admin, PATH + POOL + "&dry_run")).json["changed"] is False
    assert (await put(admin, PATH + POOL + "&dry_run", limit=1)).json["version"] == 2
    other = document(name="monday")
    clash = await admin.call("PUT", "/admin/v1/sales/monday?pool=main&dry_run", json=other, token=OPERATE)
    assert (clash.status, clash.json["sale"], clash.json["sku"]) == (409, "friday", "CAP")
    assert (await put(admin, PATH + POOL + "&dry_run&version=7")).status == 409


async def test_a_sale_is_stopped_resumed_and_closed_once_each(admin: Served, house: DoorHouse) -> None:
    await put(admin)
    house.changes.clear()
    for verb, state in (("stop", "stopped"), ("stop", "stopped"), ("resume", "ready"), ("close", "ended")):
        answer = await admin.call("POST", f"{PATH}/{verb}{POOL}", token=OPERATE)
        assert (answer.status, answer.json["state"]) == (200, state)
    assert [change.what for change in house.changes] == ["sale.stopped", "sale.resumed", "sale.closed"]
    for late in (await admin.call("POST", f"{PATH}/resume{POOL}", token=OPERATE), await put(admin, limit=1)):
        assert late.status == 409
    assert (await admin.call("POST", f"/admin/v1/sales/monday/stop{POOL}", token=OPERATE)).status == 404
    assert (await admin.call("GET", f"/admin/v1/sales/monday{POOL}", token=READ)).status == 404


def show(house: DoorHouse, sku: str, figure: int, state: ListingState = ListingState.IDLE) -> None:
    pool = house.listings["main"].state
    pool.entries.setdefault("shop", {})[sku] = Entry(sku=sku, ids={"item": sku})
    pool.listings["shop", sku] = Listing(sku=sku, figure=figure, state=state)


async def zero(admin: Served) -> Any:
    return (await admin.call("GET", f"{PATH}/zero{POOL}", token=READ)).json


async def test_the_way_to_zero_is_told_channel_by_channel(admin: Served, house: DoorHouse) -> None:
    await put(admin)
    show(house, "TEE", 5)
    show(house, "CAP", 0, ListingState.WRITING)
    await admin.call("POST", f"{PATH}/stop{POOL}", token=OPERATE)
    await house.clock.advance(1.5)
    first = await zero(admin)
    assert (first["state"], first["zero"], first["since_s"], first["skus"]) == ("stopped", False, 1.5, 2)
    by_name = {one["channel"]: one for one in first["channels"]}
    assert by_name.keys() == {"shop", "till", "hooks"}  # the kiosk is of another pool
    assert (by_name["shop"]["skus"], by_name["shop"]["open"]) == (2, 2)
    assert by_name["shop"]["first"] == {"TEE": "5, idle", "CAP": "0, writing"}
    assert (by_name["till"]["shows"], by_name["till"]["asks"], by_name["till"]["open"]) == (False, True, 0)
    assert (by_name["hooks"]["shows"], by_name["hooks"]["asks"]) == (False, False), "nobody can stop it from here"
    show(house, "TEE", 0, ListingState.SETTLING)
    show(house, "CAP", 0)
    assert (await zero(admin))["zero"] is True


@pytest.mark.parametrize("state", [ListingState.IN_DOUBT, ListingState.WRITING])
async def test_a_write_whose_outcome_is_not_known_is_no_zero(
    admin: Served, house: DoorHouse, state: ListingState
) -> None:
    await put(admin)
    show(house, "TEE", 0, state)
    assert (await zero(admin))["zero"] is False


async def test_what_was_mapped_and_never_read_is_not_zero_and_what_is_not_mapped_is_not_there(
    admin: Served, house: DoorHouse
) -> None:
    await put(admin)
    assert [one["skus"] for one in (await zero(admin))["channels"]] == [0, 0, 0]
    show(house, "TEE", -1)
    found = await zero(admin)
    assert (found["zero"], found["channels"][1]["first"]) == (False, {"TEE": "an unknown figure, idle"})


async def test_how_prices_stand_is_shown_with_what_is_wrong(admin: Served, house: DoorHouse) -> None:
    await put(admin)
    row = PriceRow(
        sale="friday", sku="TEE", state=PriceState.PUSHED, before=Tag("19.90"), wish=Tag("9.90"), ours=(Tag("9.90"),)
    )
    kept = replace(row, sku="CAP", state=PriceState.KEPT, reason="somebody changed it to 12.00")
    others = replace(row, sale="monday")
    await house.prices["main"].change("shop", [(None, row), (None, kept), (None, others)])
    [shop] = (await admin.call("GET", PATH + POOL, token=READ)).json["prices"]
    assert (shop["channel"], shop["pushed"], shop["kept"], shop["restored"]) == ("shop", 1, 1, 0)
    assert shop["wrong"] == {"CAP": "somebody changed it to 12.00"}


async def test_a_kit_is_known_without_a_count(admin: Served, house: DoorHouse) -> None:
    house.count("TEE", 5)
    house.listings["main"].state.kits["CAP"] = Kit(sku="CAP", components=(Component("TEE", 2),))
    assert (await put(admin)).json["unknown"] == []


async def test_a_sale_that_ended_shows_its_state_and_phase(admin: Served, house: DoorHouse) -> None:
    await put(admin)
    await house.sales["main"].set_state("friday", SaleState.ENDED, by="ann")
    shown = (await admin.call("GET", PATH + POOL, token=READ)).json
    assert (shown["state"], shown["phase"]) == ("ended", "ended")
