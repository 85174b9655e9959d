"""
What holds and orders count for: quotas and limits of sales, and whether a sale lets them in at all.

The executable specification of lua/includes/allowance.lua; the table stands in docs/adr/0020-a-sale-is-a-document.md.
Rules are looked up by the SKU as it was ordered, before kits are taken apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec

from flashd.domain.sale import Rule, SaleState

Uses = dict[str, int]
"""What one hold or order counts for: fields of the HASH use, and units."""

_SEPARATOR = "\x1f"


class Stand(StrEnum):
    """How a SKU stands on one channel at one instant."""

    OPEN = "open"  # as if there were no sale
    INSIDE = "inside"
    OUTSIDE = "outside"  # its sale is not open, and it is sold nowhere else
    STOPPED = "stopped"


class Breach(msgspec.Struct, frozen=True):
    """More than a sale allows."""

    quota: bool  # else a limit per customer
    sale: str
    sku: str
    had: int  # what all others count for: all holds and orders (quota), or the customer's (limit)
    may: int

    @property
    def reason(self) -> str:
        """Why a human must look."""
        return f"beyond the {'quota' if self.quota else 'limit'} of sale {self.sale}: {self.sku}"


class Bound(msgspec.Struct, frozen=True):
    """How much may stand in one field, and for whose sake."""

    quota: bool
    sale: str
    sku: str
    most: int


class Count(msgspec.Struct, frozen=True):
    """What something counts for from now on."""

    uses: Uses
    bounds: dict[str, Bound]
    barred: tuple[tuple[str, Stand, Rule], ...] = ()  # SKUs that are not let in, and by which rule
    blocked: dict[str, int] = {}  # units as ordered that must not be taken: their sale is stopped

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why a human must look at what was not let in."""
        words = {Stand.OUTSIDE: "not in the time of sale", Stand.STOPPED: "stopped: sale"}
        return tuple(f"{words[stand]} {rule.sale}: {sku}" for sku, stand, rule in self.barred)


def judge(rules: Sequence[Rule], channel: str, at_ms: int) -> tuple[Stand, Rule | None]:
    """Say how a SKU with these rules stands on *channel* at *at_ms*, and by which rule."""
    mine = [rule for rule in rules if rule.state is not SaleState.ENDED and channel in (rule.channels or (channel,))]
    for rule in mine:
        if rule.start_ms <= at_ms < rule.end_ms:
            return Stand.STOPPED if rule.state is SaleState.STOPPED else Stand.INSIDE, rule
    for rule in mine:
        if rule.state is SaleState.STOPPED:
            return Stand.STOPPED, rule
    closed = [rule for rule in mine if rule.closed_outside]
    if not closed:
        return Stand.OPEN, None
    to_come = [rule for rule in closed if rule.start_ms > at_ms]
    if to_come:
        return Stand.OUTSIDE, min(to_come, key=lambda rule: rule.start_ms)
    return Stand.OUTSIDE, max(closed, key=lambda rule: rule.end_ms)


def quota_field(sale: str, sku: str) -> str:
    """Return the field that counts a sale's units of one SKU."""
    return _SEPARATOR.join(("q", sale, sku))


def limit_field(sale: str, sku: str, customer: str) -> str:
    """Return the field that counts a customer's units of one SKU."""
    return _SEPARATOR.join(("c", sale, sku, customer))


def total_field(sale: str, customer: str) -> str:
    """Return the field that counts a customer's units in one sale."""
    return _SEPARATOR.join(("t", sale, customer))


class Purchase(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be counted, and for what it counted before."""

    ordered: Mapping[str, int]  # as ordered
    channel: str
    at_ms: int  # the instant by which it is judged
    customer: str = ""
    had: Mapping[str, int] = {}  # as ordered before
    before: Uses = {}


def judged_again(had: Mapping[str, int], before: Uses) -> dict[str, int]:
    """Return what a parked order had, but only of what counts for a sale already: the rest of it is judged again."""
    counted = {parts[2] for field in before if (parts := field.split(_SEPARATOR))[0] == "q"}
    return {sku: units for sku, units in had.items() if sku in counted}


def count(rules: Mapping[str, Sequence[Rule]], purchase: Purchase) -> Count:
    """Say for what *purchase* counts; what counts for a sale already stays with it, whatever the rules say now."""
    uses = dict(purchase.before)
    bounds: dict[str, Bound] = {}
    barred: list[tuple[str, Stand, Rule]] = []
    blocked: dict[str, int] = {}
    sales = {parts[2]: parts[1] for field in uses if (parts := field.split(_SEPARATOR))[0] == "q"}
    for sku in dict.fromkeys((*purchase.ordered, *purchase.had)):
        extra = purchase.ordered.get(sku, 0) - purchase.had.get(sku, 0)
        rule: Rule | None
        if sku in sales:
            rule = next((rule for rule in rules.get(sku, ()) if rule.sale == sales[sku]), None)
            stand = Stand.STOPPED if rule and rule.state is SaleState.STOPPED and extra > 0 else Stand.INSIDE
            fields = [field for field in purchase.before if _is_of(field, sales[sku], sku)]
        elif extra > 0:
            stand, rule = judge(rules.get(sku, ()), purchase.channel, purchase.at_ms)
            fields = _fields(rule, sku, purchase.customer) if rule else []
        else:
            continue
        if rule is not None and stand in {Stand.OUTSIDE, Stand.STOPPED}:
            barred.append((sku, stand, rule))
            if stand is Stand.STOPPED:
                blocked[sku] = extra
        elif stand is Stand.INSIDE:
            for field in fields:
                uses[field] = uses.get(field, 0) + extra
                if rule is not None and (most := _most(field, rule)) and field not in bounds:
                    bounds[field] = Bound(field[0] == "q", rule.sale, sku, most)
    return Count({field: units for field, units in uses.items() if units > 0}, bounds, tuple(barred), blocked)


def breaches(counted: Count, before: Uses, used: Mapping[str, int], *, all_of_them: bool) -> tuple[Breach, ...]:
    """
    Return what is more than allowed.

    Args:
        counted: For what it counts from now on.
        before: For what it counted before.
        used: What stands in the fields now, with *before*.
        all_of_them: Whether what did not rise is looked at, too: its order is in a human's hands already.
    """
    found: list[Breach] = []
    for field, bound in counted.bounds.items():
        had, units = used.get(field, 0) - before.get(field, 0), counted.uses.get(field, 0)
        if had + units > bound.most and (all_of_them or units > before.get(field, 0)):
            found.append(Breach(bound.quota, bound.sale, bound.sku, had, bound.most))
    return tuple(found)


def _fields(rule: Rule, sku: str, customer: str) -> list[str]:
    fields = [quota_field(rule.sale, sku)]
    if customer and rule.limit:
        fields.append(limit_field(rule.sale, sku, customer))
    if customer and rule.sale_limit:
        fields.append(total_field(rule.sale, customer))
    return fields


def _is_of(field: str, sale: str, sku: str) -> bool:
    kind, of, *rest = field.split(_SEPARATOR)
    return of == sale and (kind == "t" or rest[0] == sku)


def _most(field: str, rule: Rule) -> int:
    return {"q": rule.quota, "c": rule.limit, "t": rule.sale_limit}[field[0]]
