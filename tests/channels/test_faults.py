"""The fault list of the promises, for bodies: nothing raises, and the traps of JSON are not fallen into."""

from __future__ import annotations

import json
import time
import unicodedata
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flashd.channels import native, reading, shopify, standard_webhooks, woocommerce
from flashd.channels.reading import Misread
from flashd.domain.identity import customer_hash
from flashd.domain.order import Incoming
from flashd.ports import Unreadable, Unrelated
from tests.channels.bodies import (
    own_order,
    shopify_line,
    shopify_order,
    webhook_order,
    woo_line,
    woo_order,
    written,
)

Decode = Callable[[bytes], Incoming | Unreadable | Unrelated]

TILL = native.Native("till", hash_customer=customer_hash(b""))
DECODERS: dict[str, tuple[Decode, dict[str, Any]]] = {
    "shopify": (lambda body: shopify.decode_order(body, "shop", shopify.Config(kind="shopify")), shopify_order()),
    "woocommerce": (
        lambda body: woocommerce.decode_order(body, "woo", woocommerce.Config(kind="woocommerce")),
        woo_order(),
    ),
    "standard_webhooks": (lambda body: standard_webhooks.decode_order(body, "hook"), webhook_order()),
    "native": (lambda body: TILL.decode({}, body), own_order()),
}
PLATFORMS = ["shopify", "woocommerce"]


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize("kind", DECODERS)
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "$: there is nothing: the body is empty"),
        (b"null", "got `null`"),
        (b"[]", "got `array`"),
        (b'"{}"', "got `str`"),
        (b"webhook_id=7", "JSON is malformed"),
        (b'{"id": NaN}', "JSON is malformed"),
        (b'{"id": "1"', "Input data was truncated"),
        (b"\xef\xbb\xbf{}", "JSON is malformed"),
        (b"\x1f\x8b\x08\x00 gzip", "$: is not UTF-8 at byte 1"),
        (b'{"note": "\xff"}', "$: is not UTF-8 at byte 10"),
        (b'{"note": "\xed\xa0\x80"}', "$: is not UTF-8 at byte 10"),
        (nested(100_000), "got `array`"),
    ],
)
def test_a_body_that_is_no_order_has_its_reason(kind: str, body: bytes, reason: str) -> None:
    result = DECODERS[kind][0](body)
    assert isinstance(result, Unreadable), result
    assert reason in result.reason


@pytest.mark.parametrize("kind", PLATFORMS)
def test_unknown_fields_of_a_platform_are_fine(kind: str) -> None:
    decode, body = DECODERS[kind]
    known, more = decode(written(body)), decode(written({"brand_new": {"a": [1e400, None]}, **body}))
    assert isinstance(known, Incoming)
    assert isinstance(more, Unreadable)  # json writes Infinity, which is no JSON
    more = decode(written({"brand_new": {"a": [1, None]}, **body}))
    assert isinstance(more, Incoming)
    assert known.order == more.order


@pytest.mark.parametrize("kind", DECODERS)
def test_what_is_skipped_may_be_nested_deeply(kind: str) -> None:
    decode, body = DECODERS[kind]
    result = decode(written(body)[:-1] + b', "brand_new": ' + nested(200) + b"}")
    assert isinstance(result, Incoming) if kind in PLATFORMS else isinstance(result, Unreadable)


@pytest.mark.parametrize("kind", PLATFORMS)
@pytest.mark.parametrize("end", ["]", "", "}"])
def test_what_no_decoder_could_follow_is_unreadable(kind: str, end: str) -> None:
    decode, body = DECODERS[kind]
    result = decode(written(body)[:-1] + b', "brand_new": ' + b"[" * 100_000 + end.encode() * 100_000 + b"}")
    assert isinstance(result, Unreadable)
    assert result.reason == "$: is nested too deeply"


@pytest.mark.parametrize("kind", PLATFORMS)
def test_of_a_key_that_stands_twice_a_platform_means_the_last(kind: str) -> None:
    decode, body = DECODERS[kind]
    result = decode(b'{"currency": "USD",' + written(body)[1:])
    assert isinstance(result, Incoming)
    assert result.order.currency == "EUR"


def lines_of(kind: str, *skus: str) -> dict[str, Any]:
    """Return an order of each platform with one unit of each SKU, at 1.00."""
    if kind == "shopify":
        lines = [shopify_line(sku=sku, quantity=1, current_quantity=1, price="1.00") for sku in skus]
        return shopify_order(line_items=lines)
    if kind == "woocommerce":
        return woo_order(line_items=[woo_line(sku=sku, quantity=1) for sku in skus])
    order = webhook_order if kind == "standard_webhooks" else own_order
    return order(lines=[{"sku": sku, "quantity": 1, "unit_price": 100} for sku in skus])


