from __future__ import annotations

from typing import Any

import pytest

from flashd.channels import shopify
from flashd.domain.order import Effect, Incoming, Line
from flashd.ports import Unreadable, Unrelated
from tests.channels.bodies import shopify_line, shopify_order, written

CONFIG = shopify.Config(kind="shopify")


def decode(config: shopify.Config = CONFIG, **changes: Any) -> Incoming | Unreadable | Unrelated:
    return shopify.decode_order(written(shopify_order(**changes)), "shop", config)


def accepted(config: shopify.Config = CONFIG, **changes: Any) -> Incoming:
    result = decode(config, **changes)
    assert isinstance(result, Incoming), result
    return result


def reason_of(**changes: Any) -> str:
    result = decode(**changes)
    assert isinstance(result, Unreadable), result
    return result.reason


def test_a_paid_order_is_understood_to_the_cent() -> None:
    incoming = accepted()
    order = incoming.order
    assert (incoming.effect, incoming.reason, incoming.strict) == (Effect.DELIVER, "", False)
    assert order.lines == (Line("LAMP-1", 2, unit_price=19900, discount=400, title="Lamp"),)
    assert (order.shipping, order.tax, order.total, order.currency) == (500, 0, 39900, "EUR")
    assert (order.channel, order.id, order.number, order.tags) == ("shop", "1001", "#1001", ("vip", "flash"))
    assert order.placed_ms == 1795762800000
    assert incoming.version == (1795762805000) * 10 + 4
    assert (order.customer.email, order.ship_to.street, order.ship_to.country, order.note) == (
        "ada@example.com",
        "Lane 1",
        "DE",
        "ring twice",
    )


@pytest.mark.parametrize(
    ("status", "effect"),
    [
        ("paid", Effect.DELIVER),
        ("partially_refunded", Effect.DELIVER),
        ("pending", Effect.WAIT),
        ("authorized", Effect.WAIT),
        ("partially_paid", Effect.WAIT),
        ("expired", Effect.WAIT),
        (None, Effect.WAIT),
        ("voided", Effect.CANCEL),
        ("refunded", Effect.CANCEL),
    ],
)
def test_each_financial_status_has_its_effect(status: str | None, effect: Effect) -> None:
    incoming = accepted(financial_status=status)
    assert (incoming.effect, incoming.reason) == (effect, "")


def test_a_channel_may_deliver_before_the_money_is_there() -> None:
    config = shopify.Config(kind="shopify", deliver_when=("authorized",))
    assert accepted(config, financial_status="authorized").effect is Effect.DELIVER
    assert accepted(config, financial_status="pending").effect is Effect.WAIT


def test_a_status_that_is_not_known_is_parked_and_not_lost() -> None:
    incoming = accepted(financial_status="bartered")
    assert incoming.effect is Effect.DELIVER
    assert incoming.reason == "financial_status is 'bartered', which this version does not know"


def test_a_cancelled_order_is_cancelled_whatever_was_paid() -> None:
    assert accepted(cancelled_at="2026-11-27T09:00:00+01:00").effect is Effect.CANCEL


def test_a_test_order_is_ignored_even_when_cancelled() -> None:
    incoming = accepted(test=True, cancelled_at="2026-11-27T09:00:00+01:00")
    assert (incoming.effect, incoming.reason) == (Effect.IGNORE, "a test order")


def test_in_one_second_a_cancellation_wins_over_a_refund_over_payment_over_waiting() -> None:
    refund: dict[str, Any] = {"refund_line_items": []}
    versions = [
        accepted(test=True).version,
        accepted(financial_status="pending").version,
        accepted().version,
        accepted(financial_status="partially_refunded", refunds=[refund]).version,
        accepted(financial_status="partially_refunded", refunds=[refund] * 2).version,
        accepted(financial_status="partially_refunded", refunds=[refund] * 40).version,
        accepted(financial_status="refunded", refunds=[refund] * 40).version,
    ]
    assert versions == sorted(set(versions))
    assert versions[-1] < accepted(updated_at="2026-11-27T08:00:06+01:00").version


def test_the_id_is_the_tail_of_the_gid_before_the_rounded_number() -> None:
    incoming = accepted(id=820982911946154500, admin_graphql_api_id="gid://shopify/Order/820982911946154508")
    assert incoming.order.id == "820982911946154508"


@pytest.mark.parametrize(
    "gid", [None, "", "https://www.example.com/", "gid://shopify/LineItem/7", "gid://shopify/Order/x"]
)
def test_without_a_gid_of_an_order_the_integer_id_counts(gid: str | None) -> None:
    assert accepted(admin_graphql_api_id=gid, id=9223372036854775807).order.id == "9223372036854775807"


