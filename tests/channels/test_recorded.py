"""Every recorded payload gets a named result, and every order among them becomes an order with the right figures."""

from __future__ import annotations

from typing import Any

import pytest

from flashd.channels import shopify, woocommerce
from flashd.domain.order import Effect, Incoming
from flashd.ports import Unreadable, Unrelated
from tests.channels.bodies import RECORDED, recorded, written
from tests.recorded.substitute import substituted

SHOPIFY = shopify.Config(kind="shopify")
WOO = woocommerce.Config(kind="woocommerce")

SHOPIFY_BODIES = sorted(path.relative_to(RECORDED).as_posix() for path in RECORDED.glob("shopify-*/*.json"))
WOO_BODIES = sorted(path.relative_to(RECORDED).as_posix() for path in RECORDED.glob("woocommerce/*.json"))

# What each Shopify folder's file is, by its name; orders are told apart below.
SUBJECTS = {
    "app__uninstalled": "shop",
    "carts": "cart",
    "checkouts": "checkout",
    "draft_orders": "draft order",
    "fulfillment_orders": "fulfillment order",
    "fulfillments": "fulfillment",
    "inventory_items": "inventory item",
    "inventory_levels": "inventory level",
    "locations": "location",
    "order_transactions": "transaction",
    "orders__edited": "order edit",
    "products": "product",
    "refunds": "refund",
    "returns": "return",
    "shop": "shop",
}


def decode_shopify(body: Any) -> Incoming | Unreadable | Unrelated:
    return shopify.decode_order(body if isinstance(body, bytes) else written(body), "shop", SHOPIFY)


def orders_of(folder: str) -> list[str]:
    names = [name for name in SHOPIFY_BODIES if name.startswith(folder)]
    return [name for name in names if "orders_" in name and "draft" not in name and "fulfillment" not in name]


REAL_ORDERS = orders_of("shopify-real-anon/")
DOCUMENTED_ORDERS = [name for name in orders_of("shopify-docs/") if "edited" not in name]


def test_all_recordings_are_there() -> None:
    assert (len(SHOPIFY_BODIES), len(WOO_BODIES), len(REAL_ORDERS), len(DOCUMENTED_ORDERS)) == (63, 5, 6, 6)


@pytest.mark.parametrize("name", [n for n in SHOPIFY_BODIES if n not in {*REAL_ORDERS, *DOCUMENTED_ORDERS}])
def test_what_is_no_shopify_order_says_what_it_is(name: str) -> None:
    result = decode_shopify((RECORDED / name).read_bytes())
    if name == "shopify-py-fixtures/transactions.json":
        assert result == Unreadable("Expected `object`, got `array`")
        return
    assert isinstance(result, Unrelated)
    file = name.rpartition("/")[2].removesuffix(".json")
    if name.startswith("shopify-py-fixtures/"):
        assert result.subject == f"REST answer ({file})"
    else:
        file = file.removeprefix("2023-10_").removeprefix("2024-01_").removeprefix("2024-04_")
        longest = max((word for word in SUBJECTS if file.startswith(word)), key=len)
        assert result.subject == SUBJECTS[longest]


@pytest.mark.parametrize("name", DOCUMENTED_ORDERS)
def test_the_documented_order_is_a_test_order_under_the_tail_of_its_gid(name: str) -> None:
    result = decode_shopify((RECORDED / name).read_bytes())
    assert isinstance(result, Incoming)
    assert (result.effect, result.reason, result.order.id) == (Effect.IGNORE, "a test order", "820982911946154508")
    assert result.version == 1640995200_000 * 10  # 2021-12-31T19:00:00-05:00
    assert result.raw == (RECORDED / name).read_bytes()


def test_the_documented_order_adds_up_once_it_is_real() -> None:
    body = recorded("shopify-docs/orders__create.json")
    result = decode_shopify({**body, "test": False, "cancelled_at": None, "financial_status": "paid"})
    assert isinstance(result, Incoming)
    assert (result.effect, result.reason) == (Effect.DELIVER, "")
    assert [(line.sku, line.quantity, line.unit_price) for line in result.order.lines] == [
        ("SKU2006-001", 1, 8999),
        ("LENS-PROTECT-2YR", 1, 1999),
        ("CASE-LEATHER-PREM", 1, 2499),
        ("SKU2006-020", 1, 15999),
        ("SKU2006-035", 1, 11999),
    ]
    assert (result.order.shipping, result.order.total) == (0, 41495)
    assert (result.order.ship_to.city, result.order.ship_to.region) == ("Shippington", "KY")
    assert (result.order.customer.name, result.order.customer.email) == ("John Smith", "jon@example.com")
    assert result.order.tags == ("tag1", "tag2")


