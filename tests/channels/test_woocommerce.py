from __future__ import annotations

from typing import Any

import pytest

from flashd.channels import woocommerce
from flashd.domain.order import Effect, Incoming, Line
from flashd.ports import Unreadable, Unrelated
from tests.channels.bodies import woo_line, woo_order, written

CONFIG = woocommerce.Config(kind="woocommerce")


def decode(config: woocommerce.Config = CONFIG, **changes: Any) -> Incoming | Unreadable | Unrelated:
    return woocommerce.decode_order(written(woo_order(**changes)), "woo", config)


def accepted(config: woocommerce.Config = CONFIG, **changes: Any) -> Incoming:
    result = decode(config, **changes)
    assert isinstance(result, Incoming), result
    return result


def test_a_paid_order_is_understood_to_the_cent() -> None:
    incoming = accepted()
    order = incoming.order
    assert (incoming.effect, incoming.reason) == (Effect.DELIVER, "")
    assert order.lines == (Line("CUP", 2, unit_price=1000, discount=100, title="Cup"),)
    assert (order.shipping, order.tax, order.discount, order.total) == (400, 437, 0, 2737)
    assert (order.placed_ms, incoming.version) == (1795762800000, 1795762805000 * 10 + 4)
    assert (order.ship_to.street, order.ship_to.country, order.customer.name) == ("Lane 2", "DE", "Ada L")


@pytest.mark.parametrize(
    ("status", "effect"),
    [
        ("processing", Effect.DELIVER),
        ("completed", Effect.DELIVER),
        ("on-hold", Effect.WAIT),
        ("pending", Effect.WAIT),
        ("failed", Effect.CANCEL),
        ("cancelled", Effect.CANCEL),
        ("refunded", Effect.CANCEL),
        ("trash", Effect.CANCEL),
        ("checkout-draft", Effect.IGNORE),
        ("auto-draft", Effect.IGNORE),
    ],
)
def test_each_status_has_its_effect(status: str, effect: Effect) -> None:
    assert accepted(status=status).effect is effect


def test_a_channel_may_deliver_orders_that_are_on_hold() -> None:
    config = woocommerce.Config(kind="woocommerce", deliver_when=("on-hold",))
    assert accepted(config, status="on-hold").effect is Effect.DELIVER


def test_a_status_of_a_plug_in_is_parked() -> None:
    incoming = accepted(status="wc-picking")
    assert incoming.effect is Effect.DELIVER
    assert incoming.reason == "status is 'wc-picking', which this version does not know"


def test_in_one_second_a_cancellation_wins() -> None:
    versions = [accepted(status=status).version for status in ("pending", "processing", "cancelled")]
    assert versions == sorted(set(versions))


@pytest.mark.parametrize(
    ("found", "text"), [(727, "727"), ("727", "727"), ("01", "01"), ("1.0", "1.0"), ("A-7", "A-7")]
)
def test_an_id_is_a_number_or_text_and_kept_as_it_is(found: int | str, text: str) -> None:
    assert accepted(id=found).order.id == text


@pytest.mark.parametrize("wrong", [0, -1, 10**23, 7.0, None, ""])
def test_an_id_that_is_neither_is_not_guessed(wrong: object) -> None:
    result = decode(id=wrong)
    assert isinstance(result, Unreadable)
    assert "$.id" in result.reason


@pytest.mark.parametrize(
    ("line", "sku"),
    [
        ({"sku": "CUP"}, "CUP"),
        ({"sku": "", "variation_id": 0}, "product:93"),
        ({"sku": None, "variation_id": 0}, "product:93"),
        ({"sku": "", "variation_id": 23}, "variation:23"),
    ],
)
def test_a_line_without_a_sku_is_its_variation_or_its_product(line: dict[str, Any], sku: str) -> None:
    incoming = accepted(line_items=[woo_line(**line)])
    assert (incoming.order.lines[0].sku, incoming.reason) == (sku, "")


def test_a_line_of_a_deleted_product_parks_the_order() -> None:
    incoming = accepted(line_items=[woo_line(sku="", product_id=0)])
    assert incoming.reason == "line 1 (Cup) has neither a SKU nor a product"