@pytest.mark.parametrize("wrong", [1001.0, 8.2e17, -1, 0, "1001", None, True, 10**23, [], {}])
def test_an_id_that_is_no_integer_is_not_guessed(wrong: object) -> None:
    assert reason_of(admin_graphql_api_id=None, id=wrong).startswith("$.id is not an order id")


def test_what_was_edited_away_is_not_delivered() -> None:
    lines = [shopify_line(current_quantity=1), shopify_line(id=12, sku="GONE", current_quantity=0)]
    incoming = accepted(line_items=lines, current_total_price="202.00")
    assert incoming.order.lines == (Line("LAMP-1", 1, unit_price=19900, discount=200, title="Lamp"),)
    assert (incoming.order.total, incoming.reason) == (20200, "")


def test_without_current_quantities_the_refunds_tell_what_is_left() -> None:
    line = shopify_line(quantity=3, discount_allocations=[])
    del line["current_quantity"]
    refunds = [
        {"refund_line_items": [{"line_item_id": 11, "quantity": 1}]},
        {"refund_line_items": [{"line_item_id": 11, "quantity": 1}, {"line_item_id": 99, "quantity": 1}]},
    ]
    incoming = accepted(line_items=[line], refunds=refunds, current_total_price="204.00")
    assert [(found.sku, found.quantity) for found in incoming.order.lines] == [("LAMP-1", 1)]
    assert incoming.reason == ""


def test_an_order_of_which_nothing_is_left_is_cancelled() -> None:
    incoming = accepted(line_items=[shopify_line(current_quantity=0)], current_total_price="0.00", shipping_lines=[])
    assert (incoming.effect, incoming.reason, incoming.version % 10) == (Effect.CANCEL, "", 9)


def test_a_cancellation_still_says_what_was_ordered() -> None:
    incoming = accepted(
        cancelled_at="2026-11-27T09:00:00+01:00",
        line_items=[shopify_line(current_quantity=0)],
        current_total_price="0.00",
    )
    assert [(line.sku, line.quantity) for line in incoming.order.lines] == [("LAMP-1", 2)]
    assert incoming.order.total == incoming.order.sum_of_parts == 39900


def test_a_shared_discount_that_was_rounded_still_adds_up() -> None:
    line = shopify_line(quantity=3, current_quantity=2, discount_allocations=[{"amount": "1.00"}])
    incoming = accepted(line_items=[line], current_total_price="402.34")  # 398.00 + 5.00 - 0.66; two thirds are 0.67
    assert (incoming.order.sum_of_parts, incoming.reason) == (40234, "")


def test_a_total_that_does_not_add_up_parks_the_order_and_says_both_sums() -> None:
    incoming = accepted(current_total_price="400.00")
    assert incoming.effect is Effect.DELIVER
    assert incoming.reason == "total 400.00 does not add up: parts make 399.00"


def test_a_waiting_order_says_its_doubts_as_well() -> None:
    assert accepted(financial_status="pending", current_total_price="1.00").reason.startswith("total 1.00 does not")


def test_a_line_without_a_sku_is_its_variant() -> None:
    for sku in (None, ""):
        incoming = accepted(line_items=[shopify_line(sku=sku)])
        assert (incoming.order.lines[0].sku, incoming.reason) == ("variant:21", "")


def test_a_line_without_a_name_of_its_own_parks_the_order() -> None:
    tip = {"id": 13, "name": "Tip", "quantity": 1, "price": "5.00", "sku": None, "variant_id": None}
    incoming = accepted(line_items=[shopify_line(), tip], current_total_price="404.00")
    assert incoming.reason == "line 2 (Tip) has neither a SKU nor a variant"
    assert [line.sku for line in incoming.order.lines] == ["LAMP-1", "line:2"]


def test_what_needs_no_shipping_is_a_line_like_any_other() -> None:
    card = shopify_line(id=12, sku="GIFT-50", gift_card=True, requires_shipping=False, price="50.00", quantity=1)
    card |= {"current_quantity": 1, "discount_allocations": []}
    incoming = accepted(line_items=[shopify_line(), card], current_total_price="449.00")
    assert [line.sku for line in incoming.order.lines] == ["LAMP-1", "GIFT-50"]
    assert incoming.reason == ""


def test_goods_to_ship_and_no_address_parks_the_order() -> None:
    assert accepted(shipping_address=None).reason == "goods are to be shipped and there is no shipping_address"
    assert accepted(shipping_address=None, source_name="pos").reason == ""
    assert accepted(shopify.Config(kind="shopify", require_address=False), shipping_address=None).reason == ""


def test_an_order_without_lines_is_parked() -> None:
    assert accepted(line_items=[], current_total_price="5.00").reason == "there are no lines"


