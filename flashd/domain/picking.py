"""
Where units are taken from free stock: by the terms of the channel that sells them.

The executable specification of lua/includes/pick.lua.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flashd.domain.catalogue import Bundle, Kit, kit_units
from flashd.domain.publication import shown
from flashd.domain.stock import StockLevel
from flashd.domain.terms import SellingTerms

Levels = Mapping[tuple[str, str], StockLevel]
Parcel = tuple[str, str, int]  # SKU, location, units


def is_known(levels: Levels, sku: str, terms: SellingTerms) -> bool:
    """Say whether *sku* is known at any of the channel's locations."""
    return any((sku, at) in levels for at in terms.locations)


def pick(levels: Levels, wants: Mapping[str, int], terms: SellingTerms) -> tuple[Parcel, ...]:
    """
    Say from where as much of *wants* as is free is taken; what is unknown takes nothing.

    One location that covers all is preferred. Where none does, each SKU is filled from the locations in their order; or
    all come from the one that covers most, if they must not be split.
    """
    wants = _known(levels, wants, terms)
    best, covered = _best(levels, wants, terms)
    whole = covered == sum(wants.values())
    parcels: list[Parcel] = []
    for sku, units in wants.items():
        left = units
        for at in terms.locations if terms.split and not whole else (best,):
            some = min(left, _free(levels, sku, at))
            if some > 0:
                parcels.append((sku, at, some))
                left -= some
    return tuple(parcels)


def is_covered(levels: Levels, wants: Mapping[str, int], terms: SellingTerms) -> bool:
    """Say whether all of *wants* can be taken; what is unknown takes nothing."""
    picked = sum(units for _, _, units in pick(levels, wants, terms))
    return picked == sum(_known(levels, wants, terms).values())


def short_of(
    levels: Levels, ordered: Mapping[str, int], wants: Mapping[str, int], bundles: Sequence[Bundle], terms: SellingTerms
) -> tuple[tuple[str, int], ...]:
    """
    Return of what there is too little for a hold, with how much of it there is; nothing: the hold can be granted.

    A hold takes at most what the channel may show of each SKU that is ordered. Where each SKU alone would do and all of
    them together do not, their components are named.
    """
    best, _ = _best(levels, _known(levels, wants, terms), terms)
    places = terms.locations if terms.split else (best,)
    free = {sku: sum(_free(levels, sku, at) for at in places) for sku in wants}
    made_of = {bundle.sku: bundle.components for bundle in bundles}
    short: list[tuple[str, int]] = []
    for sku, units in ordered.items():
        there = kit_units(Kit(sku, made_of[sku]), free) if sku in made_of else free[sku]
        there = shown(there, terms.threshold_of(sku))
        if there < units:
            short.append((sku, there))
    return tuple(short or ((sku, free[sku]) for sku, units in wants.items() if free[sku] < units))


def _known(levels: Levels, wants: Mapping[str, int], terms: SellingTerms) -> dict[str, int]:
    return {sku: units for sku, units in wants.items() if units > 0 and is_known(levels, sku, terms)}


def _free(levels: Levels, sku: str, location: str) -> int:
    level = levels.get((sku, location))
    return level.free if level is not None else 0


def _best(levels: Levels, wants: Mapping[str, int], terms: SellingTerms) -> tuple[str, int]:
    """Return the location that covers most, the first of equals, and how much."""
    covered = {at: sum(min(units, _free(levels, sku, at)) for sku, units in wants.items()) for at in terms.locations}
    best = max(terms.locations, key=lambda at: covered[at])
    return best, covered[best]
