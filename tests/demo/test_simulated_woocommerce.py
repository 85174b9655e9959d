"""The simulated WooCommerce does what the vendor's does, where flashd looks."""

from __future__ import annotations

import http.client
import json
import urllib.error
from collections.abc import Iterator
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from flashd.channels import woocommerce
from flashd.channels.signature import sign
from flashd.domain.order import Effect, Incoming
from tests.channels.bodies import recorded
from tests.shops.receiver import Receiver
from tests.shops.woocommerce import SECRET, SimulatedWooCommerce

CONFIG = woocommerce.Config(kind="woocommerce")


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedWooCommerce]:
    shop = SimulatedWooCommerce(tmp_path_factory.mktemp("woo")).start()
    yield shop
    shop.close()


@pytest.fixture
def woo(process: SimulatedWooCommerce) -> SimulatedWooCommerce:
    process.clear()
    return process


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as listening:
        yield listening


def stock_of(woo: SimulatedWooCommerce, sku: str) -> Any:
    return woo.rest("GET", f"products?sku={sku}")[1][0]["stock_quantity"]


# ------------------------------------------------------------------------------------------------------------ recorded


def shape(value: Any) -> Any:
    """The type of a value, so that recorded and simulated documents can be compared."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def fits(recorded_shape: Any, simulated: Any, path: str = "$") -> list[str]:
    """Say what the recorded document has and the simulated one lacks or has in another type."""
    if isinstance(recorded_shape, dict) and isinstance(simulated, dict):
        missing = [f"{path}.{name} is missing" for name in recorded_shape if name not in simulated]
        return missing + [
            fault
            for name in recorded_shape
            if name in simulated
            for fault in fits(recorded_shape[name], simulated[name], f"{path}.{name}")
        ]
    if isinstance(recorded_shape, list) and isinstance(simulated, list):
        return fits(recorded_shape[0], simulated[0], f"{path}[0]") if recorded_shape and simulated else []
    both = {str(recorded_shape), str(simulated)}
    if len(both) == 1 or ("NoneType" in both and both <= {"NoneType", "str", "number"}):
        return []
    return [f"{path} is {simulated}, recorded {recorded_shape}"]


@pytest.mark.parametrize("name", ["order_1", "order_2"])
def test_an_order_has_every_member_of_the_recorded_ones_in_its_type(woo: SimulatedWooCommerce, name: str) -> None:
    woo.stock(LAMP=5)
    made = woo.buy("LAMP", 2)
    order = woo.rest("GET", f"orders/{made['id']}")[1]
    assert fits(shape(recorded(f"woocommerce/{name}.json")), shape(order)) == []
    assert order["line_items"][0]["sku"] == "LAMP"


def test_a_product_has_what_is_read_of_the_recorded_one(woo: SimulatedWooCommerce) -> None:
    ids = woo.stock(LAMP=5)
    product = woo.rest("GET", f"products/{ids['LAMP']}")[1]
    read = {
        "id", "sku", "type", "status", "manage_stock", "stock_quantity", "stock_status", "backorders", "parent_id",
        "backorders_allowed", "price", "regular_price", "sale_price", "on_sale", "variations", "date_on_sale_from",
        "date_on_sale_from_gmt", "date_on_sale_to", "date_on_sale_to_gmt", "date_modified_gmt",
    }  # fmt: skip
    documented = {name: member for name, member in recorded("woocommerce/product_1.json").items() if name in read}
    assert fits(shape(documented), shape(product)) == []
    assert set(documented) == read


def test_a_webhook_has_every_member_of_the_recorded_one(woo: SimulatedWooCommerce, receiver: Receiver) -> None:
    woo.subscribe(receiver.url)
    webhook = woo.rest("GET", "webhooks")[1][0]
    assert fits(shape(recorded("woocommerce/webhook_resource_1.json")), shape(webhook)) == []


def test_flashd_reads_its_orders_and_finds_nothing_wrong(woo: SimulatedWooCommerce) -> None:
    woo.stock(LAMP=5)
    for status, effect in (("pending", Effect.WAIT), ("processing", Effect.DELIVER), ("cancelled", Effect.CANCEL)):
        order = woo.rest("GET", f"orders/{woo.buy('LAMP', status=status)['id']}")[1]
        seen = woocommerce.decode_order(json.dumps(order).encode(), "woo", CONFIG)
        assert isinstance(seen, Incoming)
        assert (seen.effect, seen.reason, seen.order.total) == (effect, "", 1490)


# ------------------------------------------------------------------------------------------------------------- selling


def test_stock_falls_when_an_order_is_paid_and_comes_back_when_it_is_cancelled(woo: SimulatedWooCommerce) -> None:
    woo.stock(LAMP=5)
    order = woo.buy("LAMP", 2, status="pending")["id"]
    assert stock_of(woo, "LAMP") == 5
    woo.move(order, "processing")
    assert stock_of(woo, "LAMP") == 3
    woo.move(order, "completed")
    assert stock_of(woo, "LAMP") == 3
    woo.move(order, "cancelled")
    assert stock_of(woo, "LAMP") == 5
    assert [(move["by"], move["before"], move["after"]) for move in woo.call("GET", "moves/LAMP")] == [
        ("sale", 5, 3),
        ("restore", 3, 5),
    ]


@pytest.mark.parametrize("status", ["refunded", "failed", "trash"])
def test_a_refund_a_failure_and_the_bin_give_nothing_back(woo: SimulatedWooCommerce, status: str) -> None:
    woo.stock(LAMP=5)
    woo.move(woo.buy("LAMP", 2)["id"], status)
    assert stock_of(woo, "LAMP") == 3


def test_the_checkout_sells_no_more_than_the_figure_less_what_unpaid_orders_hold(woo: SimulatedWooCommerce) -> None:
    woo.stock(LAMP=3)
    woo.buy("LAMP", 2, status="pending")
    assert woo.buy("LAMP", 2) == {"short": ["LAMP"]}
    assert woo.buy("LAMP")["status"] == "processing"
    assert woo.books["refused"] == 1


def test_backorders_sell_below_zero(woo: SimulatedWooCommerce) -> None:
    woo.stock({"sku": "LAMP", "stock": 1, "backorders": "notify"})
    woo.buy("LAMP", 3)
    product = woo.rest("GET", "products?sku=LAMP")[1][0]
    assert (product["stock_quantity"], product["stock_status"], product["backorders_allowed"]) == (
        -2,
        "onbackorder",
        True,
    )


def test_a_written_figure_overwrites_what_was_sold_meanwhile(woo: SimulatedWooCommerce) -> None:
    ids = woo.stock(LAMP=5)
    woo.buy("LAMP", 3)
    woo.rest("PUT", f"products/{ids['LAMP']}", {"stock_quantity": 5})
    assert stock_of(woo, "LAMP") == 5


def test_a_variation_may_sell_from_its_parents_figure(woo: SimulatedWooCommerce) -> None:
    variations = [{"sku": "RED", "manage_stock": "parent"}, {"sku": "BLUE", "stock": 4}]
    ids = woo.stock({"sku": "SHIRT", "stock": 9, "variations": variations})
    woo.buy("RED", 2)
    shown = {one["sku"]: one for one in woo.rest("GET", f"products/{ids['SHIRT']}/variations")[1]}
    assert (shown["RED"]["manage_stock"], shown["RED"]["stock_quantity"]) == ("parent", 7)
    assert (shown["BLUE"]["manage_stock"], shown["BLUE"]["stock_quantity"]) == (True, 4)


# ------------------------------------------------------------------------------------------------------------ REST API


def test_a_batch_answers_200_with_an_error_in_the_place_of_what_failed(woo: SimulatedWooCommerce) -> None:
    ids = woo.stock({"sku": "SHIRT", "variations": [{"sku": "RED", "stock": 1}]}, LAMP=1)
    updates = [{"id": one, "manage_stock": True, "stock_quantity": 7} for one in (ids["LAMP"], 9999, ids["RED"])]
    status, body, _ = woo.rest("POST", "products/batch", {"update": updates})
    assert status == 200
    assert [item.get("stock_quantity", item.get("error", {}).get("code")) for item in body["update"]] == [
        7,
        "woocommerce_rest_product_invalid_id",
        "woocommerce_rest_invalid_product_id",
    ]
    variations = {"update": [{"id": ids["RED"], "stock_quantity": 8}, {"id": ids["LAMP"], "stock_quantity": 8}]}
    body = woo.rest("POST", f"products/{ids['SHIRT']}/variations/batch", variations)[1]
    assert [item.get("stock_quantity", item.get("error", {}).get("code")) for item in body["update"]] == [
        8,
        "woocommerce_rest_product_variation_invalid_id",
    ]


def test_a_batch_of_more_than_a_hundred_is_413(woo: SimulatedWooCommerce) -> None:
    status, body, _ = woo.rest("POST", "products/batch", {"update": [{"id": 1}] * 101})
    assert (status, body["code"]) == (413, "woocommerce_rest_request_entity_too_large")


def test_pages_tell_how_many_there_are(woo: SimulatedWooCommerce) -> None:
    woo.stock(*({"sku": f"A{n}", "stock": n} for n in range(5)))
    _, body, headers = woo.rest("GET", "products?per_page=2&page=3&orderby=id&order=asc")
    assert ([one["sku"] for one in body], headers["X-WP-Total"], headers["X-WP-TotalPages"]) == (["A4"], "5", "3")
    assert woo.rest("GET", "products?per_page=101")[1]["code"] == "rest_invalid_param"


def test_a_sku_finds_variations_and_an_id_does_not(woo: SimulatedWooCommerce) -> None:
    ids = woo.stock({"sku": "SHIRT", "variations": [{"sku": "RED", "stock": 1}]}, LAMP=1)
    assert {one["sku"] for one in woo.rest("GET", "products?sku=RED,LAMP")[1]} == {"RED", "LAMP"}
    assert [one["sku"] for one in woo.rest("GET", f"products?include={ids['RED']},{ids['LAMP']}")[1]] == ["LAMP"]


def test_modified_after_is_exclusive_and_wants_no_offset(woo: SimulatedWooCommerce) -> None:
    woo.stock(LAMP=9)
    order = woo.buy("LAMP")["id"]
    changed = woo.rest("GET", f"orders/{order}")[1]["date_modified_gmt"]
    query = "orders?dates_are_gmt=true&orderby=modified&order=asc&modified_after="
    assert woo.rest("GET", query + changed)[1] == []
    earlier = (datetime.fromisoformat(changed) - timedelta(seconds=1)).isoformat()
    assert [one["id"] for one in woo.rest("GET", query + earlier)[1]] == [order]
    assert woo.rest("GET", query + earlier + "Z")[1] == []  # read as local time, an hour ahead


def test_the_bin_is_not_any_status(woo: SimulatedWooCommerce) -> None:
    woo.stock(LAMP=9)
    order = woo.buy("LAMP")["id"]
    woo.move(order, "trash")
    assert woo.rest("GET", "orders")[1] == []
    assert [one["id"] for one in woo.rest("GET", "orders?status=trash")[1]] == [order]


@pytest.mark.parametrize("login", ["ck_other:cs_sim", "ck_sim:cs_other"])
def test_a_wrong_key_or_secret_is_401(woo: SimulatedWooCommerce, login: str) -> None:
    status, body, _ = woo.rest("GET", "orders", login=login)
    assert (status, body["code"]) == (401, "woocommerce_rest_authentication_error")


def test_a_key_that_may_only_read_is_401_when_it_writes(tmp_path: Path) -> None:
    shop = SimulatedWooCommerce(tmp_path, "--read-only").start()
    try:
        ids = shop.stock(LAMP=1)
        assert shop.rest("GET", "products")[0] == 200
        assert shop.rest("PUT", f"products/{ids['LAMP']}", {"stock_quantity": 9})[0] == 401
        assert stock_of(shop, "LAMP") == 1
    finally:
        shop.close()


def test_a_lost_reply_was_done_and_a_lost_request_was_not(woo: SimulatedWooCommerce) -> None:
    ids = woo.stock(LAMP=1)
    for knob, figure in (("lose_requests", 1), ("lose_replies", 9)):
        woo.turn(next={knob: 1})
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError, urllib.error.URLError)):
            woo.rest("PUT", f"products/{ids['LAMP']}", {"stock_quantity": 9})
        assert stock_of(woo, "LAMP") == figure


def test_a_host_with_a_limit_says_429_and_when_to_come_back(woo: SimulatedWooCommerce) -> None:
    woo.turn(api={"rate_limit": 2})
    answers = [woo.rest("GET", "orders") for _ in range(3)]
    assert [status for status, _, _ in answers] == [200, 200, 429]
    assert answers[2][2]["Retry-After"] == "1"
    assert woo.books["calls"]["429"] == 1


def test_the_date_header_is_the_shops_own_clock(woo: SimulatedWooCommerce) -> None:
    woo.turn(clock_offset_s=-3600)
    woo.stock(LAMP=1)
    order = woo.buy("LAMP")["id"]
    _, body, headers = woo.rest("GET", f"orders/{order}")
    shown = parsedate_to_datetime(headers["Date"]).strftime("%Y-%m-%dT%H:%M:%S")
    assert body["date_created_gmt"] <= shown < body["date_created"]


def test_a_knob_that_is_not_there_is_said(woo: SimulatedWooCommerce) -> None:
    with pytest.raises(AssertionError, match="unknown field `lost`"):
        woo.turn(api={"lost": 1})


# ------------------------------------------------------------------------------------------------------------ webhooks


def test_creating_a_webhook_pings_and_an_order_is_told_signed(woo: SimulatedWooCommerce, receiver: Receiver) -> None:
    ids = woo.subscribe(receiver.url)
    assert [message.body for message in receiver.messages] == [f"webhook_id={one}".encode() for one in ids]
    assert all("x-wc-webhook-signature" not in message.headers for message in receiver.messages)
    receiver.messages.clear()
    woo.stock(LAMP=5)
    order = woo.buy("LAMP")["id"]
    woo.settled()
    assert sorted(message.headers["x-wc-webhook-topic"] for message in receiver.messages) == [
        "order.created",
        "order.updated",
    ]
    for message in receiver.messages:
        assert message.headers["x-wc-webhook-signature"] == sign(SECRET.encode(), message.body)
        assert json.loads(message.body) == woo.rest("GET", f"orders/{order}")[1]


def test_two_orders_in_one_second_share_a_delivery_id(woo: SimulatedWooCommerce, receiver: Receiver) -> None:
    woo.subscribe(receiver.url)
    woo.stock(LAMP=50)
    woo.buy_all([{"lines": [{"sku": "LAMP", "quantity": 1}], "status": "pending"}] * 10)
    woo.settled()
    log = woo.log
    assert len({entry["order"] for entry in log}) == 10
    assert len({entry["delivery_id"] for entry in log}) < 10  # one a second, however many seconds they took


def test_the_seventh_failure_in_a_row_disables_a_webhook_and_nothing_is_repeated(
    woo: SimulatedWooCommerce, receiver: Receiver
) -> None:
    created, updated = woo.subscribe(receiver.url)
    receiver.messages.clear()
    receiver.status = 503
    woo.stock(LAMP=50)
    for failures in range(1, 8):
        assert woo.books["webhooks"][str(created)] == "active"
        woo.buy("LAMP", status="pending")
        assert woo.settled()["deliveries"]["failed"] == failures
    assert woo.books["webhooks"] == {str(created): "disabled", str(updated): "active"}
    assert len(receiver.messages) == 7
    woo.buy("LAMP", status="pending")
    woo.settled()
    assert len(receiver.messages) == 7
    woo.rest("PUT", f"webhooks/{created}", {"status": "active"})
    receiver.status = 200
    woo.buy("LAMP", status="pending")
    woo.settled()
    assert (len(receiver.messages), woo.books["webhooks"][str(created)]) == (8, "active")


def test_webhooks_that_are_dropped_doubled_or_switched_off(woo: SimulatedWooCommerce, receiver: Receiver) -> None:
    woo.subscribe(receiver.url)
    receiver.messages.clear()
    woo.stock(LAMP=500)
    woo.turn(webhooks={"drop": 0.3, "duplicate": 0.3, "delay_s": [0.0, 0.05]})
    woo.buy_all([{"lines": [{"sku": "LAMP", "quantity": 1}], "status": "pending"}] * 60)
    books = woo.settled()
    told = [json.loads(message.body)["id"] for message in receiver.messages]
    assert books["deliveries"]["dropped"] + len(set(told)) == 60
    assert 3 < books["deliveries"]["dropped"] < 40
    assert len(told) > len(set(told))
    assert told != sorted(told)
    woo.turn(webhooks={"drop": 0.0, "duplicate": 0.0, "delay_s": [0.0, 0.0]})
    log = woo.log
    woo.webhooks_off(60)
    woo.buy("LAMP")
    assert woo.rest("GET", "webhooks?status=disabled")[2]["X-WP-Total"] == "2"
    assert woo.log == log
