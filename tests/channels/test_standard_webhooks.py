from __future__ import annotations

from typing import Any

import pytest

from flashd.channels.standard_webhooks import decode_order
from flashd.domain.order import Effect, Incoming, Line
from flashd.ports import Unreadable, Unrelated
from tests.channels.bodies import webhook_order, written

CHANGED_MS = 1795762805000


def decode(**changes: Any) -> Incoming | Unreadable | Unrelated:
    return decode_order(written(webhook_order(**changes)), "hook")


def accepted(**changes: Any) -> Incoming:
    result = decode(**changes)
    assert isinstance(result, Incoming), result
    return result


def test_a_paid_order_is_understood() -> None:
    incoming = accepted(hold_id="H-1")
    order = incoming.order
    assert (incoming.effect, incoming.reason, incoming.hold_id, incoming.strict) == (Effect.DELIVER, "", "H-1", False)
    assert order.lines == (Line("LAMP-1", 2, unit_price=10000),)
    assert (order.channel, order.id, order.shipping, order.total) == ("hook", "A-1", 500, 20500)
    assert (order.placed_ms, incoming.version) == (1795762800000, CHANGED_MS * 10 + 4)
    assert (order.customer.email, order.ship_to.country) == ("ada@example.com", "DE")


@pytest.mark.parametrize(
    ("status", "effect", "rank"),
    [
        ("paid", Effect.DELIVER, 4),
        ("pending", Effect.WAIT, 1),
        ("cancelled", Effect.CANCEL, 9),
        ("test", Effect.IGNORE, 0),
    ],
)
def test_each_status_has_its_effect(status: str, effect: Effect, rank: int) -> None:
    incoming = accepted(status=status)
    assert (incoming.effect, incoming.version) == (effect, CHANGED_MS * 10 + rank)


def test_a_version_of_its_own_counts_as_it_is() -> None:
    body = webhook_order(version=3)
    del body["updated_at"]
    incoming = decode_order(written(body), "hook")
    assert isinstance(incoming, Incoming)
    assert incoming.version == 34


@pytest.mark.parametrize("changes", [{"version": 3}, {"updated_at": ""}])
def test_exactly_one_of_version_and_updated_at_is_wanted(changes: dict[str, Any]) -> None:
    assert decode(**changes) == Unreadable(
        "$: want either `version` (an integer that rises with every change) or `updated_at`"
    )


def test_two_versions_with_the_same_content_have_the_same_digest() -> None:
    body = webhook_order()
    del body["placed_at"]
    first, second = (
        decode_order(written({**body, "updated_at": f"2026-11-27T0{hour}:00:00Z"}), "hook") for hour in (7, 8)
    )
    assert isinstance(first, Incoming)
    assert isinstance(second, Incoming)
    assert first.order.digest == second.order.digest
    assert first.version < second.version


def test_an_order_that_does_not_say_when_counts_as_placed_when_it_came() -> None:
    body = webhook_order()
    del body["placed_at"]
    incoming = decode_order(written(body), "hook")
    assert isinstance(incoming, Incoming)
    assert incoming.order.placed_after(1_700_000_000_000)


def test_a_total_that_does_not_add_up_parks_the_order() -> None:
    assert accepted(total=20400).reason == "total 204.00 does not add up: parts make 205.00"
    assert accepted(total=20400, status="cancelled").reason == ""


def test_without_a_total_the_parts_make_it() -> None:
    assert (accepted(total=None).order.total, accepted(total=None).reason) == (20500, "")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"id": 1}, "Expected `str`, got `int` - at `$.id`"),
        ({"id": ""}, "Expected `str` of length >= 1 - at `$.id`"),
        ({"id": "a\nb"}, "$.id holds a control character"),
        ({"hold_id": "a\x1eb"}, "$.hold_id holds a control character"),
        ({"lines": []}, "Expected `array` of length >= 1 - at `$.lines`"),
        ({"lines": [{"sku": "A", "quantity": 0}]}, "Expected `int` >= 1 - at `$.lines[0].quantity`"),
        ({"lines": [{"sku": "A", "quantity": 10**10}]}, "Expected `int` <= 1000000000 - at `$.lines[0].quantity`"),
        ({"lines": [{"sku": "A", "quantity": 10**23}]}, "Expected `int` <= 1000000000 - at `$.lines[0].quantity`"),
        ({"lines": [{"sku": "A", "quantity": "2"}]}, "Expected `int`, got `str` - at `$.lines[0].quantity`"),
        (
            {"lines": [{"sku": "A", "quantity": 2, "unit_price": 9.99}]},
            "Expected `int`, got `float` - at `$.lines[0].unit_price`",
        ),
        (
            {"lines": [{"sku": "A", "quantity": 2, "price": 9}]},
            "Object contains unknown field `price` - at `$.lines[0]`",
        ),
        ({"status": "shipped"}, "Invalid enum value 'shipped' - at `$.status`"),
        ({"colour": "red"}, "Object contains unknown field `colour`"),
        ({"channel": "shop"}, "$.channel is another channel's: want 'hook', or leave it out"),
        ({"currency": "Euro"}, "$.currency is not a currency: want three capital letters (ISO 4217) such as EUR"),
        ({"currency": ""}, "$.currency is missing: want ISO 4217 such as EUR, as there are amounts"),
        ({"total": -1}, "Expected `int` >= 0 - at `$.total`"),
        ({"total": None, "discount": 10**6}, "$.discount is more than everything else costs"),
        (
            {"placed_at": "2026-11-27"},
            "$.placed_at has no offset: want ISO 8601 with one, such as 2026-11-27T08:00:00Z",
        ),
        ({"updated_at": "0001-01-01T00:00:00Z"}, "$.updated_at is out of range: want a year from 1971 to 2200"),
    ],
)
def test_flashds_own_schema_is_strict_and_says_where(changes: dict[str, Any], reason: str) -> None:
    assert decode(**changes) == Unreadable(reason)


def test_an_order_without_money_needs_no_currency() -> None:
    body = {"id": "A", "status": "paid", "version": 1, "lines": [{"sku": "A", "quantity": 1}]}
    incoming = decode_order(written(body), "hook")
    assert isinstance(incoming, Incoming)
    assert (incoming.order.currency, incoming.order.total) == ("XXX", 0)


@pytest.mark.parametrize(
    "body",
    [b'{"id": "A", "id": "B"}', b'{"lines": [{"sku": "A", "quantity": 1, "quantity": 100}]}'],
)
def test_a_key_that_stands_twice_is_refused(body: bytes) -> None:
    rest = written(webhook_order())[1:]
    result = decode_order(body[:-1] + b"," + rest, "hook")
    assert isinstance(result, Unreadable)
    assert "stands twice in one object; write it once" in result.reason
