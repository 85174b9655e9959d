"""Who is meant by what names them, and what is left of an order."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flashd.domain.alarm import End, Raise, heard
from flashd.domain.alert import AlertKind, Severity
from flashd.domain.event import Event
from flashd.domain.order import Address, Customer, Line, Order
from flashd.domain.privacy import Person, erased

ORDER = Order(
    channel="shop",
    id="1001",
    number="#1001",
    placed_ms=7,
    currency="EUR",
    lines=(Line("TEE", 2, unit_price=500, discount=10, title="For Ada"),),
    shipping=400,
    total=1390,
    customer=Customer(name="Ada", email="Ada@Example.com", phone="+49 170 1234567"),
    ship_to=Address(name="Ada", street="Lane 1", country="DE", phone="0170/1234567"),
    tags=("vip-ada",),
    note="ring twice",
)


def test_what_is_left_counts_and_names_nobody() -> None:
    left = erased(ORDER)
    assert left == Order(
        channel="shop",
        id="1001",
        number="#1001",
        placed_ms=7,
        currency="EUR",
        lines=(Line("TEE", 2, unit_price=500, discount=10),),
        shipping=400,
        total=1390,
        ship_to=Address(country="DE"),
    )
    assert erased(left) == left
    assert left.sum_of_parts == ORDER.sum_of_parts


@pytest.mark.parametrize(
    ("person", "theirs"),
    [
        (Person(email=" ada@example.COM "), True),
        (Person(email="da@example.com"), False),
        (Person(phone="0170 1234567"), True),
        (Person(phone="0049-170-1234567"), True),
        (Person(phone="170 1234568"), False),
        (Person(phone="0171 234567"), False),
        (Person(channel="shop", orders=("1001",)), True),
        (Person(channel="shop", orders=("100",)), False),
        (Person(channel="till", email="ada@example.com"), False),
        (Person(channel="shop", everything=True), True),
        (Person(channel="till", everything=True), False),
    ],
)
def test_an_order_is_theirs_by_any_of_their_names(person: Person, *, theirs: bool) -> None:
    assert person.owns(ORDER) is theirs


def test_an_order_without_customer_data_is_nobodys() -> None:
    bare = erased(ORDER)
    for person in (Person(email="ada@example.com"), Person(phone="0170 1234567"), Person(customer_id="7")):
        assert not person.owns(bare)


@pytest.mark.parametrize(
    ("body", "there"),
    [
        ({"customer": {"id": 77}}, True),
        ({"order": {"customer": {"id": "gid://shopify/Customer/77"}}}, True),
        ({"customer": {"admin_graphql_api_id": "gid://shopify/Customer/77"}}, True),
        ({"customer_id": 77}, True),
        ({"id": 77, "customer": {"id": 78}}, False),
        ({"line_items": [{"id": 77, "quantity": 77}]}, False),
        ({"billing": {"email": "ADA@example.com"}}, True),
        ({"billing": {"phone": "(0170) 123-4567"}}, True),
        ({"note": "call ada@example.com"}, False),
        ({"id": 1001}, True),
        ({"line_items": [{"id": 1001}]}, False),
    ],
)
def test_a_body_speaks_of_them_by_its_members(body: dict[str, Any], *, there: bool) -> None:
    person = Person(channel="shop", orders=("1001",), email="ada@example.com", phone="+491701234567", customer_id="77")
    assert person.is_in("shop", json.dumps(body).encode()) is there
    assert person.is_in("till", json.dumps(body).encode()) is False


@pytest.mark.parametrize("body", [b'{"email": "ada@example.com"', b"\xff Ada@Example.com", b'{"a": 1, ada@example.com'])
def test_a_body_that_is_no_json_is_searched_as_text(body: bytes) -> None:
    assert Person(email="ada@example.com").is_in("shop", body)
    assert not Person(email="otto@example.com").is_in("shop", body)


@pytest.mark.parametrize(
    ("person", "body"),
    [
        (Person(email="ada+shop@example.com"), rb'{"email":"ada\u002bshop\u0040example.com"}'),
        (Person(email="\u00e4da@example.com"), '{"email":"\u00c4DA@example.com"}'.encode()),
        (Person(phone="+49 170 1234567"), b'{"phone":"0170 / 123 45 67"}'),
        (Person(phone="0170 1234567"), b'{"phone":"+49 (170) 1234-567"}'),
        (Person(customer_id="gid://shopify/Customer/77"), b'{"customer":{"id":77}}'),
    ],
)
def test_the_quick_look_leaves_nobody_out(person: Person, body: bytes) -> None:
    assert person.may_be_in(body)
    assert person.is_in("shop", body)


def test_the_quick_look_spares_most() -> None:
    person = Person(email="ada@example.com", phone="+491701234567", customer_id="77")
    assert not person.may_be_in(b'{"email":"otto@example.com","phone":"030 1","customer":{"id":8}}')


def test_a_body_as_deep_as_it_likes_breaks_nothing() -> None:
    deep = b'{"a":' * 2000 + b'"ada@example.com"' + b"}" * 2000
    assert Person(email="ada@example.com").is_in("shop", deep)


@pytest.mark.parametrize(
    ("person", "flaw"),
    [
        (Person(), "name the customer"),
        (Person(orders=("1",)), "name the channel"),
        (Person(everything=True), "one channel only"),
        (Person(email="ada"), "no e-mail address"),
        (Person(phone="123"), "at least 8 digits"),
        (Person(phone="letters"), "at least 8 digits"),
        (Person(channel="shop", orders=("1",)), ""),
        (Person(customer_id="7"), ""),
        (Person(customer_id="0"), "guests"),
        (Person(customer_id="gid://shopify/Customer/"), "nobody's"),
    ],
)
def test_a_person_whom_nobody_can_find_is_said(person: Person, flaw: str) -> None:
    assert flaw in person.flaw
    assert bool(flaw) == bool(person.flaw)


def event(kind: str, **data: Any) -> Event:
    return Event(id="1-1", at_ms=1, pool="main", kind=kind, data={"channel": "shop", "demand_id": "d1", **data})


@pytest.mark.parametrize(
    ("demand", "kind", "severity"),
    [
        ("disclose", AlertKind.DATA_REQUESTED, Severity.WARNING),
        ("uninstall", AlertKind.UNINSTALLED, Severity.CRITICAL),
    ],
)
def test_a_demand_that_wants_a_human_is_an_alert_until_it_is_met(
    demand: str, kind: AlertKind, severity: Severity
) -> None:
    [raised] = heard(event("channel.demanded", demand=demand), home=True)
    assert isinstance(raised, Raise)
    assert (raised.alert.kind, raised.alert.severity) == (kind, severity)
    ended = heard(event("channel.demand_met", demand=demand, by="ann", reason="done"), home=True)
    assert raised.alert.key in {one.key for one in ended if isinstance(one, End)}


def test_what_flashd_erases_by_itself_wakes_nobody() -> None:
    assert heard(event("channel.demanded", demand="erase"), home=True) == []
