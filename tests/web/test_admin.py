"""The operator's listener: health, metrics, and every command over HTTP."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs
from yarl import URL

from flashd.domain.order import Address, Customer, Line, Order, OrderRef, OrderState
from flashd.errors import Conflict, StoreUnavailable
from tests.fakes.doors import ADMIN, OPERATE, READ, DoorHouse, record
from tests.web.conftest import Serve, Served
from tests.web.test_server import event

JANE = Order(
    channel="shop",
    id="1001",
    placed_ms=1,
    currency="EUR",
    lines=(Line("TEE", 1),),
    total=0,
    customer=Customer(name="Jane Doe", email="jane@example.org"),
    ship_to=Address(name="Jane Doe", street="Elm Street 1", country="DE"),
    note="ring twice",
)


def put(house: DoorHouse, state: OrderState, order_id: str = "1001", reason: str = "") -> OrderRef:
    order = msgspec.structs.replace(JANE, id=order_id)
    house.main.put(msgspec.structs.replace(record(order, state), reason=reason))
    return OrderRef("shop", order_id)


# ---------------------------------------------------------------------------------------------------------- stock


async def test_a_count_is_set_shown_and_audited(admin: Served, house: DoorHouse) -> None:
    with capture_logs() as logs:
        answer = await admin.call(
            "PUT", "/admin/v1/stock/TEE?pool=main", json={"on_hand": 7, "safety": 1}, token=OPERATE
        )
    assert (answer.status, answer.json["after"]["free"], answer.json["applied"]) == (200, 6, True)
    assert answer.json["before"] is None
    (change,) = house.changes
    assert (change.who, change.what, change.subject, change.pool) == ("operate", "stock.counted", "TEE@main", "main")
    (entry,) = [entry for entry in logs if entry["event"] == "admin.changed"]
    assert (entry["who"], json.loads(entry["after"])["on_hand"]) == ("operate", 7)
    again = await admin.call("PUT", "/admin/v1/stock/TEE?pool=main", json={"on_hand": 8}, token=OPERATE)
    assert again.json["after"]["safety"] == 1  # what is left out stays
    shown = await admin.call("GET", "/admin/v1/stock/TEE?pool=main", token=READ)
    assert [level["on_hand"] for level in shown.json["levels"]] == [8]
    assert (await admin.call("GET", "/admin/v1/stock/HAT?pool=main", token=READ)).status == 404


async def test_a_path_or_a_method_that_is_not_served_is_said_with_what_is(admin: Served) -> None:
    method = await admin.call("DELETE", "/admin/v1/stock/T%20EE?pool=main", token=ADMIN)
    assert (method.status, method.headers["Allow"]) == (405, "GET,PUT")
    assert method.json["detail"] == "/admin/v1/stock/T EE: DELETE is not allowed here; allowed: GET, PUT"
    path = await admin.call("GET", "/admin/v1/stocks/" + "x" * 5000, token=ADMIN)
    assert (path.status, path.json["title"]) == (404, "not_found")
    assert path.json["detail"].startswith("/admin/v1/stocks/xxx")
    assert path.json["detail"].endswith("xxx...: there is no such path here")
    assert len(path.json["detail"]) < 300
    for answer in (method, path):
        assert answer.headers["Content-Type"] == "application/problem+json"


async def test_a_path_is_said_in_text_whatever_its_bytes_are(admin: Served) -> None:
    path = await admin.call("GET", URL(f"{admin.base}/admin/v1/%ff%0a%1b", encoded=True).raw_path, token=ADMIN)
    assert path.json["detail"] == "/admin/v1/%FF\n\x1b: there is no such path here"


async def test_a_dry_run_changes_and_audits_nothing(admin: Served, house: DoorHouse) -> None:
    house.count("TEE", 5)
    path = "/admin/v1/stock/TEE?pool=main&dry_run"
    answer = await admin.call("PUT", path, json={"on_hand": 7}, token=OPERATE)
    assert answer.json["after"]["on_hand"] == 7
    assert house.main.stock["TEE"].on_hand == 5
    assert house.changes == []


async def test_a_count_below_what_was_promised_is_a_reported_deficit(admin: Served, house: DoorHouse) -> None:
    house.count("TEE", 5)
    house.main.stock["TEE"] = msgspec.structs.replace(house.main.stock["TEE"], sold=4)
    answer = await admin.call("PUT", "/admin/v1/stock/TEE?pool=main", json={"on_hand": 1}, token=OPERATE)
    assert answer.json["deficit"] == 3


async def test_a_stale_sequence_is_said_to_have_changed_nothing(admin: Served, house: DoorHouse) -> None:
    path = "/admin/v1/stock/TEE?pool=main"
    await admin.call("PUT", path, json={"on_hand": 7, "seq": 5}, token=OPERATE)
    late = await admin.call("PUT", path, json={"on_hand": 9, "seq": 5}, token=OPERATE)
    assert (late.json["applied"], late.json["after"]["on_hand"]) == (False, 7)
    assert len(house.changes) == 1


@pytest.mark.parametrize(
    ("media", "body"),
    [
        ("text/csv", b"\xef\xbb\xbfsku,on_hand,safety\r\nTEE,7,1\r\nCAP,3,\r\n"),
        ("application/json", b'[{"sku":"TEE","on_hand":7,"safety":1},{"sku":"CAP","on_hand":3}]'),
    ],
)
async def test_an_import_is_csv_or_json(admin: Served, house: DoorHouse, media: str, body: bytes) -> None:
    path, headers = "/admin/v1/stock/import?pool=main", {"Content-Type": media}
    dry = await admin.call("POST", path + "&dry_run=1", data=body, headers=headers, token=OPERATE)
    assert (dry.status, dry.json["dry_run"], house.main.stock) == (200, True, {})
    done = await admin.call("POST", path, data=body, headers=headers, token=OPERATE)
    assert [row["after"]["on_hand"] for row in done.json["rows"]] == [7, 3]
    assert house.main.stock["TEE"].safety == 1
    assert len(house.changes) == 2


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"sku,on_hand\nTEE,7\nCAP,-1\n", 'line 3: on_hand = "-1": write a whole number of at least 0 and of at most'),
        (b"sku,on_hand\nTEE,\n", "line 2: on_hand is empty"),
        (b"sku,on_hand\nTEE,7\nTEE,8\n", "TEE at main stands there twice"),
        (b"sku,on_hand\nTEE,7\nCAP\n", "line 3"),
        (b"sku,on_hand\nTEE,7\nCAP,1,2\n", "line 3"),
        (b"sku,onhand\nTEE,7\n", "line 1: write sku,on_hand"),
        (b"sku;on_hand\nTEE;7\n", "with commas between"),
        (b"sku,on_hand\nTEE,7\nCAP,0x10\n", "line 3"),
        (b"sku,on_hand\n", "1 to"),
        (b"sku,on_hand\nT\xff,7\n", "UTF-8"),
        (b"sku,on_hand,lacks\nTEE,7,\nCAP,3,1\n", "CAP: lacks needs seq"),
        (b"", "line 1"),
    ],
)
async def test_an_import_with_one_bad_row_writes_none_and_says_which(
    admin: Served, house: DoorHouse, body: bytes, said: str
) -> None:
    headers = {"Content-Type": "text/csv"}
    path = "/admin/v1/stock/import?pool=main"
    answer = await admin.call("POST", path, data=body, headers=headers, token=OPERATE)
    assert answer.status == 400, answer.raw
    assert said in answer.json["detail"]
    assert house.main.stock == {}


async def test_a_count_that_lacks_sold_units_and_has_no_number_is_refused(admin: Served, house: DoorHouse) -> None:
    wish = {"on_hand": 5, "lacks": 2}
    answer = await admin.call("PUT", "/admin/v1/stock/TEE?pool=main", json=wish, token=OPERATE)
    assert (answer.status, house.main.stock) == (400, {})
    assert "needs seq" in answer.json["detail"]


# --------------------------------------------------------------------------------------------------------- orders


async def test_orders_are_listed_by_page_state_channel_and_backend(admin: Served, house: DoorHouse) -> None:
    for number in range(5):
        put(house, OrderState.QUEUED, str(number))
    put(house, OrderState.DEAD, "dead")
    first = await admin.call("GET", "/admin/v1/orders?pool=main&state=queued&limit=2", token=READ)
    assert ([order["id"] for order in first.json["orders"]], first.json["next_offset"]) == (["0", "1"], 2)
    last = await admin.call("GET", "/admin/v1/orders?pool=main&state=queued&limit=2&offset=4", token=READ)
    assert ([order["id"] for order in last.json["orders"]], last.json["next_offset"]) == (["4"], None)
    for query, count in (("state=queued&state=dead", 6), ("channel=till", 0), ("backend=oms", 0), ("", 6)):
        answer = await admin.call("GET", f"/admin/v1/orders?pool=main&{query}", token=READ)
        assert len(answer.json["orders"]) == count, query
    for query in ("state=lost", "limit=0", "limit=501", "offset=-1", "limit=%D9%A1"):
        assert (await admin.call("GET", f"/admin/v1/orders?pool=main&{query}", token=READ)).status == 400, query
    assert (await admin.call("GET", "/admin/v1/orders", token=READ)).status == 400  # two pools: name one
    assert (await admin.call("GET", "/admin/v1/orders?pool=none", token=READ)).status == 404


async def test_customer_data_is_for_the_scope_admin_only(admin: Served, house: DoorHouse) -> None:
    ref = put(house, OrderState.QUEUED)
    house.main.raws[ref] = b'{"email": "jane@example.org"}'
    seen = await admin.call("GET", "/admin/v1/orders/shop/1001", token=OPERATE)
    assert seen.json["raw"] is None
    assert seen.json["order"]["ship_to"] == {"country": "DE"}
    assert b"Jane" not in seen.raw
    assert b"jane" not in seen.raw
    assert b"ring twice" not in seen.raw
    assert (seen.json["position"], seen.json["eta_s"]) == (0, 0.5)
    assert seen.json["timeline"] == [{"at": "2026-09-21T14:13:20.000Z", "what": "accepted"}]
    assert seen.json["routing"]["because"] == ["route 1 -> erp: catch-all for shop"]
    full = await admin.call("GET", "/admin/v1/orders/shop/1001", token=ADMIN)
    assert full.json["raw"] == '{"email": "jane@example.org"}'
    assert full.json["order"]["customer"]["name"] == "Jane Doe"
    assert (await admin.call("GET", "/admin/v1/orders/shop/none", token=READ)).status == 404
    assert (await admin.call("GET", "/admin/v1/orders/none/1001", token=READ)).status == 404


async def test_an_export_streams_every_order_and_customers_only_to_admin(admin: Served, house: DoorHouse) -> None:
    for number in range(1203):
        put(house, OrderState.QUEUED, str(number))
    answer = await admin.call("GET", "/admin/v1/orders/export?pool=main", token=READ)
    lines = [json.loads(line) for line in answer.raw.splitlines()]
    assert [line["ref"]["id"] for line in lines] == [str(number) for number in range(1203)]
    assert b"jane" not in answer.raw
    path = "/admin/v1/orders/export?pool=main&customers"
    assert (await admin.call("GET", path, token=OPERATE)).status == 403
    assert b"jane@example.org" in (await admin.call("GET", path, token=ADMIN)).raw
    assert [change.what for change in house.changes] == ["orders.exported"]


@pytest.mark.parametrize(
    ("verb", "body", "before", "after", "what"),
    [
        ("retry", None, OrderState.DEAD, "queued", "order.retried"),
        ("cancel", {"reason": "refunded"}, OrderState.QUEUED, "cancelled", "order.cancelled"),
        ("settle", {"backend_ref": "SO-1"}, OrderState.MANUAL, "delivered", "order.settled"),
    ],
)
async def test_a_human_decides_and_the_audit_trail_says_who(
    admin: Served, house: DoorHouse, verb: str, body: Any, before: OrderState, after: str, what: str
) -> None:
    put(house, before)
    answer = await admin.call("POST", f"/admin/v1/orders/shop/1001/{verb}", json=body, token=OPERATE)
    assert (answer.status, answer.json["state"]) == (200, after)
    (change,) = house.changes
    assert (change.who, change.what, change.before, change.after) == ("operate", what, str(before), after)
    assert any("by operate" in asked for asked in house.main.asked)
    unknown = await admin.call("POST", f"/admin/v1/orders/shop/none/{verb}", json=body, token=OPERATE)
    assert unknown.status == 404
    assert len(house.changes) == 1


async def test_what_the_state_does_not_allow_is_409_and_no_change(admin: Served, house: DoorHouse) -> None:
    put(house, OrderState.DELIVERED)
    for verb, body in (("retry", None), ("cancel", {"reason": "x"}), ("settle", {"backend_ref": "SO-1"})):
        answer = await admin.call("POST", f"/admin/v1/orders/shop/1001/{verb}", json=body, token=OPERATE)
        assert (answer.status, answer.json["title"]) == (409, "conflict"), verb
    assert (await admin.call("POST", "/admin/v1/orders/shop/1001/cancel", token=OPERATE)).status == 422
    assert house.changes == []


async def test_a_mended_manual_order_needs_the_word_that_the_backend_lacks_it(admin: Served, house: DoorHouse) -> None:
    put(house, OrderState.MANUAL)
    path = "/admin/v1/orders/shop/1001/mend"
    order = msgspec.to_builtins(JANE)
    refused = await admin.call("POST", path, json={"order": order}, token=ADMIN)
    assert (refused.status, house.changes) == (409, [])
    foreign = await admin.call("POST", path, json={"order": {**order, "id": "2"}, "absent": True}, token=ADMIN)
    assert foreign.status == 400
    done = await admin.call("POST", path, json={"order": order, "absent": True}, token=ADMIN)
    assert (done.status, done.json["state"]) == (200, "queued")
    assert "Jane" not in repr(house.changes)


# ----------------------------------------------------------------------------------------------------------- dead


async def test_dead_letters_are_listed_replayed_and_discarded(admin: Served, house: DoorHouse) -> None:
    put(house, OrderState.DEAD, "1", "no such country")
    put(house, OrderState.DEAD, "2", "no such country")
    put(house, OrderState.QUEUED, "3")
    listed = await admin.call("GET", "/admin/v1/dead?pool=main", token=READ)
    assert [order["id"] for order in listed.json["orders"]] == ["1", "2"]
    assert (await admin.call("GET", "/admin/v1/dead/shop/1", token=READ)).json["summary"]["reason"] == "no such country"
    assert (await admin.call("GET", "/admin/v1/dead/shop/3", token=READ)).status == 409
    assert (await admin.call("POST", "/admin/v1/dead/shop/3/replay", token=OPERATE)).status == 409
    assert (await admin.call("POST", "/admin/v1/dead/shop/1/replay", token=OPERATE)).json["state"] == "queued"
    assert (await admin.call("POST", "/admin/v1/dead/shop/2/discard", token=OPERATE)).status == 422  # say why
    gone = await admin.call("POST", "/admin/v1/dead/shop/2/discard", json={"reason": "fraud"}, token=OPERATE)
    assert gone.json["state"] == "cancelled"
    assert "cancel by operate: fraud" in house.main.asked


async def test_replaying_all_needs_the_count_of_a_dry_run(admin: Served, house: DoorHouse) -> None:
    for number in range(3):
        put(house, OrderState.DEAD, f"a{number}", "no such country")
    put(house, OrderState.DEAD, "b", "no such tax")
    path = "/admin/v1/dead/replay?pool=main"
    dry = await admin.call("POST", path, json={"dry_run": True}, token=OPERATE)
    assert (dry.json["matching"], dry.json["reasons"]) == (4, {"no such country": 3, "no such tax": 1})
    for confirm in ({}, {"confirm": 4}, {"confirm": 2}):
        wrong = await admin.call("POST", path, json={"reason": "no such country", **confirm}, token=OPERATE)
        assert (wrong.status, wrong.json["matching"]) == (409, 3)
    assert house.changes == []
    done = await admin.call("POST", path, json={"reason": "no such country", "confirm": 3}, token=OPERATE)
    assert (done.json["matching"], done.json["replayed"]) == (3, 3)
    assert house.main.records[OrderRef("shop", "b")].state is OrderState.DEAD
    assert len(house.changes) == 3


async def test_a_dead_letter_that_changed_meanwhile_does_not_stop_the_others(admin: Served, house: DoorHouse) -> None:
    put(house, OrderState.DEAD, "1")
    put(house, OrderState.DEAD, "2")
    requeue = house.main.requeue

    async def first_is_gone(ref: OrderRef, **options: Any) -> OrderState:
        if ref.id == "1":
            raise Conflict("somebody cancelled it")
        return await requeue(ref, **options)

    house.main.requeue = first_is_gone  # type: ignore[method-assign]
    done = await admin.call("POST", "/admin/v1/dead/replay?pool=main", json={"confirm": 2}, token=OPERATE)
    assert (done.json["replayed"], done.json["changed_meanwhile"]) == (1, 1)


# ----------------------------------------------------------------------------------------------------- quarantine


async def test_a_mended_body_is_accepted_and_the_entry_goes(admin: Served, house: DoorHouse) -> None:
    kept = await house.main.quarantine("shop", {"x-topic": "orders"}, b'{"name": "Jane"}', "$.id is missing")
    listed = await admin.call("GET", "/admin/v1/quarantine?pool=main", token=READ)
    assert listed.json["entries"][0]["reason"] == "$.id is missing"
    assert b"Jane" not in listed.raw
    one = f"/admin/v1/quarantine/{kept}"
    assert (await admin.call("GET", one + "?pool=main", token=OPERATE)).status == 403
    assert (await admin.call("GET", one + "?pool=main", token=ADMIN)).json["body"] == '{"name": "Jane"}'
    still = await admin.call("POST", one + "/mend?pool=main", data=b'{"nr": 7}', token=ADMIN)
    assert (still.status, still.json["title"]) == (422, "unreadable")
    product = await admin.call("POST", one + "/mend?pool=main", data=b'"product"', token=ADMIN)
    assert product.status == 422
    assert kept in house.main.kept
    done = await admin.call("POST", one + "/mend?pool=main", data=b'{"id": "7"}', token=ADMIN)
    assert (done.status, done.json["order"]) == (200, "shop:7")
    assert house.main.kept == {}
    assert OrderRef("shop", "7") in house.main.records
    assert (await admin.call("POST", one + "/mend?pool=main", data=b'{"id": "7"}', token=ADMIN)).status == 404


async def test_an_entry_stays_if_its_mended_order_could_not_be_made_durable(admin: Served, house: DoorHouse) -> None:
    kept = await house.main.quarantine("shop", {}, b"{}", "$.id is missing")
    house.intakes["shop"].error = StoreUnavailable("away")
    path = f"/admin/v1/quarantine/{kept}/mend?pool=main"
    assert (await admin.call("POST", path, data=b'{"id": "7"}', token=ADMIN)).status == 503
    assert kept in house.main.kept
    assert house.changes == []


async def test_an_entry_is_discarded_with_a_reason(admin: Served, house: DoorHouse) -> None:
    kept = await house.main.quarantine("shop", {}, b"{}", "$.id is missing")
    path = f"/admin/v1/quarantine/{kept}/discard?pool=main"
    assert (await admin.call("POST", path, token=OPERATE)).status == 422
    assert (await admin.call("POST", path, json={"reason": "a test"}, token=OPERATE)).status == 200
    assert (house.main.kept, house.changes[0].after) == ({}, "a test")


# ------------------------------------------------------------------------------------------------ backends, rest


async def test_a_backend_is_paused_resumed_and_given_a_rate(admin: Served, house: DoorHouse) -> None:
    one = "/admin/v1/backends/erp"
    paused = await admin.call("POST", one + "/pause", json={"reason": "upgrade"}, token=OPERATE)
    assert paused.json["gate"]["paused"] is True
    assert paused.json["drain_eta_s"] is None
    assert (await admin.call("GET", one, token=READ)).json["gate"]["reason"] == "upgrade"
    assert (await admin.call("POST", one + "/resume", token=OPERATE)).json["gate"]["paused"] is False
    assert (await admin.call("POST", one + "/rate", json={"rate": "5/s"}, token=OPERATE)).json["gate"]["rate"] == "5/s"
    for wrong in ("5", "0/s", "fast"):
        assert (await admin.call("POST", one + "/rate", json={"rate": wrong}, token=OPERATE)).status == 400
    assert [change.what for change in house.changes] == ["backend.paused", "backend.resumed", "backend.rate_set"]
    first = await admin.call("POST", one + "/ask-first", json={"reason": "a backup was restored"}, token=OPERATE)
    assert first.json["gate"]["asks_first"] == "a backup was restored"
    assert (house.changes[-1].what, house.changes[-1].after.asks_first) == (
        "backend.asked_first",
        "a backup was restored",
    )
    assert house.changes[0].before.paused is False
    assert house.changes[0].after.paused is True
    for method, path in (("GET", ""), ("POST", "/resume")):
        assert (await admin.call(method, "/admin/v1/backends/none" + path, token=OPERATE)).status == 404
    assert len((await admin.call("GET", "/admin/v1/backends", token=READ)).json["backends"]) == 1


async def test_channels_audit_and_configuration_are_shown(admin: Served, house: DoorHouse) -> None:
    channels = (await admin.call("GET", "/admin/v1/channels", token=READ)).json["channels"]
    kiosk = next(channel for channel in channels if channel["name"] == "kiosk")
    assert kiosk.items() >= {"kind": "fake", "pool": "other", "webhook": "/webhooks/kiosk", "flow": None}.items()
    config = await admin.call("GET", "/admin/v1/config", token=ADMIN)
    assert config.json == {"store": {"password": "***"}}
    assert (await admin.call("POST", "/admin/v1/audit", token=READ)).json == {"ok": True, "moves": 7}
    house.audited["ok"] = False
    assert (await admin.call("POST", "/admin/v1/audit", token=READ)).status == 409


async def test_a_page_of_events_tells_where_to_go_on(admin: Served, house: DoorHouse) -> None:
    house.main.happen(event(1), event(2), event(3))
    page = await admin.call("GET", "/admin/v1/events?pool=main&limit=2", token=READ)
    assert ([each["id"] for each in page.json["events"]], page.json["next"]) == (["1-0", "2-0"], "2-0")
    rest = await admin.call("GET", "/admin/v1/events?pool=main&after=2-0", token=READ)
    assert [each["order"] for each in rest.json["events"]] == ["shop:3"]
    for query in ("after=$", "after=x", "limit=1001"):
        assert (await admin.call("GET", f"/admin/v1/events?pool=main&{query}", token=READ)).status == 400


async def test_the_store_away_is_503_here_as_well(admin: Served, house: DoorHouse) -> None:
    house.main.error = StoreUnavailable("away")
    for path in ("/admin/v1/status", "/admin/v1/orders?pool=main", "/admin/v1/stock?pool=main"):
        answer = await admin.call("GET", path, token=READ)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
        assert answer.json["detail"] == "nothing is known now: ask again"  # no id was sent


async def test_the_only_pool_need_not_be_named(serve: Serve) -> None:
    house = DoorHouse()
    pools = dict(house.doors.pools)
    object.__setattr__(house.doors, "pools", {"main": pools["main"]})
    admin = await serve("admin", behind=house)
    assert (await admin.call("GET", "/admin/v1/stock", token=READ)).json["pool"] == "main"


async def test_a_sku_with_braces_has_an_address(admin: Served, house: DoorHouse) -> None:
    house.count("{TEE}", 5)
    path = "/admin/v1/stock/%7BTEE%7D?pool=main"
    answer = await admin.call("PUT", path, json={"on_hand": 3}, token=OPERATE)
    assert (answer.status, answer.json["after"]["sku"]) == (200, "{TEE}")
