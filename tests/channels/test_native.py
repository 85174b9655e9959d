from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from flashd.channels import native
from flashd.config import Secret, SecretText, Token
from flashd.domain.identity import customer_hash
from flashd.domain.order import Effect, Incoming
from flashd.domain.reservation import HoldRequest
from flashd.errors import ConfigError, Forbidden, Refused
from flashd.ports import NativeChannel, Unreadable
from tests.channels.bodies import own_order, written

TILL: NativeChannel = native.Native("till", hash_customer=customer_hash(b"key"))


def hold_body(**changes: Any) -> dict[str, Any]:
    return {"id": "H-1", "lines": [{"sku": "LAMP-1", "quantity": 2}], "customer": "ada@example.com", **changes}


def hold(**changes: Any) -> HoldRequest:
    return TILL.decode_hold(written(hold_body(**changes)))


def refusal_of_hold(**changes: Any) -> str:
    with pytest.raises(Refused) as caught:
        hold(**changes)
    return caught.value.detail


def test_a_hold_is_understood() -> None:
    request = TILL.decode_hold(written(hold_body(ttl_ms=60_000, location="berlin")))
    assert [(line.sku, line.quantity) for line in request.lines] == [("LAMP-1", 2)]
    assert (request.id, request.ttl_ms, request.channel, request.location) == ("H-1", 60_000, "till", "berlin")


def test_a_hold_without_a_location_is_pinned_nowhere_and_another_location_is_another_wish() -> None:
    free, berlin, bern = (hold(**{"location": at} if at else {}) for at in ("", "berlin", "bern"))
    assert free.location == ""
    assert len({free.digest, berlin.digest, bern.digest}) == 3


def test_a_hold_that_does_not_say_how_long_lives_as_long_as_the_pool_says() -> None:
    body = written(hold_body())
    assert TILL.decode_hold(body, default_ttl_ms=42_000).ttl_ms == 42_000
    assert TILL.decode_hold(body, default_ttl_ms=42_000).digest == TILL.decode_hold(body, default_ttl_ms=43_000).digest


@pytest.mark.parametrize("ttl_ms", [0, -1, 999, 1_800_001, 10**23])
def test_a_hold_is_neither_too_short_nor_too_long(ttl_ms: int) -> None:
    assert "$.ttl_ms" in refusal_of_hold(ttl_ms=ttl_ms)


def test_the_bounds_of_a_hold_are_said() -> None:
    assert refusal_of_hold(ttl_ms=1_800_001) == "$.ttl_ms is out of range: want 1000 to 1800000 (ms)"
    assert hold(ttl_ms=1_800_000).ttl_ms == 1_800_000
    assert hold(ttl_ms=1_000).ttl_ms == 1_000


def test_the_customer_is_known_only_by_a_keyed_hash() -> None:
    request = hold()
    assert "ada" not in repr(request)
    assert len(request.customer) == 32
    assert request.customer == hold(customer=" ADA@example.com ").customer
    assert request.customer == hold(customer={"email": "ada@example.com", "name": "Ada"}).customer
    assert request.customer != hold(customer="bob@example.com").customer
    other = native.Native("till", hash_customer=customer_hash(b"other key"))
    assert request.customer != other.decode_hold(written(hold_body())).customer


def test_a_telephone_number_is_an_identity_where_there_is_no_address() -> None:
    assert hold(customer={"phone": "+49 1"}).customer == hold(customer="+49 1").customer
    assert hold(customer={"name": "Ada"}).customer == ""


def test_without_a_key_nobody_is_known() -> None:
    channel = native.connect("till", native.Config(kind="native"), lambda _: SecretText("unused"))
    assert channel.decode_hold(written(hold_body())).customer == ""


def test_the_same_wish_has_the_same_digest_however_it_is_written() -> None:
    plain = hold_body(ttl_ms=60_000, lines=[{"sku": "A", "quantity": 1}, {"sku": "B", "quantity": 2}])
    turned = dict(reversed(plain.items())) | {"lines": [{"quantity": 2, "sku": "B"}, {"quantity": 1, "sku": "A"}]}
    summed = plain | {"lines": [{"sku": "B", "quantity": 1}, {"sku": "A", "quantity": 1}, {"sku": "B", "quantity": 1}]}
    bodies = [
        json.dumps(plain),
        json.dumps(turned, indent=4),
        json.dumps(summed),
        json.dumps({**plain, "channel": "till"}),
    ]
    assert len({TILL.decode_hold(body.encode()).digest for body in bodies}) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"lines": [{"sku": "LAMP-1", "quantity": 3}]},
        {"lines": [{"sku": "lamp-1", "quantity": 2}]},
        {"lines": [{"sku": "LAMP-1 ", "quantity": 2}]},
        {"ttl_ms": 60_000},
        {"customer": "bob@example.com"},
        {"customer": ""},
    ],
)
def test_another_wish_has_another_digest(changes: dict[str, Any]) -> None:
    assert hold(**changes).digest != hold().digest


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"lines": []}, "Expected `array` of length >= 1 - at `$.lines`"),
        ({"lines": [{"sku": "A", "quantity": 0}]}, "Expected `int` >= 1 - at `$.lines[0].quantity`"),
        ({"lines": [{"sku": "A", "quantity": True}]}, "Expected `int`, got `bool` - at `$.lines[0].quantity`"),
        ({"lines": [{"sku": "A\x1fB", "quantity": 1}]}, "$.lines[0].sku holds a control character"),
        ({"id": "\x00"}, "$.id holds a control character"),
        ({"until": 5}, "Object contains unknown field `until`"),
        ({"eve@example.com": 5}, "Object contains unknown field of 15 characters"),
        (
            {"lines": [{"sku": "A", "quantity": 1, "Eve Smith - at `$.x`": 1}]},
            "Object contains unknown field of 20 characters - at `$.lines[0]`",
        ),
    ],
)
def test_an_unclear_wish_is_refused_with_its_path(changes: dict[str, Any], detail: str) -> None:
    assert refusal_of_hold(**changes) == detail


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b'{"id": "a", "id": "b"}', b"[" * 9999, b'{"id":NaN}'])
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(Refused):
        TILL.decode_hold(body)
    with pytest.raises(Refused):
        TILL.decode_order(body)