@pytest.mark.parametrize("name", REAL_ORDERS)
def test_a_masked_order_is_quarantined_with_its_reason(name: str) -> None:
    result = decode_shopify((RECORDED / name).read_bytes())
    assert result == Unreadable("$.currency is not a currency: want three capital letters (ISO 4217) such as EUR")


@pytest.mark.parametrize(("n", "name"), list(enumerate(REAL_ORDERS, 1)))
def test_a_real_order_with_substituted_figures_is_accepted(n: int, name: str) -> None:
    body = substituted(recorded(name), n)
    result = decode_shopify(body)
    assert isinstance(result, Incoming)
    assert (result.effect, result.reason) == (Effect.DELIVER, "")
    assert result.order.id == str(5_000_000_000_000 + n)
    assert [(line.sku, line.quantity, line.unit_price) for line in result.order.lines] == [
        (f"SKU-{n}-{i}", i, 1000 * i + 100 * n + 50) for i in range(1, len(body["line_items"]) + 1)
    ]
    assert result.version == 15463008000000 + 4  # the mask's 2019-01-01 in ms, times ten, and the rank of a paid order


def test_the_figures_of_three_real_orders_by_hand() -> None:
    totals = {}
    for n, name in enumerate(REAL_ORDERS, 1):
        result = decode_shopify(substituted(recorded(name), n))
        assert isinstance(result, Incoming)
        order = result.order
        totals[name.rpartition("/")[2]] = (
            sum(ln.discount for ln in order.lines),
            order.shipping,
            order.tax,
            order.total,
        )
    # n = 1, 11.50 + 2 * 21.50 + 3 * 31.50 - 2.00 + 4.90
    assert totals["2023-10_orders_1.json"] == (200, 490, 0, 15190)
    # n = 5, 15.50 - 1.00, nothing to ship
    assert totals["2024-01_orders_3.json"] == (100, 0, 0, 1450)
    # n = 6, 16.50 + 2 * 26.50 + 4.90 + 2.00 tax
    assert totals["2024-04_orders_1.json"] == (0, 490, 200, 7640)


def test_the_sample_order_of_the_python_library_does_not_add_up_and_is_not_lost() -> None:
    body = recorded("shopify-py-fixtures/order.json")["order"]
    result = decode_shopify(body)
    assert isinstance(result, Incoming)
    assert (result.effect, result.order.id) == (Effect.WAIT, "450789469")  # authorized, and without a GID
    assert result.reason == "total 409.94 does not add up: parts make 608.94"  # 3 * 199.00 + 11.94
    assert [line.sku for line in result.order.lines] == ["IPOD2008GREEN", "IPOD2008RED", "IPOD2008BLACK"]


def test_the_sample_order_of_the_python_library_is_accepted_after_the_substitution() -> None:
    result = decode_shopify(substituted(recorded("shopify-py-fixtures/order.json")["order"], 7))
    assert isinstance(result, Incoming)
    assert (result.effect, result.reason) == (Effect.DELIVER, "")
    assert result.order.total == 1750 + 2 * 2750 + 3 * 3750 + 490 + 200


def test_a_woocommerce_order_without_skus_is_told_apart_by_its_products() -> None:
    for name in ("woocommerce/order_1.json", "woocommerce/order_2.json"):
        result = woocommerce.decode_order((RECORDED / name).read_bytes(), "woo", WOO)
        assert isinstance(result, Incoming)
        assert (result.effect, result.reason) == (Effect.DELIVER, "")
        assert (result.order.id, result.version) == ("727", 1490210888000 * 10 + 4)
        assert [(line.sku, line.quantity, line.unit_price) for line in result.order.lines] == [
            ("product:93", 2, 300),
            ("Bar3", 1, 1200),
        ]
        order = result.order
        assert (order.shipping, order.tax, order.discount, order.total) == (1000, 135, 0, 2935)
        assert (order.ship_to.name, order.ship_to.region, order.placed_ms) == ("John Doe", "CA", 1490210882000)


@pytest.mark.parametrize(
    ("name", "subject"),
    [("order_refund_1", "refund"), ("product_1", "product"), ("webhook_resource_1", "webhook")],
)
def test_what_is_no_woocommerce_order_says_what_it_is(name: str, subject: str) -> None:
    body = (RECORDED / f"woocommerce/{name}.json").read_bytes()
    assert woocommerce.decode_order(body, "woo", WOO) == Unrelated(subject)
