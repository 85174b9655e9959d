"""What events raise, they end under the same key; how long each is waited for."""

from __future__ import annotations

from typing import Any

import pytest

from flashd.domain.alarm import AWAY_PATIENCE_MS, HEARD, PAUSED_PATIENCE_MS, End, Raise, heard
from flashd.domain.alert import AlertKind
from flashd.domain.event import Event, Gap
from flashd.domain.event_schema import KINDS

DATA = {
    "channel": "shop",
    "backend": "erp",
    "sale": "friday",
    "demand": "uninstall",
    "demand_id": "shop:7",
    "order": {"channel": "shop", "id": "1001"},
    "sku": "TEE-S",
    "exposures": [["TEE-S", 3]],
    "skus": ["TEE-S"],
}


def event(kind: str, **data: Any) -> Event:
    return Event(id="1-0", at_ms=1, kind=kind, pool="main", data={**DATA, **data})


@pytest.mark.parametrize(
    ("begins", "ends"),
    [
        ("channel.webhooks_silent", "channel.webhooks_returned"),
        ("channel.demanded", "channel.demand_met"),
        ("channel.went_away", "channel.came_back"),
        ("backend.went_away", "backend.came_back"),
        ("backend.paused", "backend.resumed"),
        ("sale.price_failed", "sale.price_pushed"),
        ("sale.price_failed", "sale.price_restored"),
        ("sale.price_failed", "sale.price_kept"),
    ],
)
def test_what_ends_a_trouble_names_the_very_alert_that_its_beginning_raised(begins: str, ends: str) -> None:
    [raised] = heard(event(begins), home=True)
    assert isinstance(raised, Raise)
    assert raised.alert.key in {one.key for one in heard(event(ends), home=True) if isinstance(one, End)}


@pytest.mark.parametrize("kind", sorted(HEARD))
def test_every_event_that_is_read_says_something_and_exists(kind: str) -> None:
    assert heard(event(kind), home=True)
    assert kind in KINDS


def test_an_outage_is_waited_for_unless_it_is_an_alert_already_and_a_pause_for_longer() -> None:
    def patience_ms(kind: str, **data: Any) -> int:
        [raised] = heard(event(kind, **data), home=True)
        assert isinstance(raised, Raise)
        return raised.patience_ms

    assert patience_ms("backend.went_away") == AWAY_PATIENCE_MS
    assert patience_ms("backend.went_away", alert="circuit") == 0
    assert patience_ms("backend.paused") == PAUSED_PATIENCE_MS
    assert patience_ms("order.fell_short") == 0


def test_of_a_backend_only_the_home_pool_speaks() -> None:
    assert heard(event("backend.went_away"), home=False) == []
    assert heard(event("backend.came_back"), home=False) == []
    assert heard(event("order.buried"), home=False)


def test_what_was_trimmed_unread_is_a_trouble_of_its_own() -> None:
    [raised] = heard(Gap(pool="main", after="1-0", first="9-0"), home=True)
    assert isinstance(raised, Raise)
    assert (raised.alert.kind, raised.alert.subject) == (AlertKind.EVENTS_MISSED, "main")


def test_what_interests_nobody_raises_nothing() -> None:
    assert heard(event("order.delivered"), home=True) == []
