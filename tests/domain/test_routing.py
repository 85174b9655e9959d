from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from flashd.domain.order import Address, Line, Order
from flashd.domain.routing import Route, choose, router_of

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


FILTERS = st.sampled_from(["", "", "TEE-*", "TEE-[SM]", "*-S", "TEE-?", "CAP-1", "*"])
ROUTES = st.lists(
    st.builds(
        Route,
        backend=st.sampled_from(["a", "b", "c"]),
        channel=st.sampled_from(["", "", "shop", "till"]),
        sku=FILTERS,
        country=st.sampled_from(["", "", "DE", "AT"]),
        tag=st.sampled_from(["", "", "vip", "b2b"]),
    ),
    max_size=6,
)
LINES = st.lists(st.sampled_from(["TEE-S", "TEE-M", "CAP-1", "tee-s", "TEE-S\n"]), max_size=3)


@given(ROUTES, LINES)
def test_the_quick_way_finds_what_the_one_that_explains_finds(routes: list[Route], skus: list[str]) -> None:
    order = replace(ORDER, lines=tuple(Line(sku, 1) for sku in skus))
    assert router_of([*routes, REST])(order) == choose(order, [*routes, REST]).backend


def test_the_quick_way_refuses_what_no_route_matches() -> None:
    with pytest.raises(ValueError, match="no route matches"):
        router_of([Route(backend="a", channel="till")])(ORDER)
