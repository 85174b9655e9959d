"""Why a platform shows another figure than the one expected."""

from __future__ import annotations

import pytest

from flashd.domain.listing import UNKNOWN, Listing, ListingState
from flashd.domain.stale import Staleness, classify, suspect


def listing(figure: int, exposed: int, **more: object) -> Listing:
    return Listing(sku="tee", figure=figure, exposed=exposed, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("figure", "exposed", "shows", "why"),
    [
        (10, 10, 10, Staleness.EXPECTED),
        (10, 10, 7, Staleness.SALE),
        (10, 10, 12, Staleness.EDIT),
        (7, 10, 9, Staleness.SALE),  # two orders from before our last write were seen after it
        (7, 10, 11, Staleness.EDIT),
        (UNKNOWN, 0, 4, Staleness.SALE),
    ],
)
def test_what_a_figure_tells(figure: int, exposed: int, shows: int, why: Staleness) -> None:
    assert classify(listing(figure, exposed), shows) is why


def test_a_write_in_doubt_that_shows_what_it_wanted_was_acknowledged_in_vain() -> None:
    doubted = listing(5, 10, state=ListingState.IN_DOUBT, was=5, to=10)
    assert classify(doubted, 10) is Staleness.ACKNOWLEDGEMENT
    assert classify(doubted, 8) is Staleness.SALE


def test_orders_explain_what_is_missing_or_somebody_took_it() -> None:
    found = suspect(listing(10, 10), 6, 5000)
    assert found is not None
    assert (found.missing, found.at_ms) == (4, 5000)
    assert found.seen(3).missing == 1
    assert found.seen(9).missing == 0
    assert suspect(listing(10, 10), 10, 5000) is None
