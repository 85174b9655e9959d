"""Channels as an operator steers them: pause, the map, its import, kits, and the exposure meter."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from flashd.domain.catalogue import Component, Entry, Kit
from flashd.domain.flow import Lag
from flashd.domain.listing import Listing
from flashd.domain.pace import LAG_BUCKETS_S
from flashd.domain.stock import StockLevel
from flashd.domain.terms import SellingTerms
from flashd.errors import StoreUnavailable
from tests.fakes.doors import OPERATE, READ, DoorHouse
from tests.web.conftest import Served

MAP = "/admin/v1/channels/shop/map"


def mapped(house: DoorHouse) -> dict[str, Entry]:
    return house.listings["main"].state.entries.get("shop", {})


def show(house: DoorHouse, row: Listing, channel: str = "shop") -> None:
    house.listings["main"].state.listings[channel, row.sku] = row


def lines(raw: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in raw.splitlines()]


# -------------------------------------------------------------------------------------------------------- channels


async def test_a_channel_tells_mode_map_flow_and_webhooks(admin: Served, house: DoorHouse) -> None:
    house.count("TEE", 5)
    house.count("CAP", 5)
    await admin.call("PUT", f"{MAP}/TEE", json={"ids": {"item": "1"}}, token=OPERATE)
    shop = (await admin.call("GET", "/admin/v1/channels/shop", token=READ)).json
    assert (shop["mode"], shop["mapped"], shop["unmapped"], shop["webhooks"]) == ("mirror", 1, 1, "alive")
    assert (shop["flow"]["dirty"], shop["polling"]["missed"], shop["since"]) == (3, 2, "")
    till = (await admin.call("GET", "/admin/v1/channels/till", token=READ)).json
    assert (till["flow"], till["unmapped"], till["webhooks"]) == (None, 0, "")
    assert (await admin.call("GET", "/admin/v1/channels/none", token=READ)).status == 404


async def test_pausing_a_channel_closes_its_gate_and_resuming_wakes_it(admin: Served, house: DoorHouse) -> None:
    path = "/admin/v1/channels/shop"
    paused = await admin.call("POST", f"{path}/pause", json={"reason": "stock-taking"}, token=OPERATE)
    assert (paused.status, paused.json["paused"], house.channel_gate.human) == (200, True, "stock-taking")
    assert house.gate.paused is False  # the backend's own
    resumed = await admin.call("POST", f"{path}/resume", token=OPERATE)
    assert (resumed.json["paused"], house.channel_gate.paused, house.woken) == (False, False, 1)
    assert [(one.what, one.subject, one.pool) for one in house.changes] == [
        ("channel.paused", "shop", "main"),
        ("channel.resumed", "shop", "main"),
    ]


async def test_a_channel_whose_api_nobody_calls_cannot_be_paused(admin: Served, house: DoorHouse) -> None:
    answer = await admin.call("POST", "/admin/v1/channels/till/pause", json={"reason": "x"}, token=OPERATE)
    assert answer.status == 409
    assert house.changes == []


# ------------------------------------------------------------------------------------------------------------- map


async def test_an_entry_is_set_shown_and_taken_out_by_hand(admin: Served, house: DoorHouse) -> None:
    house.count("TEE", 5)
    put = await admin.call("PUT", f"{MAP}/TEE", json={"ids": {"item": "1"}, "title": "Tee"}, token=OPERATE)
    assert (put.status, put.json["before"], put.json["warning"]) == (200, None, "")
    again = await admin.call("PUT", f"{MAP}/TEE", json={"ids": {"item": "1"}, "title": "Tee"}, token=OPERATE)
    assert again.json["after"] == put.json["after"]
    page = (await admin.call("GET", MAP, token=READ)).json
    (shown,) = page["entries"]
    assert (shown["sku"], shown["source"], shown["known"], shown["figure"], page["total"]) == (
        "TEE",
        "hand",
        True,
        None,
        1,
    )
    gone = await admin.call("DELETE", f"{MAP}/TEE", token=OPERATE)
    assert (gone.status, mapped(house)) == (200, {})
    assert (await admin.call("DELETE", f"{MAP}/TEE", token=OPERATE)).status == 404
    assert [one.what for one in house.changes] == ["channel.mapped", "channel.unmapped"]


async def test_mapping_what_the_pool_does_not_know_is_warned_of(admin: Served) -> None:
    answer = await admin.call("PUT", f"{MAP}/HAT", json={"ids": {"item": "1"}}, token=OPERATE)
    assert answer.json["warning"] == "pool main does not know HAT: it is shown as 0"
    assert (await admin.call("GET", MAP, token=READ)).json["gaps"]["orphaned"] == ["HAT"]


async def test_what_is_on_sale_under_its_ids_leaves_the_map_only_by_force(admin: Served, house: DoorHouse) -> None:
    await admin.call("PUT", f"{MAP}/TEE", json={"ids": {"item": "1"}}, token=OPERATE)
    show(house, Listing(sku="TEE", figure=4, exposed=4))
    gone = await admin.call("DELETE", f"{MAP}/TEE", token=OPERATE)
    assert (gone.status, gone.json["title"]) == (409, "conflict")
    assert "shop still sells 4" in gone.json["detail"]
    moved = await admin.call("PUT", f"{MAP}/TEE", json={"ids": {"item": "2"}}, token=OPERATE)
    assert (moved.status, mapped(house)["TEE"].ids) == (409, {"item": "1"})
    assert (await admin.call("PUT", f"{MAP}/TEE?force", json={"ids": {"item": "2"}}, token=OPERATE)).status == 200
    assert (await admin.call("DELETE", f"{MAP}/TEE?force", token=OPERATE)).status == 200
    assert mapped(house) == {}


async def test_a_map_is_paged_by_sku(admin: Served, house: DoorHouse) -> None:
    entries = [Entry(sku=f"S{number}", ids={"item": str(number)}) for number in range(5)]
    await house.listings["main"].place("shop", entries, by="test")
    first = (await admin.call("GET", f"{MAP}?limit=2", token=READ)).json
    assert ([one["sku"] for one in first["entries"]], first["next_offset"], first["total"]) == (["S0", "S1"], 2, 5)
    last = (await admin.call("GET", f"{MAP}?limit=2&offset=4", token=READ)).json
    assert ([one["sku"] for one in last["entries"]], last["next_offset"]) == (["S4"], None)
    named = (await admin.call("GET", f"{MAP}?sku=S3&sku=NONE", token=READ)).json
    assert [one["sku"] for one in named["entries"]] == ["S3"]
    assert (await admin.call("GET", f"{MAP}?sku=NONE", token=READ)).json["entries"] == []


# ---------------------------------------------------------------------------------------------------------- import


async def test_an_import_counts_first_then_maps_and_says_the_cut_over(admin: Served, house: DoorHouse) -> None:
    house.api.stock = {"TEE": 7, "HAT": 0}
    answer = await admin.call("POST", f"{MAP}/import?stock", token=OPERATE)
    assert answer.status == 200, answer.raw
    *progress, report = lines(answer.raw)
    assert [one["step"] for one in progress] == ["counting", "mapping"]
    assert (report["products"], [one["sku"] for one in report["plan"]["places"]]) == (2, ["TEE", "HAT"])
    assert (report["cut_over"]["ok"], report["cut_over"]["configured"]) == (False, "")
    assert {sku: level.on_hand for sku, level in house.main.stock.items()} == {"TEE": 7, "HAT": 0}
    assert sorted(mapped(house)) == ["HAT", "TEE"]
    assert [(one.what, one.after) for one in house.changes] == [("channel.map_imported", {"entries": 2, "counts": 2})]


@pytest.mark.parametrize("asks", [False, True])
async def test_only_who_does_not_ask_before_it_sells_is_told_that_it_may_oversell(
    admin: Served, house: DoorHouse, *, asks: bool
) -> None:
    house.api.traits = replace(house.api.traits, oversells=True)
    house.terms["shop"] = SellingTerms(mode="mirror", asks=asks)
    answer = await admin.call("POST", f"{MAP}/import?dry_run", token=OPERATE)
    assert lines(answer.raw)[-1]["oversells"] is not asks


async def test_counts_stand_before_anything_is_mapped(admin: Served, house: DoorHouse) -> None:
    house.api.stock = {"TEE": 7}
    house.listings["main"].failing.add("place")
    answer = await admin.call("POST", f"{MAP}/import?stock", token=OPERATE)
    assert lines(answer.raw)[-1]["title"] == "unavailable"
    assert house.main.stock["TEE"].on_hand == 7
    assert mapped(house) == {}
    house.listings["main"].failing.clear()
    again = lines((await admin.call("POST", f"{MAP}/import?stock", token=OPERATE)).raw)[-1]
    assert (again["plan"]["counts"], sorted(mapped(house))) == ([], ["TEE"])


async def test_a_dry_run_and_a_repeat_write_nothing(admin: Served, house: DoorHouse) -> None:
    house.api.stock = {"TEE": 7}
    dry = lines((await admin.call("POST", f"{MAP}/import?stock&dry_run", token=OPERATE)).raw)[-1]
    assert ([one["sku"] for one in dry["plan"]["counts"]], dry["dry_run"]) == (["TEE"], True)
    assert (house.main.stock, mapped(house), house.changes) == ({}, {}, [])
    await admin.call("POST", f"{MAP}/import?stock", token=OPERATE)
    house.changes.clear()
    house.since_ms = house.clock.now_ms() // 1000 * 1000
    again = lines((await admin.call("POST", f"{MAP}/import?stock", token=OPERATE)).raw)[-1]
    assert (again["plan"]["places"], again["plan"]["counts"], again["plan"]["unchanged"]) == ([], [], 1)
    assert again["cut_over"]["ok"] is True
    assert house.changes == []


async def test_stock_goes_to_the_channels_first_location(admin: Served, house: DoorHouse) -> None:
    house.terms["shop"] = SellingTerms(locations=("berlin", "main"))
    house.api.stock = {"TEE": 7}
    await admin.call("POST", f"{MAP}/import?stock", token=OPERATE)
    assert house.main.stock["TEE"].location == "berlin"


async def test_a_platform_that_does_not_answer_is_no_outage_of_the_store(admin: Served, house: DoorHouse) -> None:
    house.api.down = True
    answer = await admin.call("POST", f"{MAP}/import", token=OPERATE)
    assert (answer.status, answer.json["title"]) == (502, "channel_away")
    assert "does not answer" in answer.json["detail"]
    assert (await admin.call("POST", "/admin/v1/channels/till/map/import", token=OPERATE)).status == 409


@pytest.mark.parametrize("since", ["yesterday", "2026-11-01T00:00:00"])
async def test_a_cut_over_that_is_no_instant_is_refused_before_the_platform_is_asked(
    admin: Served, house: DoorHouse, since: str
) -> None:
    answer = await admin.call("POST", f"{MAP}/import?since={since}", token=OPERATE)
    assert (answer.status, house.api.calls) == (400, 0)


async def test_a_csv_fills_the_map_with_a_column_for_each_id(admin: Served, house: DoorHouse) -> None:
    body = "sku,product,variation,title\nTEE,17,4,Tee\nCAP,18,,\n"
    answer = await admin.call("POST", f"{MAP}/import", data=body, headers={"Content-Type": "text/csv"}, token=OPERATE)
    report = lines(answer.raw)[-1]
    assert (report["source"], report["cut_over"], report["plan"]["gaps"]["orphaned"]) == ("csv", None, ["CAP", "TEE"])
    assert mapped(house)["TEE"].ids == {"product": "17", "variation": "4"}
    assert (mapped(house)["CAP"].ids, mapped(house)["CAP"].source) == ({"product": "18"}, "csv")
    assert house.api.calls == 0


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("product\n17\n", "line 1: write sku"),
        ("sku,product\nTEE,17\nTEE,18\n", "line 3: TEE stands there twice"),
        ("sku,product\n,17\n", "line 2: sku is empty"),
        ("sku,product\nTEE,17,9\n", "line 2: it has another number"),
        ("sku,product\n", "this one has 0"),
    ],
)
async def test_a_csv_that_is_wrong_is_refused_as_a_whole(admin: Served, house: DoorHouse, body: str, said: str) -> None:
    answer = await admin.call("POST", f"{MAP}/import", data=body, headers={"Content-Type": "text/csv"}, token=OPERATE)
    assert answer.status == 400
    assert said in answer.json["detail"]
    assert mapped(house) == {}


# ------------------------------------------------------------------------------------------------------------ kits


async def test_a_kit_is_defined_shown_and_taken_apart(admin: Served, house: DoorHouse) -> None:
    house.count("TEE", 7)
    path = "/admin/v1/kits/SET?pool=main"
    put = await admin.call("PUT", path, json={"components": {"TEE": 2, "CAP": 1}}, token=OPERATE)
    assert (put.status, put.json["after"], put.json["unknown"]) == (200, {"TEE": 2, "CAP": 1}, ["CAP"])
    shown = (await admin.call("GET", "/admin/v1/kits?pool=main", token=READ)).json["kits"]
    assert [(kit["sku"], kit["available"], kit["unknown"]) for kit in shown] == [("SET", 0, ["CAP"])]
    house.count("CAP", 9)
    shown = (await admin.call("GET", "/admin/v1/kits?pool=main", token=READ)).json["kits"]
    assert shown[0]["available"] == 3
    assert (await admin.call("DELETE", path, token=OPERATE)).json["after"] == {}
    assert (await admin.call("DELETE", path, token=OPERATE)).status == 404
    assert [one.what for one in house.changes] == ["stock.kit_set", "stock.kit_set"]


async def test_a_kit_that_cannot_be_one_is_refused(admin: Served, house: DoorHouse) -> None:
    path = "/admin/v1/kits/SET?pool=main"
    bodies: list[dict[str, Any]] = [{"components": {}}, {"components": {"TEE": 0}}, {"components": {"TEE": -1}}, {}]
    for body in bodies:
        assert (await admin.call("PUT", path, json=body, token=OPERATE)).status == 422, body
    house.listings["main"].state.levels["SET", "main"] = StockLevel(sku="SET", on_hand=3)
    refused = await admin.call("PUT", path, json={"components": {"TEE": 1}}, token=OPERATE)
    assert (refused.status, house.changes) == (409, [])


async def test_kits_come_as_csv_all_or_none(admin: Served, house: DoorHouse) -> None:
    path, csv = "/admin/v1/kits/import?pool=main", {"Content-Type": "text/csv"}
    body = "kit,component,quantity\nSET,TEE,2\nSET,CAP,1\nDUO,TEE,2\n"
    dry = await admin.call("POST", f"{path}&dry_run", data=body, headers=csv, token=OPERATE)
    assert ([one["sku"] for one in dry.json["changes"]], await house.listings["main"].kits()) == (["SET", "DUO"], {})
    assert (await admin.call("POST", path, data=body, headers=csv, token=OPERATE)).status == 200
    again = await admin.call("POST", path, data=body, headers=csv, token=OPERATE)
    assert (again.json["changes"], again.json["unchanged"]) == ([], 2)
    wrong = await admin.call("POST", path, data="kit,component,quantity\nSET,TEE,0\n", headers=csv, token=OPERATE)
    assert (wrong.status, "line 2: quantity" in wrong.json["detail"]) == (400, True)


# -------------------------------------------------------------------------------------------------------- exposure


async def test_the_meter_tells_what_could_be_sold_twice(admin: Served, house: DoorHouse) -> None:
    house.outlets["till"] = house.outlets["shop"]
    house.main.stock["TEE"] = StockLevel(sku="TEE", on_hand=10, held=1, sold=2, safety=1, exposed=2)
    house.count("CAP", 5)
    show(house, Listing(sku="TEE", figure=6, exposed=6))
    show(house, Listing(sku="TEE", figure=2, exposed=2, backed=True), "till")
    page = (await admin.call("GET", "/admin/v1/stock/exposure?pool=main", token=READ)).json
    assert page["total"] == {"skus": 1, "backed": 2, "unbacked": 6, "twice": 2}
    tee, cap = page["skus"]
    assert (tee["sku"], tee["free"], tee["twice"], cap["channels"]) == ("TEE", 4, 2, {})
    assert tee["channels"]["shop"] == {"figure": 6, "exposed": 6, "backed": False, "state": "idle"}
    assert tee["channels"]["till"]["backed"] is True
    assert (await admin.call("GET", "/admin/v1/stock/exposure?pool=main&sku=NONE", token=READ)).status == 404


async def test_a_kit_on_show_counts_as_its_components(admin: Served, house: DoorHouse) -> None:
    house.count("TEE", 4)
    await house.listings["main"].put_kits([Kit("SET", (Component("TEE", 2),))], by="test")
    show(house, Listing(sku="SET", figure=3, exposed=3))
    page = (await admin.call("GET", "/admin/v1/stock/exposure?pool=main", token=READ)).json
    shown = {one["sku"]: one for one in page["skus"]}
    assert (shown["TEE"]["channels"]["shop"]["exposed"], shown["TEE"]["twice"]) == (6, 2)
    assert (shown["SET"]["kit"], shown["SET"]["channels"]["shop"]["figure"]) == (True, 3)


async def test_with_the_store_away_nothing_is_said_of_it(admin: Served, house: DoorHouse) -> None:
    house.main.error = StoreUnavailable("away")
    for path in ("/admin/v1/stock/exposure?pool=main", "/admin/v1/channels", MAP):
        assert (await admin.call("GET", path, token=READ)).status == 503, path


# ----------------------------------------------------------------------------------------------- metrics and status


def samples(text: str) -> dict[str, float]:
    rows = (line.rpartition(" ") for line in text.splitlines() if line.startswith("flashd_"))
    return {name: float(value) for name, _, value in rows}


async def test_metrics_tell_lag_budget_doubt_and_exposure_of_each_channel(admin: Served, house: DoorHouse) -> None:
    house.count("TEE", 4)
    show(house, Listing(sku="TEE", figure=6, exposed=6))
    buckets = (1, 0, 2, *(0 for _ in LAG_BUCKETS_S[3:]), 1)
    house.flow = replace(
        house.flow, calls=9, revisions_left=240, lag=Lag(count=4, sum_s=700.5, buckets=buckets), refused={"CAP": "no"}
    )
    found = samples((await admin.call("GET", "/metrics", token=READ)).raw.decode())
    lag = {name: value for name, value in found.items() if name.startswith("flashd_channel_push_lag_seconds")}
    assert lag['flashd_channel_push_lag_seconds_bucket{channel="shop",le="0.05"}'] == 1
    assert lag['flashd_channel_push_lag_seconds_bucket{channel="shop",le="0.25"}'] == 3
    assert lag['flashd_channel_push_lag_seconds_bucket{channel="shop",le="+Inf"}'] == 4
    assert lag['flashd_channel_push_lag_seconds_count{channel="shop"}'] == 4
    assert lag['flashd_channel_push_lag_seconds_sum{channel="shop"}'] == 700.5
    shop = '{channel="shop"}'
    told = {"dirty": 3, "in_doubt": 1, "calls_total": 9, "push_budget_remaining": 240, "refused": 1, "leading": 1}
    assert {name: found[f"flashd_channel_{name}{shop}"] for name in told} == told
    assert (found[f"flashd_channel_orders_missed_total{shop}"], found[f"flashd_exposure_units{shop}"]) == (2, 6)
    assert found['flashd_could_sell_twice_units{pool="main"}'] == 2


async def test_a_channel_without_a_budget_has_no_metric_of_one(admin: Served) -> None:
    assert "push_budget_remaining{" not in (await admin.call("GET", "/metrics", token=READ)).raw.decode()


async def test_the_meter_is_not_read_again_at_every_scrape(admin: Served, house: DoorHouse) -> None:
    for _ in range(3):
        await admin.call("GET", "/metrics", token=READ)
    assert house.main.asked.count("levels") == 1
    await house.clock.advance(11)
    await admin.call("GET", "/metrics", token=READ)
    assert house.main.asked.count("levels") == 2


async def test_the_status_tells_of_each_channel_what_only_the_leader_knows(admin: Served, house: DoorHouse) -> None:
    house.flow = replace(house.flow, lag=Lag(p99_s=0.4, count=3))
    (shop,) = (await admin.call("GET", "/admin/v1/status", token=READ)).json["channels"]
    assert (shop["lag_p99_s"], shop["dirty"], shop["in_doubt"], shop["webhooks"]) == (0.4, 3, 1, "alive")
    house.flow = replace(house.flow, leading=False)
    (shop,) = (await admin.call("GET", "/admin/v1/status", token=READ)).json["channels"]
    assert (shop["lag_p99_s"], shop["dirty"], shop["leading"]) == (None, None, False)
