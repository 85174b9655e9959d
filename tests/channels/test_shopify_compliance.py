"""What Shopify demands about customers: told by the body's shape, and only of the channel's own shop."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flashd.channels import shopify
from flashd.config import Secret, SecretText
from flashd.domain.order import Incoming
from flashd.domain.privacy import Demand, DemandKind, Person
from flashd.ports import Unreadable, Unrelated
from tests.channels.bodies import shopify_order, written

DOMAIN = "my-shop.myshopify.com"
REDACT: dict[str, Any] = {
    "shop_id": 954889,
    "shop_domain": DOMAIN,
    "customer": {"id": 191167, "email": "john@example.com", "phone": "555-625-1199"},
    "orders_to_redact": [299938, 280263, 220458],
}
REQUEST: dict[str, Any] = {
    "shop_id": 954889,
    "shop_domain": DOMAIN,
    "orders_requested": [299938],
    "customer": {"id": 191167, "email": "john@example.com", "phone": "555-625-1199"},
    "data_request": {"id": 9999},
}
SHOP: dict[str, Any] = {"shop_id": 954889, "shop_domain": DOMAIN}
SHOPS_OWN: dict[str, Any] = {
    "id": 548380009,
    "name": "Super Toys",
    "myshopify_domain": DOMAIN,
    "email": "a@example.com",
}


def decode(body: Any, *, topic: str = "", url: str = f"https://{DOMAIN}") -> Incoming | Unreadable | Unrelated | Demand:
    config = shopify.Config(kind="shopify", url=url, secrets=(Secret(env="S"),))
    channel = shopify.connect("shop", config, lambda _: SecretText("a secret of the test"))
    return channel.decode({"X-Shopify-Topic": topic}, body if isinstance(body, bytes) else json.dumps(body).encode())


def person(**more: Any) -> Person:
    return Person(channel="shop", email="john@example.com", phone="555-625-1199", customer_id="191167", **more)


def test_a_customer_is_to_be_forgotten() -> None:
    told = decode(REDACT)
    assert told == Demand(kind=DemandKind.ERASE, channel="shop", person=person(orders=("299938", "280263", "220458")))


def test_a_customer_wants_to_know() -> None:
    told = decode(REQUEST)
    assert told == Demand(kind=DemandKind.DISCLOSE, channel="shop", person=person(orders=("299938",)), reference="9999")


def test_a_customer_may_be_named_by_an_address_alone() -> None:
    told = decode(REDACT | {"customer": {"email": "john@example.com"}, "orders_to_redact": []})
    assert isinstance(told, Demand)
    assert told.person == Person(channel="shop", email="john@example.com")


def test_a_number_too_short_to_find_anybody_hides_nobody() -> None:
    told = decode(REDACT | {"customer": {"id": 7, "phone": "110"}})
    assert isinstance(told, Demand)
    assert (told.person.phone, told.person.customer_id, len(told.person.orders)) == ("", "7", 3)


def test_a_merchant_has_left() -> None:
    assert decode(SHOP) == Demand(
        kind=DemandKind.ERASE_SHOP, channel="shop", person=Person(channel="shop", everything=True)
    )


@pytest.mark.parametrize("body", [SHOP, REDACT, REQUEST])
def test_what_speaks_of_another_shop_erases_nothing_here(body: dict[str, Any]) -> None:
    told = decode(body | {"shop_domain": "other.myshopify.com"})
    assert isinstance(told, Unreadable)
    assert "other.myshopify.com" in told.reason


def test_without_its_address_a_channel_is_not_emptied() -> None:
    told = decode(SHOP, url="")
    assert isinstance(told, Unreadable)
    assert "flashd forget --channel shop --everything" in told.reason
    assert isinstance(decode(REDACT, url=""), Demand), "a person is named: that can be met"


@pytest.mark.parametrize(
    "body",
    [
        REDACT | {"locations_to_redact": [1]},
        {name: value for name, value in REDACT.items() if name != "orders_to_redact"},
        REDACT | {"orders_requested": [1]},
        REDACT | {"customer": {}, "orders_to_redact": []},
        REDACT | {"customer": "john@example.com"},
        REDACT | {"orders_to_redact": "all"},
        REDACT | {"shop_domain": 7},
    ],
)
def test_a_demand_that_is_not_understood_waits_for_a_human(body: dict[str, Any]) -> None:
    told = decode(body)
    assert isinstance(told, Unreadable)
    assert "john@example.com" not in told.reason


def test_an_app_that_was_taken_away_is_told_by_the_topic_and_the_shops_own_body() -> None:
    assert decode(SHOPS_OWN, topic="app/uninstalled") == Demand(kind=DemandKind.UNINSTALL, channel="shop")
    assert decode(SHOPS_OWN, topic="shop/update") == Unrelated("shop")
    assert isinstance(
        decode(SHOPS_OWN | {"myshopify_domain": "other.myshopify.com"}, topic="app/uninstalled"), Unreadable
    )


def test_no_topic_makes_a_demand_of_an_order() -> None:
    told = decode(written(shopify_order()), topic="app/uninstalled")
    assert isinstance(told, Incoming)