@pytest.mark.parametrize("kind", DECODERS)
def test_skus_that_look_alike_are_kept_apart_and_unchanged(kind: str) -> None:
    composed, decomposed = unicodedata.normalize("NFC", "Käse"), unicodedata.normalize("NFD", "Käse")
    skus = [
        "a",
        "A",
        "a ",
        " a",
        "{a}",
        "a:b",
        "a|b",
        composed,
        decomposed,
        "1",
        "01",
        "1.0",
        "\u200b",
        "😀",
        "\x7f",
        "a" * 255,
    ]
    result = DECODERS[kind][0](written(lines_of(kind, *skus)))
    assert isinstance(result, Incoming), result
    assert [line.sku for line in result.order.lines] == skus


@pytest.mark.parametrize("kind", DECODERS)
@pytest.mark.parametrize("mark", [chr(code) for code in range(0x20)])
def test_a_control_character_never_gets_into_a_sku(kind: str, mark: str) -> None:
    result = DECODERS[kind][0](written(lines_of(kind, f"A{mark}B")))
    assert isinstance(result, Unreadable), result
    assert result.reason.endswith(".sku holds a control character")


@pytest.mark.parametrize("kind", ["woocommerce", "standard_webhooks", "native"])
def test_order_ids_that_look_alike_are_three_orders(kind: str) -> None:
    decode, body = DECODERS[kind]
    found = [decode(written({**body, "id": text})) for text in ("1", "01", "1.0")]
    assert [result.order.id for result in found if isinstance(result, Incoming)] == ["1", "01", "1.0"]


@pytest.mark.parametrize("kind", DECODERS)
@pytest.mark.parametrize("quantity", [-1, -(10**23), 10**23, 1_000_000_001, 1.5, 1e3, "2", None, True, [], {}])
def test_a_quantity_beyond_reason_is_not_taken(kind: str, quantity: object) -> None:
    body = lines_of(kind, "A")
    body["line_items" if kind in PLATFORMS else "lines"][0]["quantity"] = quantity
    result = DECODERS[kind][0](written(body))
    assert isinstance(result, Unreadable), result
    assert "[0].quantity" in result.reason


@pytest.mark.parametrize("kind", PLATFORMS)
def test_a_line_of_nothing_drops(kind: str) -> None:
    body = lines_of(kind, "A", "B")
    body["line_items"][0] |= {"quantity": 0, "current_quantity": 0}
    result = DECODERS[kind][0](written(body))
    assert isinstance(result, Incoming)
    assert [line.sku for line in result.order.lines] == ["B"]


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_at_all_raise(body: bytes) -> None:
    for decode, _ in DECODERS.values():
        assert isinstance(decode(body), Unreadable | Unrelated)


ODDITIES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**24), 10**24),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(["", "\x00", "\x1f", "199.00", "1e9", "-0", "2026-11-27T08:00:00Z", "9999-12-31T23:59:59-23:59"]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


def paths(value: object, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inside = list(value.items())
    elif isinstance(value, list):
        inside = list(enumerate(value))
    return [at, *(path for key, part in inside for path in paths(part, (*at, key)))] if at or inside else [at]


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_any_field_may_be_anything_and_what_is_taken_is_sound(data: st.DataObject) -> None:
    decode, order = DECODERS[data.draw(st.sampled_from(sorted(DECODERS)))]
    body = json.loads(json.dumps(order))
    for path in data.draw(st.lists(st.sampled_from(paths(order)[1:]), min_size=1, max_size=3)):
        part = body
        try:
            for key in path[:-1]:
                part = part[key]
            part[path[-1]] = data.draw(ODDITIES)
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took that part away
    result = decode(json.dumps(body).encode())
    if isinstance(result, Incoming):
        assert 0 <= result.version < 10**15
        assert result.order.id
        assert min(result.order.id) >= "\x20"
        assert all(line.quantity > 0 and min(line.sku) >= "\x20" for line in result.order.lines)
        assert result.reason or result.order.sum_of_parts == result.order.total or result.effect in {"cancel", "ignore"}
        msgspec.json.decode(msgspec.json.encode(result.order), type=type(result.order))


def test_a_misread_body_never_shows_what_is_in_it() -> None:
    for decode, order in DECODERS.values():
        body = {**order, "email": "ada@example.com", "note": "secret wish", "currency": 7}
        result = decode(written(body))
        assert isinstance(result, Unreadable)
        assert "ada" not in result.reason
        assert "wish" not in result.reason


def test_a_body_of_four_megabytes_of_brackets_is_answered_quickly() -> None:
    for hostile in (b"[" * 4_000_000, b"[]" * 2_000_000, b'"' * 4_000_000, b'{"a":[' * 600_000):
        began_s = time.thread_time()
        with pytest.raises(Misread):
            reading.read(hostile, msgspec.json.Decoder(dict[str, int]))
        assert time.thread_time() - began_s < 5
