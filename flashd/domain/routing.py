"""Which backend gets an order: rules in order, the first match wins, and the answer explains itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase, translate

import msgspec

from flashd.domain.order import Order


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A rule: every filter that is given must match; one without filters matches all."""

    backend: str
    channel: str = ""
    sku: str = ""  # a shell pattern; matches if every line's SKU does
    country: str = ""  # ISO 3166-1 alpha-2 of the delivery address
    tag: str = ""

    @property
    def catches_all(self) -> bool:
        """Whether no order can pass it by."""
        return not (self.channel or self.sku or self.country or self.tag)


class Choice(msgspec.Struct, frozen=True):
    """Where an order goes, and why: one sentence a rule that was looked at."""

    backend: str
    because: tuple[str, ...]


def choose(order: Order, routes: Sequence[Route]) -> Choice:
    """
    Return the backend of the first route that matches *order*.

    Raises:
        ValueError: None matches; a configuration with a catch-all cannot get here.
    """
    because: list[str] = []
    for number, route in enumerate(routes, 1):
        miss = _mismatch(order, route)
        if not miss:
            because.append(f"route {number} -> {route.backend}: " + ("catch-all" if route.catches_all else "matches"))
            return Choice(route.backend, tuple(because))
        because.append(f"route {number} -> {route.backend}: no, {miss}")
    raise ValueError("no route matches; the last route must be one without filters")


def router_of(routes: Sequence[Route]) -> Callable[[Order], str]:
    """
    Return what finds the backend that `choose` finds, and says not why: a third of its time where routes are many.

    It raises what `choose` raises.
    """
    rules = [(one.channel, one.country, one.tag, _sku_test(one.sku), one.backend) for one in routes]

    def backend_of(order: Order) -> str:
        for channel, country, tag, is_sku, backend in rules:
            if (
                (not channel or order.channel == channel)
                and (is_sku is None or all([is_sku(line.sku) for line in order.lines]))  # noqa: C419  # half the time
                and (not country or order.ship_to.country == country)
                and (not tag or tag in order.tags)
            ):
                return backend
        return choose(order, routes).backend

    return backend_of


def _sku_test(pattern: str) -> Callable[[str], object] | None:
    return re.compile(translate(pattern)).match if pattern else None


def _mismatch(order: Order, route: Route) -> str:
    if route.channel and order.channel != route.channel:
        return f"channel is {order.channel}, not {route.channel}"
    if route.sku:
        for line in order.lines:
            if not fnmatchcase(line.sku, route.sku):
                return f"SKU {line.sku} does not match {route.sku}"
    if route.country and order.ship_to.country != route.country:
        return f"country is {order.ship_to.country or 'not given'}, not {route.country}"
    if route.tag and route.tag not in order.tags:
        return f"tag {route.tag} is not on it"
    return ""
