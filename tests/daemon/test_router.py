"""The way of an order is remembered, and is never another than its explanation says."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from flashd.config import Config
from flashd.config.shape import RouteConfig
from flashd.daemon.assembly import Router
from flashd.domain.order import Address, Line, Order

_ROUTE = st.builds(
    RouteConfig,
    backend=st.sampled_from(["b1", "b2", "b3"]),
    channel=st.sampled_from(["", "shop"]),
    sku=st.sampled_from(["", "A*", "A1"]),
    country=st.sampled_from(["", "DE"]),
    tag=st.sampled_from(["", "vip"]),
)
# Every kind of order that those routes can tell apart.
_ORDERS = [
    Order(
        channel=channel,
        id="1",
        placed_ms=0,
        currency="EUR",
        lines=tuple(Line(sku, 1) for sku in skus),
        total=0,
        ship_to=Address(country=country),
        tags=tags,
    )
    for channel, country, tags, skus in itertools.product(
        ["shop", "till"], ["DE", "FR"], [(), ("vip",), ("x", "vip")], [("A1",), ("A2",), ("A1", "B")]
    )
]


def _config(routes: list[RouteConfig]) -> Config:
    return Config(routes=(*routes, RouteConfig(backend="last")))


@given(routes=st.lists(_ROUTE, max_size=4), others=st.lists(_ROUTE, max_size=4))
def test_an_order_goes_where_the_explanation_says_also_when_it_is_asked_again_and_after_a_reload(
    routes: list[RouteConfig], others: list[RouteConfig]
) -> None:
    router = Router(_config(routes))
    for order in (*_ORDERS, *_ORDERS):
        assert router.backend_of(order) == router.explain(order).backend
    router.adopt(_config(others))
    for order in _ORDERS:
        assert router.backend_of(order) == router.explain(order).backend
