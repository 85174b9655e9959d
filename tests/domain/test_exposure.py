"""An applied compare proves what stood there: where nobody granted that, nothing is given back before all is seen."""

from __future__ import annotations

import pytest

from flashd.domain.exposure import begin, end, observe, settle
from flashd.domain.listing import Begin, BeginCode, Ended, Listing, ListingState, Outcome, WriteMode, sell


def edited(*, backed: bool, exposed: int = 10, shows: int = 25) -> Listing:
    """Return a listing that settles on a figure that a human wrote."""
    row = Listing(sku="tee", backed=backed, exposed=exposed, figure=exposed, key="old")
    return observe(row, row, shows, at_ms=1000)


def written(row: Listing, units: int, *, seen: int = 0, at_ms: int = 2000) -> Listing:
    """Return the row after an applied compare from what it shows; *seen* units of orders come while it is written."""
    wanted = Begin(sku="tee", units=units, mode=WriteMode.COMPARE, key="new", was=row.figure, backed=row.backed)
    begun = begin(row, wanted, free=0, location="main", now_ms=1)
    assert begun.code is BeginCode.BEGUN
    during, _ = sell(begun.listing, seen, placed_ms=0)
    return end(during, Ended(sku="tee", key="new", outcome=Outcome.APPLIED, at_ms=at_ms))


@pytest.mark.parametrize("units", [10, 20, 40])
def test_a_figure_written_over_an_edit_is_covered_before_and_after_it_settles(units: int) -> None:
    row = written(edited(backed=False), units)
    assert row.state is ListingState.SETTLING
    assert row.exposed >= units
    row, _ = sell(row, 4, placed_ms=500)  # sold before the edit, seen late
    settled = settle(row, seen_ms=3000)
    assert settled is not None
    assert (settled.listing.exposed, settled.listing.state) == (units, ListingState.IDLE)


@pytest.mark.parametrize("seen", [0, 3])
def test_what_was_sold_unseen_before_an_edit_stays_backed_when_the_edit_is_taken_to_zero(seen: int) -> None:
    row = written(edited(backed=True), 0, seen=seen)
    assert row.exposed == 10 - seen
    row, backed = sell(row, 4, placed_ms=500)
    assert backed == 4
    settled = settle(row, seen_ms=3000)
    assert settled is not None
    assert settled.listing.exposed == 0


def test_an_edit_that_is_overwritten_without_a_time_is_a_doubt() -> None:
    assert written(edited(backed=False), 10, at_ms=0).state is ListingState.IN_DOUBT


@pytest.mark.parametrize("seen", [0, 10, 12])
def test_where_all_was_granted_lowering_gives_back_at_once(seen: int) -> None:
    row = Listing(sku="tee", backed=True, exposed=10, figure=10)
    after = written(row, 4, seen=seen)
    assert (after.state, after.exposed) == (ListingState.IDLE, max(0, 10 - seen - 6) if seen < 10 else 0)
