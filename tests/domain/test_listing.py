"""What orders and cancellations do to a listing, by the table of the decision on exposure."""

from __future__ import annotations

import pytest

from flashd.domain.listing import UNKNOWN, Listing, ListingState, restock, sell, unsell

IDLE = Listing(sku="tee", exposed=5, figure=5)
SETTLING = Listing(sku="tee", exposed=7, figure=5, state=ListingState.SETTLING, to=5, written_ms=1000)


@pytest.mark.parametrize(("units", "exposed", "left", "figure"), [(2, 2, 3, 3), (5, 5, 0, 0), (8, 5, 0, 0)])
def test_an_order_takes_its_units_out_of_the_exposure_first(units: int, exposed: int, left: int, figure: int) -> None:
    after, from_exposure = sell(IDLE, units, placed_ms=1)
    assert (from_exposure, after.exposed, after.figure, after.later) == (exposed, left, figure, 0)
    assert after.seen == units


@pytest.mark.parametrize(("placed_ms", "later", "figure"), [(1001, 2, 3), (1000, 0, 5), (0, 0, 5)])
def test_only_an_order_placed_after_the_write_counts_as_sold_after_it(placed_ms: int, later: int, figure: int) -> None:
    after, from_exposure = sell(SETTLING, 2, placed_ms=placed_ms)
    assert (from_exposure, after.exposed, after.later, after.figure) == (2, 5, later, figure)


def test_what_the_platform_restocks_is_exposed_again() -> None:
    assert restock(IDLE, 2, risen=2) == Listing(sku="tee", exposed=7, figure=7, later=-2)
    assert restock(IDLE, 2, risen=1).exposed == 6
    assert restock(SETTLING, 2, risen=2).later == -2


def test_a_sale_that_is_first_seen_when_it_is_over_moves_no_exposure() -> None:
    assert unsell(IDLE, 2) == Listing(sku="tee", exposed=5, figure=5, later=-2)


def test_a_figure_that_nobody_knows_stays_unknown() -> None:
    nobody_knows = Listing(sku="tee", exposed=5)
    assert sell(nobody_knows, 2, placed_ms=1)[0].figure == UNKNOWN
    assert restock(nobody_knows, 2, risen=2).figure == UNKNOWN
