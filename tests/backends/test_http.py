from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from flashd.backends.exchange import Answer
from flashd.backends.http import Config, connect, decode_answer, decode_found, encode_order
from flashd.config import Secret
from flashd.domain.delivery import Absent, Declined, Delivered, Doubtful, Found, Mismatch, NoLookup, Unknown
from flashd.domain.order import Kind
from flashd.errors import ConfigError
from tests.backends.fault_server import FaultServer
from tests.backends.orders import a_delivery, an_order, reveal
from tests.backends.stand_ins import HttpStandIn

DELIVERY = a_delivery(an_order("1001"))
OURS = {"id": "SO-7", "key": DELIVERY.key}
CONFIG = Config(kind="http", url="http://erp/orders")


def answer(content: object, status: int = 200) -> Answer:
    return Answer(status=status, body=msgspec.json.encode(content), content_type="application/json")


@pytest.fixture
async def server() -> AsyncIterator[FaultServer]:
    async with FaultServer(HttpStandIn()).running() as server:
        yield server


def make(server: FaultServer, **more: Any) -> Any:
    return connect("b", msgspec.convert({"kind": "http", "url": f"{server.url}/orders", **more}, Config), reveal)


def test_the_body_has_every_member_and_money_in_minor_units() -> None:
    body = encode_order(DELIVERY)
    assert body["key"] == DELIVERY.key
    assert body["placed_at"] == "2026-09-21T14:13:20Z"
    assert body["lines"][1] == {
        "sku": "SKU-02",
        "quantity": 1,
        "unit_price": 499,
        "discount": 99,
        "total": 400,
        "title": "",
    }
    assert body["total"] == sum(line["total"] for line in body["lines"]) + 495 + 133 - 200
    assert body["ship_to"]["country"] == "GB"
    assert body["ship_to"]["company"] == ""


@pytest.mark.parametrize(
    ("content", "status", "outcome"),
    [
        (OURS, 200, Delivered),
        (OURS, 201, Delivered),
        ({"id": 7, "order_id": "1001"}, 200, Delivered),
        ({"id": 7, "order_id": 1001, "channel": "shop"}, 200, Delivered),
        ({"id": 7, "order_id": "1001", "channel": "other"}, 200, Doubtful),
        ({"id": 7, "order_id": "1002"}, 200, Doubtful),
        (OURS | {"order_id": "1002"}, 200, Doubtful),
        ({"id": 7, "key": "fd-other"}, 200, Doubtful),
        ({"id": 7}, 200, Doubtful),
        ({"key": DELIVERY.key}, 200, Doubtful),
        ({"id": True, "key": DELIVERY.key}, 200, Doubtful),
        (OURS | {"error": "but"}, 200, Doubtful),
        (OURS | {"total": 1}, 200, Doubtful),
        (OURS | {"lines": [{"sku": "SKU-01", "quantity": 2}]}, 200, Doubtful),
        (OURS, 409, Delivered),
        (OURS | {"error": "known already"}, 409, Delivered),
        (OURS | {"total": 1}, 409, Doubtful),
        ({"id": 7, "key": "fd-other", "error": "taken"}, 409, Declined),
        ({"id": 7, "key": "fd-other"}, 409, Declined),
        ({"title": "A request is outstanding for this Idempotency-Key"}, 409, Doubtful),
        ({"error": "unknown SKU"}, 422, Declined),
        ({"detail": "unknown SKU"}, 400, Declined),
        ({"hint": "?"}, 400, Doubtful),
        ({"error": "boom"}, 500, Doubtful),
        (OURS, 500, Doubtful),
        (OURS, 302, Doubtful),
    ],
)
def test_an_answer_counts_only_if_it_proves_whose_it_is(content: object, status: int, outcome: type) -> None:
    assert isinstance(decode_answer(answer(content, status), DELIVERY, CONFIG), outcome)


@pytest.mark.parametrize(
    ("content", "status", "finding"),
    [
        (OURS, 200, Found),
        ([OURS], 200, Found),
        ([OURS | {"total": DELIVERY.order.total}], 200, Found),
        ([], 200, Absent),
        ([OURS | {"total": 1}], 200, Mismatch),
        ([OURS, OURS], 200, Mismatch),
        ([{"key": DELIVERY.key}], 200, Mismatch),
        ([{"id": 1, "key": "fd-other"}], 200, Unknown),
        (["x"], 200, Unknown),
        ({"error": "no"}, 200, Unknown),
        ({"error": "no"}, 404, Unknown),
        (None, 200, Unknown),
    ],
)
def test_a_look_up_is_believed_only_under_its_key(content: object, status: int, finding: type) -> None:
    assert isinstance(decode_found(answer(content, status), DELIVERY, CONFIG), finding)


def test_404_means_absent_only_where_the_configuration_says_so_and_the_backend_speaks() -> None:
    strict = msgspec.structs.replace(CONFIG, missing="404")
    assert decode_found(answer({"error": "not found"}, 404), DELIVERY, strict) == Absent()
    html = Answer(status=404, body=b"<html>", content_type="text/html")
    assert isinstance(decode_found(html, DELIVERY, strict), Unknown)
    assert isinstance(decode_found(answer([], 200), DELIVERY, strict), Unknown)


async def test_key_and_login_go_out_as_configured(server: FaultServer) -> None:
    secret = Secret(env="s3")
    backends = [
        make(server, secret=secret),
        make(server, secret=secret, auth="basic", username="me", key_header="Idempotency-Key"),
    ]
    for backend in backends:
        assert isinstance(await backend.deliver(DELIVERY), Delivered)
        await backend.close()
    assert [request.headers["authorization"] for request in server.seen] == [
        "Bearer s3",
        "Basic " + b64encode(b"me:s3").decode(),
    ]
    assert {request.headers["idempotency-key"] for request in server.seen} == {DELIVERY.key}


async def test_the_key_in_the_look_up_is_percent_encoded(server: FaultServer) -> None:
    odd = msgspec.structs.replace(DELIVERY, key="a b&key=*/ä")
    backend = make(server, lookup_url=f"{server.url}/orders?key={{key}}&x=1")
    assert await backend.find(odd) == Absent()
    assert server.seen[0].target == "/orders?key=a%20b%26key%3D%2A%2F%C3%A4&x=1"
    await backend.close()


async def test_a_cancellation_goes_to_its_own_address_and_has_no_look_up(server: FaultServer) -> None:
    backend = make(
        server, cancel_url=f"{server.url}/orders/{{id}}/cancel", lookup_url=f"{server.url}/orders?key={{key}}"
    )
    assert Kind.CANCEL in backend.traits.kinds
    cancel = a_delivery(DELIVERY.order, kind=Kind.CANCEL, backend_ref="SO-7")
    assert await backend.deliver(cancel) == Delivered(backend_ref="SO-7")
    assert server.seen[0].json == {
        "key": cancel.key,
        "kind": "cancel",
        "channel": "shop",
        "order_id": "1001",
        "id": "SO-7",
    }
    assert await backend.find(cancel) == NoLookup()
    await backend.close()


def test_without_a_key_header_sending_twice_is_not_safe() -> None:
    backend = connect("b", msgspec.structs.replace(CONFIG, key_header=""), reveal)
    assert not backend.traits.idempotent
    sure = connect("b", msgspec.structs.replace(CONFIG, key_header="", idempotent=True), reveal)
    assert sure.traits.idempotent


def test_a_look_up_without_a_place_for_the_key_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"backends\.b\.lookup_url"):
        connect("b", msgspec.structs.replace(CONFIG, lookup_url="https://erp/orders"), reveal)