def test_taxes_on_top_duties_and_fees_are_part_of_the_total() -> None:
    incoming = accepted(
        taxes_included=False,
        current_total_tax="75.81",
        current_total_duties_set={"shop_money": {"amount": "10.00", "currency_code": "EUR"}},
        current_total_additional_fees_set={"shop_money": {"amount": "1.50"}},
        current_total_price="486.31",
    )
    assert (incoming.order.tax, incoming.order.shipping, incoming.reason) == (8581, 650, "")


@pytest.mark.parametrize(
    ("shipping", "cents"),
    [
        ({"price": "5.00"}, 500),
        ({"price": "5.00", "discounted_price": "3.00"}, 300),
        ({"price": "5.00", "discounted_price": "5.00", "discount_allocations": [{"amount": "5.00"}]}, 0),
        ({"price": "5.00", "current_discounted_price_set": {"shop_money": {"amount": "1.00"}}}, 100),
        ({"price": "5.00", "is_removed": True}, 0),
    ],
)
def test_shipping_is_what_it_costs_now(shipping: dict[str, Any], cents: int) -> None:
    total = f"{394 + cents // 100}.00"
    incoming = accepted(shipping_lines=[shipping], current_total_price=total)
    assert (incoming.order.shipping, incoming.reason) == (cents, "")


def test_without_a_current_total_the_total_counts() -> None:
    assert accepted(current_total_price=None, total_price="399.00").reason == ""


def test_yen_have_no_cents_and_dinars_have_a_thousand_fils() -> None:
    line = shopify_line(price="1000", discount_allocations=[], quantity=1, current_quantity=1)
    yen = accepted(currency="JPY", line_items=[line], shipping_lines=[], current_total_price="1000")
    assert (yen.order.lines[0].unit_price, yen.order.total, yen.reason) == (1000, 1000, "")
    line["price"] = "1.255"
    dinar = accepted(currency="KWD", line_items=[line], shipping_lines=[], current_total_price="1.255")
    assert (dinar.order.lines[0].unit_price, dinar.order.total, dinar.reason) == (1255, 1255, "")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"line_items": [shopify_line(quantity="2")]}, "Expected `int`, got `str` - at `$.line_items[0].quantity`"),
        ({"line_items": [shopify_line(quantity=2.0)]}, "Expected `int`, got `float` - at `$.line_items[0].quantity`"),
        ({"line_items": [shopify_line(quantity=-1)]}, "Expected `int` >= 0 - at `$.line_items[0].quantity`"),
        (
            {"line_items": [shopify_line(current_quantity=10**23)]},
            "Expected `int` <= 1000000000 - at `$.line_items[0].current_quantity`",
        ),
        (
            {"line_items": [shopify_line(price="1,50")]},
            '$.line_items[0].price is not an amount: want decimal text such as "199.00"',
        ),
        (
            {"line_items": [shopify_line(price="1.505")]},
            "$.line_items[0].price is finer than the minor unit of EUR, which has 2 decimals",
        ),
        ({"line_items": [shopify_line(price=1e3)]}, None),
        ({"line_items": [shopify_line(sku="A\x1fB")]}, "$.line_items[0].sku holds a control character"),
        ({"line_items": [shopify_line(sku="A" * 256)]}, "$.line_items[0].sku has 256 characters, want at most 255"),
        ({"line_items": [shopify_line()] * 1001}, "Expected `array` of length <= 1000 - at `$.line_items`"),
        ({"line_items": None}, "Expected `array`, got `null` - at `$.line_items`"),
        ({"created_at": "yesterday"}, "$.created_at is not a time: want ISO 8601 such as 2026-11-27T08:00:00Z"),
        (
            {"updated_at": "2026-11-27T08:00:05"},
            "$.updated_at has no offset: want ISO 8601 with one, such as 2026-11-27T08:00:00Z",
        ),
        ({"currency": "euro"}, "$.currency is not a currency: want three capital letters (ISO 4217) such as EUR"),
        ({"total_price": None, "current_total_price": None}, "$.total_price is missing"),
    ],
)
def test_what_cannot_be_understood_names_the_path_and_what_is_wanted(
    changes: dict[str, Any], reason: str | None
) -> None:
    found = decode(**changes)
    if reason is None:  # 1e3 is written 1000.0, which is exact
        assert isinstance(found, Incoming)
    else:
        assert found == Unreadable(reason)


def test_a_demand_about_a_customer_is_no_order() -> None:
    body = written({"shop_id": 1, "shop_domain": "a.example", "customer": {"id": 7}, "orders_to_redact": [1]})
    assert shopify.decode_order(body, "shop", CONFIG) == Unrelated("customer data request")


def test_something_never_seen_before_is_quarantined() -> None:
    assert shopify.decode_order(b'{"hello": 1}', "shop", CONFIG) == Unreadable(
        "Object missing required field `line_items`"
    )


def test_text_for_people_loses_control_and_direction_characters() -> None:
    incoming = accepted(note="a\u202eb\x07c\nd")
    assert incoming.order.note == "abc\nd"
