"""What the native API says may be sold, before anybody holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from flashd.domain.catalogue import Component, Kit
from flashd.domain.listing import Listing
from flashd.domain.publication import Threshold
from flashd.domain.sale import Sale, SaleProduct, SaleState
from flashd.domain.terms import SellingTerms
from tests.fakes.doors import DoorHouse
from tests.web.conftest import Served


async def test_stock_tells_what_each_channel_may_sell_of_a_sku_and_of_a_kit(intake: Served, house: DoorHouse) -> None:
    house.count("TEE", 10)
    await house.listings["main"].put_kits([Kit("DUO", (Component("TEE", 2),))], by="test")
    house.terms["shop"] = SellingTerms(mode="mirror", threshold=Threshold(buffer=3))
    house.terms["hooks"] = SellingTerms(mode="escrow")
    house.listings["main"].state.listings["hooks", "TEE"] = Listing(sku="TEE", exposed=2, backed=True)
    tee, duo = (await intake.call("GET", "/v1/stock?sku=TEE&sku=DUO")).json["stock"]
    assert tee["channels"] == {"shop": 7, "till": 10, "hooks": 2}
    assert (duo["available"], duo["locations"], duo["channels"]) == (5, {"main": 5}, {"shop": 2, "till": 5, "hooks": 0})


async def test_a_stopped_sale_and_a_quota_are_told_before_anybody_holds(intake: Served, house: DoorHouse) -> None:
    house.count("TEE", 10)
    start = datetime.fromtimestamp(house.clock.now_ms() / 1000 - 60, UTC)
    products = (SaleProduct(sku="TEE", quota=6),)
    await house.sales["main"].put(
        Sale(name="drop", start=start, end=start + timedelta(hours=1), products=products, channels=("till",)), by="test"
    )
    house.sales["main"].counted["drop", "TEE"] = 2
    assert (await intake.call("GET", "/v1/stock/TEE")).json["channels"] == {"shop": 10, "till": 4, "hooks": 10}
    await house.sales["main"].set_state("drop", SaleState.STOPPED, by="test")
    await house.clock.advance(1.0)
    assert (await intake.call("GET", "/v1/stock/TEE")).json["channels"] == {"shop": 10, "till": 0, "hooks": 10}
