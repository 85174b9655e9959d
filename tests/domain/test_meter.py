from __future__ import annotations

from flashd.domain.catalogue import Component, Kit
from flashd.domain.listing import Listing
from flashd.domain.meter import ChannelExposure, Exposure, read_meter
from flashd.domain.stock import StockLevel

TEN = StockLevel(sku="tee", on_hand=10)


def test_what_mirrors_show_beyond_what_is_free_could_be_sold_twice() -> None:
    rows = {"a": [Listing(sku="tee", exposed=10)], "b": [Listing(sku="tee", exposed=7)]}
    [reading] = read_meter([TEN], rows, {}).skus
    assert (reading.unbacked, reading.free, reading.twice) == (17, 10, 7)


def test_backed_exposure_is_nobody_else_s() -> None:
    level = StockLevel(sku="tee", on_hand=10, exposed=6)
    rows = {"a": [Listing(sku="tee", exposed=6, backed=True)], "b": [Listing(sku="tee", exposed=4)]}
    meter = read_meter([level], rows, {})
    assert meter.skus == (
        Exposure(
            sku="tee",
            channels=(
                ChannelExposure(channel="a", units=6, backed=True),
                ChannelExposure(channel="b", units=4, backed=False),
            ),
            free=4,
        ),
    )
    assert (meter.backed, meter.unbacked, meter.twice) == (6, 4, 0)


def test_one_channel_alone_sells_nothing_twice_until_stock_falls_behind_its_back() -> None:
    rows = {"a": [Listing(sku="tee", exposed=10)]}
    assert read_meter([TEN], rows, {}).twice == 0
    assert read_meter([StockLevel(sku="tee", on_hand=10, sold=4)], rows, {}).twice == 4
    assert read_meter([StockLevel(sku="tee", on_hand=1, sold=4)], rows, {}).twice == 10


def test_a_kit_exposes_its_components_and_free_is_summed_over_locations() -> None:
    kits = {"set": Kit("set", (Component("tee", 2), Component("mug", 1)))}
    rows = {"a": [Listing(sku="set", exposed=4), Listing(sku="tee", exposed=5)], "b": [Listing(sku="mug")]}
    levels = [TEN, StockLevel(sku="tee", location="shed", on_hand=1), StockLevel(sku="mug", on_hand=3)]
    meter = read_meter(levels, rows, kits)
    assert [(one.sku, one.unbacked, one.free, one.twice) for one in meter.skus] == [
        ("mug", 4, 3, 1),
        ("tee", 13, 11, 2),
    ]
    assert meter.twice == 3