def test_an_order_is_paid_and_strict() -> None:
    incoming = TILL.decode_order(written(own_order(hold_id="H-1", channel="till")))
    assert (incoming.effect, incoming.strict, incoming.hold_id) == (Effect.DELIVER, True, "H-1")
    assert (incoming.order.channel, incoming.order.id, incoming.order.total) == ("till", "A-1", 20500)
    assert incoming.raw == written(own_order(hold_id="H-1", channel="till"))


def test_the_same_order_has_the_same_digest_however_it_is_written() -> None:
    body = own_order()
    turned = json.dumps(dict(reversed(body.items())), indent=1).encode()
    assert TILL.decode_order(written(body)).order.digest == TILL.decode_order(turned).order.digest
    assert TILL.decode_order(written(own_order(note="x"))).order.digest != TILL.decode_order(turned).order.digest


def test_an_order_is_told_when_it_is_paid_and_not_before() -> None:
    with pytest.raises(Refused, match=r"Invalid enum value 'pending' - at `\$.status`"):
        TILL.decode_order(written(own_order(status="pending")))
    assert TILL.decode_order(written(own_order(status="test"))).effect is Effect.IGNORE


def test_a_paid_order_whose_total_is_wrong_is_parked_and_not_refused() -> None:
    incoming = TILL.decode_order(written(own_order(total=1)))
    assert (incoming.effect, incoming.reason) == (Effect.DELIVER, "total 0.01 does not add up: parts make 205.00")


def test_an_order_that_does_not_say_when_is_the_same_order_whatever_the_cut_over() -> None:
    body = own_order()
    del body["placed_at"]
    moments = (None, datetime(2020, 1, 1, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC))
    channels = [
        native.connect("till", native.Config(kind="native", since=since), lambda _: SecretText("")) for since in moments
    ]
    first, *others = (channel.decode_order(written(body)) for channel in channels)
    assert first.order.placed_ms == 0
    assert [other.order.digest for other in others] == [first.order.digest] * 2


def test_a_token_speaks_for_its_own_channel_only() -> None:
    for decode, body in ((TILL.decode_hold, hold_body(channel="shop")), (TILL.decode_order, own_order(channel="shop"))):
        with pytest.raises(Forbidden, match=r"\$.channel is another channel's: this token speaks for 'till'"):
            decode(written(body))
    assert isinstance(TILL.decode({}, written(own_order(channel="shop"))), Unreadable)


def test_an_id_has_at_most_255_bytes_and_a_sku_255_characters() -> None:
    assert refusal_of_hold(id="ä" * 128) == "$.id has 256 bytes, want at most 255"
    assert hold(lines=[{"sku": "ä" * 255, "quantity": 1}]).lines[0].sku == "ä" * 255


def test_there_are_no_webhooks() -> None:
    assert not TILL.verify({"authorization": "Bearer x"}, b"{}", now_s=0)
    assert isinstance(TILL.decode({}, written(own_order())), Incoming)
    assert isinstance(TILL.decode({}, b"{}"), Unreadable)


def test_a_test_call_carries_the_first_token() -> None:
    config = native.Config(kind="native", tokens=(Token(name="till", secret=Secret(env="T")),))
    channel = native.connect("till", config, lambda secret: SecretText(f"token of {secret.env}"))
    assert channel.sign(b"{}", now_s=0, delivery_id="d")["authorization"] == "Bearer token of T"
    assert "authorization" not in TILL.sign(b"{}", now_s=0, delivery_id="d")


def test_webhook_secrets_and_an_empty_key_do_not_start() -> None:
    with pytest.raises(ConfigError, match=r"\[channels.till\] secrets"):
        native.connect("till", native.Config(kind="native", secrets=(Secret(env="S"),)), lambda _: SecretText("s"))
    with pytest.raises(ConfigError, match=r"\[channels.till\] customer_key: is empty"):
        native.connect("till", native.Config(kind="native", customer_key=Secret(env="S")), lambda _: SecretText(""))