def test_prices_may_be_numbers() -> None:
    incoming = accepted(line_items=[woo_line(subtotal=20, total=19.0)], total=27.37, total_tax=4.37, shipping_total=4)
    assert (incoming.order.lines[0].total, incoming.order.total, incoming.reason) == (1900, 2737, "")


def test_a_subtotal_that_cannot_be_divided_is_made_up_for_by_the_discount() -> None:
    incoming = accepted(line_items=[woo_line(quantity=3, subtotal="10.00", total="10.00")], total="18.37")
    assert incoming.order.lines[0] == Line("CUP", 3, unit_price=334, discount=2, title="Cup")
    assert (incoming.order.lines[0].total, incoming.reason) == (1000, "")


def test_amounts_that_were_rounded_one_by_one_still_add_up() -> None:
    incoming = accepted(prices_include_tax=True, total="27.38")
    assert (incoming.order.tax, incoming.order.sum_of_parts, incoming.reason) == (438, 2738, "")
    incoming = accepted(prices_include_tax=True, total="27.36")
    assert (incoming.order.discount, incoming.order.sum_of_parts, incoming.reason) == (1, 2736, "")


def test_more_than_rounding_parks_the_order() -> None:
    assert accepted(total="27.40").reason == "total 27.40 does not add up: parts make 27.37"


def test_fees_are_charged_like_shipping_and_a_negative_one_is_a_discount() -> None:
    incoming = accepted(fee_lines=[{"total": "2.00"}, {"total": "-5.00"}], total="24.37")
    assert (incoming.order.shipping, incoming.order.discount, incoming.reason) == (600, 500, "")


def test_a_partial_refund_is_for_a_human_since_its_lines_are_not_told() -> None:
    before = accepted()
    incoming = accepted(refunds=[{"id": 1, "reason": "", "total": "-10.00"}])
    assert incoming.reason == "10.00 was refunded, and WooCommerce does not say for which lines"
    assert (incoming.order.total, incoming.order.discount) == (1737, 1000)
    assert incoming.order.sum_of_parts == incoming.order.total
    assert incoming.order.digest != before.order.digest
    assert incoming.version > before.version


def test_an_order_that_was_never_modified_has_the_version_of_its_creation() -> None:
    assert accepted(date_modified_gmt=None).version == 1795762800000 * 10 + 4


def test_without_a_shipping_address_the_billing_address_counts() -> None:
    assert accepted(shipping={"first_name": "", "address_1": ""}).order.ship_to.street == "Lane 1"


def test_a_deletion_is_understood_and_cannot_be_told_from_any_other_deletion() -> None:
    assert woocommerce.decode_order(b'{"id": 727}', "woo", CONFIG) == Unrelated("deletion")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"line_items": [woo_line(quantity=1.5)]}, "Expected `int`, got `float` - at `$.line_items[0].quantity`"),
        ({"line_items": [woo_line(quantity=-1)]}, "Expected `int` >= 0 - at `$.line_items[0].quantity`"),
        ({"total": "abc"}, '$.total is not an amount: want decimal text such as "199.00"'),
        (
            {"date_created_gmt": None, "date_modified_gmt": None},
            "$.date_created_gmt is not a time: want ISO 8601 such as 2026-11-27T08:00:00Z",
        ),
        ({"status": 7}, "Expected `str`, got `int` - at `$.status`"),
    ],
)
def test_what_cannot_be_understood_names_the_path_and_what_is_wanted(changes: dict[str, Any], reason: str) -> None:
    assert decode(**changes) == Unreadable(reason)


def channel() -> woocommerce.WooCommerce:
    return woocommerce.WooCommerce("woo", CONFIG, (b"secret",))


@pytest.mark.parametrize(
    ("body", "ping"),
    [
        (b"webhook_id=7", True),
        (b"webhook_id=", False),
        (b"webhook_id=7&x=1", False),
        (b'{"webhook_id":7}', False),
        (b"", False),
    ],
)
def test_the_ping_is_known_by_its_body(body: bytes, ping: bool) -> None:  # noqa: FBT001  # a column
    assert channel().is_ping({"content-type": "application/x-www-form-urlencoded"}, body) is ping


def test_what_carries_a_signature_is_no_ping() -> None:
    assert not channel().is_ping({"x-wc-webhook-signature": "x"}, b"webhook_id=7")
