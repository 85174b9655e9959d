from __future__ import annotations

import pytest
from msgspec.structs import replace

from flashd.domain.order import Address, Line, Order
from flashd.domain.routing import Route, choose

ORDER = Order(
    channel="shop",
    id="1",
    placed_ms=0,
    currency="EUR",
    lines=(Line("TEE-S", 1), Line("TEE-M", 2)),
    total=0,
    ship_to=Address(country="DE"),
    tags=("vip",),
)
REST = Route(backend="rest")


@pytest.mark.parametrize(
    ("route", "matches"),
    [
        (Route(backend="a", channel="shop"), True),
        (Route(backend="a", channel="till"), False),
        (Route(backend="a", sku="TEE-*"), True),
        (Route(backend="a", sku="TEE-S"), False),
        (Route(backend="a", country="DE"), True),
        (Route(backend="a", country="AT"), False),
        (Route(backend="a", tag="vip"), True),
        (Route(backend="a", tag="b2b"), False),
        (Route(backend="a", channel="shop", country="AT"), False),
    ],
)
def test_a_route_matches_only_if_every_filter_does(route: Route, *, matches: bool) -> None:
    assert choose(ORDER, [route, REST]).backend == ("a" if matches else "rest")


def test_a_filter_does_not_match_what_an_order_does_not_say() -> None:
    silent = replace(ORDER, tags=(), ship_to=Address())
    for route in (Route(backend="a", tag="vip"), Route(backend="a", country="DE")):
        assert choose(silent, [route, REST]).backend == "rest"


def test_the_first_match_wins_and_says_why_the_others_did_not() -> None:
    routes = [Route(backend="a", channel="till"), Route(backend="b", tag="vip"), REST]
    choice = choose(ORDER, routes)
    assert choice.backend == "b"
    assert choice.because == ("route 1 -> a: no, channel is shop, not till", "route 2 -> b: matches")


def test_without_a_catch_all_an_order_that_matches_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no route matches"):
        choose(ORDER, [Route(backend="a", channel="till")])
