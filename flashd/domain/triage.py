"""
What may become of a paid order that cannot be covered: the ways, what each costs and why, and the rules that choose.

Drawn in docs/lifecycle.md. Pure: a record and what is free go in; a ranked list, or two orders made of one, come out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from flashd.domain.catalogue import Bundle, Component, take_apart
from flashd.domain.order import Item, Line, Order, OrderRecord, OrderRef, OrderState
from flashd.domain.units import wants_of

REST = "+rest"
"""Behind the id of an order, the id of what was split off it."""

SPLIT_OF = "split-of-"
"""Begins a tag of the rest: behind it stands the digest of the order that it was split off."""

DAY_MS = 86_400_000
_SHORT = re.compile(r"(^|; )short: \d+ of ")
_UNKNOWN = re.compile(r"unknown SKU: .*$", re.DOTALL)


class Way(StrEnum):
    """What may be done about an order that fell short."""

    BACKORDER = "backorder"  # wait for goods, first come, first served
    SPLIT = "split"  # send what is covered; the rest is a backorder of its own
    REDUCE = "reduce"  # send what is covered; the rest is given up and the money goes back
    SUBSTITUTE = "substitute"  # another SKU in place of what is short
    CANCEL = "cancel"


class TriageRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When an order falls short and all of this holds, *do* this; what is left out holds always."""

    do: Literal["backorder", "split", "reduce", "substitute", "cancel"]  # a Way
    channel: str = ""
    sku: str = ""  # a shell pattern; holds if every short SKU matches it
    max_units: Annotated[int, Meta(ge=0)] = 0  # at most so many units short; 0: any number
    max_value: Annotated[int, Meta(ge=0)] = 0  # at most this total, in minor units; 0: any


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """One way, what it costs in the order's minor units by a rough estimate, and why."""

    way: Way
    cost: int
    why: str
    substitutes: dict[str, str] = {}


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """One order made into two: what is sent now, and the rest."""

    first: Order
    first_items: tuple[Item, ...]
    first_bundles: tuple[Bundle, ...]
    rest: Order
    rest_items: tuple[Item, ...]
    rest_bundles: tuple[Bundle, ...]


def doubt_of(reason: str) -> str:
    """Return the channel's doubt within the reason of a shortfall; "" if it is only short."""
    found = _SHORT.search(reason)
    if found is None:
        return reason
    unknown = _UNKNOWN.search(reason, found.start())
    return "; ".join(part for part in (reason[: found.start()], unknown[0] if unknown else "") if part)


def short_of(record: OrderRecord) -> dict[str, int]:
    """Return the units that an order still wants, by SKU."""
    units: dict[str, int] = {}
    for item in record.items:
        if item.missing:
            units[item.sku] = units.get(item.sku, 0) + item.missing
    return units


def asks_a_human(record: OrderRecord) -> bool:
    """
    Say whether a shortfall has a doubt besides (its sale was stopped, its total does not add up).

    It claims what it lacks as any does, but neither goods that come nor a rule decide for it.
    """
    return record.state is OrderState.SHORTFALL and bool(doubt_of(record.reason))


def rest_of(ref: OrderRef) -> OrderRef:
    """Name what is split off an order."""
    return replace(ref, id=ref.id + REST)


def origin_of(ref: OrderRef) -> OrderRef | None:
    """Return the order that this one was split off; None if it was not."""
    return replace(ref, id=ref.id.removesuffix(REST)) if ref.id.endswith(REST) and ref.id != REST else None


# ------------------------------------------------------------------------------------------------------ splitting


