from __future__ import annotations

import pytest

from flashd.domain.catalogue import Component, Kit
from flashd.domain.listing import Listing
from flashd.domain.offer import free_at, offered
from flashd.domain.publication import Threshold
from flashd.domain.standing import NO_SALE, Standing
from flashd.domain.stock import StockLevel
from flashd.domain.terms import SellingTerms

STOCK = {
    "TEE": {"berlin": StockLevel(sku="TEE", location="berlin", on_hand=7), "ulm": StockLevel(sku="TEE", on_hand=4)},
    "CAP": {"berlin": StockLevel(sku="CAP", location="berlin", on_hand=2), "ulm": StockLevel(sku="CAP", on_hand=9)},
}
KITS = {"SET": Kit("SET", (Component("TEE", 2), Component("CAP", 1)))}
BOTH = ("berlin", "ulm")


@pytest.mark.parametrize(
    ("sku", "split", "units"),
    [("TEE", True, 11), ("TEE", False, 7), ("SET", True, 5), ("SET", False, 2), ("HAT", True, 0)],
)
def test_an_order_that_may_not_be_split_comes_from_the_place_with_most(sku: str, units: int, *, split: bool) -> None:
    terms = SellingTerms(locations=BOTH, split=split)
    assert offered(sku, terms, STOCK, KITS, standing=NO_SALE) == units


def test_a_threshold_of_the_sale_stands_in_the_place_of_the_channels_own() -> None:
    terms = SellingTerms(locations=BOTH, threshold=Threshold(buffer=4), thresholds={"CAP": Threshold(cap=3)})
    assert offered("TEE", terms, STOCK, {}, standing=NO_SALE) == 7
    assert offered("CAP", terms, STOCK, {}, standing=NO_SALE) == 3
    assert offered("TEE", terms, STOCK, {}, standing=Standing(threshold=Threshold(percent=50))) == 5


def test_a_quota_bounds_and_a_closed_sale_ends_the_offer() -> None:
    terms = SellingTerms(locations=BOTH)
    quota = Standing(sale="drop", quota=5)
    assert offered("TEE", terms, STOCK, {}, standing=quota, used=3) == 2
    assert offered("TEE", terms, STOCK, {}, standing=quota, used=9) == 0
    assert offered("TEE", terms, STOCK, {}, standing=Standing(closed=True)) == 0


def test_an_escrow_channel_has_what_it_was_granted_and_nothing_else() -> None:
    terms = SellingTerms(locations=BOTH, mode="escrow")
    assert offered("TEE", terms, STOCK, {}, standing=NO_SALE) == 0
    granted = Listing(sku="TEE", exposed=3, backed=True)
    assert offered("TEE", terms, STOCK, {}, standing=NO_SALE, row=granted) == 3
    assert offered("TEE", terms, STOCK, {}, standing=Standing(closed=True), row=granted) == 0


def test_a_kit_is_put_together_at_each_place_for_itself() -> None:
    assert [free_at("SET", (place,), STOCK, KITS) for place in BOTH] == [2, 2]
