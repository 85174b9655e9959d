from __future__ import annotations

import pytest

from flashd.domain.identity import buyer_of, customer_hash, identity_of
from flashd.domain.order import Address, Customer, Order

HASH = customer_hash(b"a key of the pool")


def _order(**who: str) -> Order:
    return Order(channel="shop", id="1", placed_ms=1, currency="EUR", lines=(), total=0, customer=Customer(**who))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("Ann@Example.com ", ""), ("ann@example.com", "+49 151 1")),
        (("", "+49 (151) 23-4"), ("", "0049151234")),
        (("", " 0151 234"), ("", "0151234")),
    ],
)
def test_one_customer_is_one_identity_however_it_is_written(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert identity_of(*one) == identity_of(*other) != ""


@pytest.mark.parametrize(("one", "other"), [("a+1@example.com", "a@example.com"), ("a@example.com", "a@example.org")])
def test_two_addresses_are_two_customers(one: str, other: str) -> None:
    assert HASH(identity_of(one)) != HASH(identity_of(other))


def test_a_customer_is_the_same_over_all_channels_and_never_readable() -> None:
    hashed = buyer_of(_order(email="ann@example.com"), HASH)
    assert hashed == HASH(identity_of("ANN@example.com"))
    assert "ann" not in hashed
    assert hashed != buyer_of(_order(email="ann@example.com"), customer_hash(b"another key"))


def test_nobody_is_known_without_a_key_or_without_an_address() -> None:
    assert buyer_of(_order(email="ann@example.com"), customer_hash(b"")) == ""
    assert buyer_of(_order(name="Ann"), HASH) == ""


def test_the_address_that_the_goods_go_to_may_carry_the_telephone_number() -> None:
    order = Order(
        channel="s", id="1", placed_ms=1, currency="EUR", lines=(), total=0, ship_to=Address(phone="0151 234")
    )
    assert buyer_of(order, HASH) == HASH("0151234")