def split(record: OrderRecord) -> Split | None:
    """
    Make two orders of one: of each line as many as its units cover, and the rest.

    Shipping, tax and the discount of the whole order stay with the first, a line's discount is divided by units; both
    totals add up to the old one. None where nothing is covered, nothing is short, or lines and items do not agree.
    """
    order, made_of = record.order, {bundle.sku: bundle.components for bundle in record.bundles}
    if order is None or _apart(order.lines, record)[0] != wants_of(record.items):
        return None
    left: dict[str, int] = {}
    for item in record.items:
        left[item.sku] = left.get(item.sku, 0) + item.taken + item.counted
    first: list[Line] = []
    rest: list[Line] = []
    for line in order.lines:
        parts = made_of.get(line.sku, (Component(line.sku, 1),))
        units = max(0, min(line.quantity, *(left.get(part.sku, 0) // part.quantity for part in parts)))
        for part in parts:
            left[part.sku] = left.get(part.sku, 0) - units * part.quantity
        discount = line.discount * units // line.quantity if line.quantity else line.discount
        if units or not line.quantity:  # a line of no units stays with the first
            first.append(replace(line, quantity=units, discount=discount))
        if units < line.quantity:
            rest.append(replace(line, quantity=line.quantity - units, discount=line.discount - discount))
    if not any(line.quantity for line in first) or not rest:
        return None
    return _two(record, order, first, rest)


def _two(record: OrderRecord, order: Order, first: list[Line], rest: list[Line]) -> Split:
    value = sum(line.total for line in rest)
    wants, first_bundles = _apart(first, record)
    first_items, rest_items = _divide(record.items, wants)
    return Split(
        first=replace(order, lines=tuple(first), total=order.total - value),
        first_items=first_items,
        first_bundles=first_bundles,
        rest=replace(
            order,
            id=order.id + REST,
            number=order.number and order.number + REST,
            lines=tuple(rest),
            tags=(*order.tags, SPLIT_OF + record.digest),
            shipping=0,
            discount=0,
            tax=0,
            total=value,
        ),
        rest_items=rest_items,
        rest_bundles=_apart(rest, record)[1],
    )


def _apart(lines: Sequence[Line], record: OrderRecord) -> tuple[dict[str, int], tuple[Bundle, ...]]:
    """Return what lines want from stock, and the kits among them, as the order was taken apart."""
    ordered: dict[str, int] = {}
    for line in lines:
        if line.quantity:
            ordered[line.sku] = ordered.get(line.sku, 0) + line.quantity
    return take_apart(ordered, {}, record.bundles)


def _divide(items: Sequence[Item], wanted: dict[str, int]) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    first: list[Item] = []
    rest: list[Item] = []
    for item in items:
        units = min(item.taken + item.counted, wanted.get(item.sku, 0))
        wanted[item.sku] = wanted.get(item.sku, 0) - units
        first += [Item(item.sku, item.location, units)] if units else []
        rest += [Item(item.sku, item.location, item.quantity - units)] if item.quantity > units else []
    return tuple(first), tuple(rest)


def substituted(order: Order, substitutes: Mapping[str, str]) -> Order:
    """Return the order with other SKUs in it, at the prices that were agreed."""
    lines = tuple(replace(line, sku=substitutes.get(line.sku, line.sku)) for line in order.lines)
    return replace(order, lines=lines)


# ------------------------------------------------------------------------------------------------------ ranking


def options(
    record: OrderRecord,
    *,
    now_ms: int,
    free: Mapping[str, int] = {},
    substitutes: Mapping[str, Collection[str]] = {},
    expected: Mapping[str, int] = {},
) -> list[Option]:
    """
    Return the ways that are open, the cheapest first.

    The cost is a rough estimate of money at risk: waiting risks a tenth of the value that waits where the goods are
    expected and four tenths where nobody knows when they come, a twentieth more for every day that it has waited; a
    second parcel costs what the first did; a substitute is sent back in one of five cases; what is given up is lost.
    """
    order, short = record.order, short_of(record)
    if order is None or not short:
        return []
    parts = split(record)
    days = max(0, now_ms - record.accepted_ms) // DAY_MS
    comes = all(expected.get(sku, 0) >= units for sku, units in short.items())
    share = min(100, (10 if comes else 40) + 5 * days)
    wait = f"goods are {'expected' if comes else 'not announced'}, it has waited {days} days"
    missing = ", ".join(f"{units} of {sku}" for sku, units in sorted(short.items()))
    value = parts.rest.total if parts else order.total
    found = [
        Option(way=Way.CANCEL, cost=order.total, why=f"the whole value is lost; {missing} is short"),
        Option(way=Way.BACKORDER, cost=order.total * share // 100, why=f"all of it waits for {missing}: {wait}"),
    ]
    if parts is not None:
        covered = sum(line.quantity for line in parts.first.lines)
        found += [
            Option(
                way=Way.SPLIT,
                cost=value * share // 100 + order.shipping,
                why=f"{covered} units go now, in a second parcel {missing}: {wait}",
            ),
            Option(way=Way.REDUCE, cost=value, why=f"{covered} units go now, {missing} is given up and paid back"),
        ]
    swap = _swap(order, short, free, substitutes)
    if swap:
        why = "in place of what is short: " + ", ".join(f"{new} for {old}" for old, new in sorted(swap.items()))
        found.append(Option(way=Way.SUBSTITUTE, cost=value // 5, why=why, substitutes=swap))
    return sorted(found, key=lambda option: (option.cost, list(Way).index(option.way)))


def _swap(
    order: Order, short: Mapping[str, int], free: Mapping[str, int], substitutes: Mapping[str, Collection[str]]
) -> dict[str, str]:
    """Return for every short SKU one that is free for all lines of it; {} if one has none."""
    left = dict(free)
    chosen: dict[str, str] = {}
    for sku in short:
        units = sum(line.quantity for line in order.lines if line.sku == sku)
        found = next((new for new in substitutes.get(sku, ()) if units and left.get(new, 0) >= units), None)
        if found is None:
            return {}
        left[found] -= units
        chosen[sku] = found
    return chosen


def choose(record: OrderRecord, found: Sequence[Option], rules: Sequence[TriageRule]) -> Option | None:
    """
    Return what the first rule that matches chooses; None where a human must.

    A doubtful order (its total does not add up, a SKU is unknown) is a human's, whatever the rules say; so is one
    whose rule names a way that is not open to it.
    """
    if record.state is not OrderState.SHORTFALL or record.order is None or asks_a_human(record):
        return None
    rule = next((rule for rule in rules if _matches(rule, record, record.order)), None)
    return next((option for option in found if rule is not None and option.way == rule.do), None)


def _matches(rule: TriageRule, record: OrderRecord, order: Order) -> bool:
    short = short_of(record)
    return (
        rule.channel in {"", record.ref.channel}
        and (not rule.sku or all(fnmatchcase(sku, rule.sku) for sku in short))
        and (not rule.max_units or sum(short.values()) <= rule.max_units)
        and (not rule.max_value or order.total <= rule.max_value)
    )
