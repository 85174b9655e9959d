"""What sales say of a SKU on a channel right now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flashd.domain.publication import Threshold
from flashd.domain.sale import Sale, SaleProduct, SaleRecord, SaleState
from flashd.domain.standing import NO_SALE, Phase, Standing, phase_of, standings

START = datetime(2026, 11, 27, 8, tzinfo=UTC)
START_MS = round(START.timestamp() * 1000)
HOUR_MS = 3_600_000


def record(name: str = "drop", state: SaleState = SaleState.READY, *, starts: float = 0.0, **more: Any) -> SaleRecord:
    start = START + timedelta(hours=starts)
    product = SaleProduct(sku="tee", quota=more.pop("quota", 0), threshold=more.pop("of_sku", None))
    sale = Sale(name=name, start=start, end=start + timedelta(hours=1), products=(product,), **more)
    return SaleRecord(sale=sale, version=1, state=state, by="me", changed_ms=0)


def tee(*records: SaleRecord, at_ms: int = START_MS, channel: str = "web") -> Standing:
    return standings(records, channel, at_ms).get("tee", NO_SALE)


@pytest.mark.parametrize(
    ("offset_ms", "phase"), [(-1, Phase.BEFORE), (0, Phase.OPEN), (HOUR_MS - 1, Phase.OPEN), (HOUR_MS, Phase.AFTER)]
)
def test_a_window_is_half_open_to_the_millisecond(offset_ms: int, phase: Phase) -> None:
    assert phase_of(record(), START_MS + offset_ms) is phase


def test_outside_its_window_a_sku_is_closed_or_as_if_there_were_no_sale() -> None:
    assert tee(record(), at_ms=START_MS - 1).closed
    assert tee(record(outside="open"), at_ms=START_MS - 1) == NO_SALE
    assert tee(record(state=SaleState.ENDED), at_ms=START_MS - 1) == NO_SALE


def test_a_stop_closes_whatever_another_sale_says() -> None:
    assert tee(record("next", SaleState.STOPPED, starts=5), record()).closed
    assert not tee(record("next", starts=5), record()).closed


def test_quota_and_threshold_are_of_the_sale_that_is_open() -> None:
    of_sku, of_sale = Threshold(buffer=2), Threshold(buffer=9)
    said = tee(record(quota=7, of_sku=of_sku, threshold=of_sale), record("next", starts=2, quota=99))
    assert said == Standing(sale="drop", quota=7, threshold=of_sku)
    assert tee(record(threshold=of_sale)).threshold == of_sale


def test_of_channels_that_it_does_not_name_a_sale_says_nothing() -> None:
    assert tee(record(channels=("till",)), at_ms=START_MS - 1) == NO_SALE
    assert tee(record(channels=("web",)), at_ms=START_MS - 1).closed
