"""What is found by looking: it is raised while it lasts, and ended by the first look that does not find it."""

from __future__ import annotations

from flashd.domain.alarm import End, Raise, Signal
from flashd.domain.alert import FACTS_AT_MOST, AlertKind
from flashd.domain.condition import figures, in_doubt, is_covered, not_durable
from flashd.domain.order import OrderRecord, OrderRef, OrderState
from flashd.domain.stock import StockLevel

MINUTE_MS = 60_000


def doubtful(order_id: str, *, sent_ms: int, backend: str = "erp") -> OrderRecord:
    return OrderRecord(
        ref=OrderRef("shop", order_id),
        state=OrderState.IN_DOUBT,
        version=1,
        digest="d",
        backend=backend,
        changed_ms=10 * MINUTE_MS,
        timeline=((0, "queued"), (sent_ms, "sending")),
    )


def raised(signals: list[Signal]) -> list[Raise]:
    return [one for one in signals if isinstance(one, Raise)]


def ended(signals: list[Signal]) -> list[str]:
    return [one.key for one in signals if isinstance(one, End)]


def test_an_order_is_late_by_when_it_was_sent_last_and_not_by_when_it_was_looked_up() -> None:
    now_ms = 10 * MINUTE_MS
    old, young = doubtful("1", sent_ms=MINUTE_MS), doubtful("2", sent_ms=9 * MINUTE_MS)
    [late] = raised(in_doubt([old, young], [], now_ms=now_ms, after_ms=5 * MINUTE_MS))
    assert late.lasting
    assert late.alert.facts == {"orders": ["shop:1"], "at_least": 1}


def test_a_backend_that_has_no_late_order_is_in_doubt_no_more() -> None:
    late = doubtful("1", sent_ms=0, backend="odoo")
    signals = in_doubt([late], ["erp", "odoo"], now_ms=10 * MINUTE_MS, after_ms=MINUTE_MS)
    assert ended(signals) == ["in_doubt:erp"]
    assert [one.alert.subject for one in raised(signals)] == ["odoo"]


def test_only_what_is_on_sale_must_be_shown() -> None:
    signals = figures("shop", gaps={"A", "B"}, refused={"C": "no such item", "D": "no"}, on_sale={"A", "C"})
    assert [one.alert.facts["skus"] for one in raised(signals)] == [["A"], ["C"]]
    assert ended(signals) == []


def test_a_channel_that_shows_all_that_is_on_sale_ends_both_alerts() -> None:
    signals = figures("shop", gaps={"B"}, refused={}, on_sale={"A"})
    assert ended(signals) == [f"{AlertKind.UNMAPPED}:shop", f"{AlertKind.REFUSED_FIGURE}:shop"]
    assert raised(signals) == []


def test_an_alert_names_no_more_than_a_person_reads() -> None:
    many = {f"SKU-{number}" for number in range(100)}
    [lacking] = raised(figures("shop", gaps=many, refused={}, on_sale=many))
    assert len(lacking.alert.facts["skus"]) == FACTS_AT_MOST


def test_what_is_exposed_must_be_there_too() -> None:
    assert is_covered([StockLevel(sku="A", on_hand=5, held=2, exposed=3)])
    assert not is_covered([StockLevel(sku="A", on_hand=5, held=2, exposed=4)])
    assert not is_covered([StockLevel(sku="A", on_hand=5, sold=6)])


def test_a_store_that_keeps_nothing_of_some_pools_names_them() -> None:
    assert "order of east, west" in not_durable("disk full", "host:1", pools={"west", "east"}).text
    assert "no order can" in not_durable("disk full", "host:1").text
