"""Go or no-go: every check can fail, says what to do, and is silent about what is right."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from flashd.domain.catalogue import Component, Kit
from flashd.domain.preflight import CLOCK_MS, COUNTED_MS, judge
from flashd.domain.preflight_facts import (
    Asked,
    BackendFacts,
    ChannelFacts,
    Facts,
    Finding,
    Level,
    Shown,
    StoreFacts,
    Webhook,
)
from flashd.domain.publication import PublishMode, Threshold
from flashd.domain.sale import Sale, SaleProduct, SaleRecord, SaleState

NOW_MS = 1_790_000_000_000
HOUR_MS = 3_600_000


def at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def shop(**more: Any) -> ChannelFacts:
    right = ChannelFacts(
        name="shop",
        mode="escrow",
        has_api=True,
        pushes_prices=True,
        locations=("main",),
        mapped=frozenset({"TEE", "BOX"}),
        shown={"TEE": Shown(), "BOX": Shown()},
        webhooks=(Webhook(topic="orders/create", alive=True),),
        prices={"TEE": Asked(price="19.90"), "BOX": Asked(price="39.90")},
        poll_ms=60_000,
        polled_ms=NOW_MS - 30_000,
    )
    return replace(right, **more)


def sale(**more: Any) -> Sale:
    right = Sale(
        name="friday",
        start=at(NOW_MS + HOUR_MS),
        end=at(NOW_MS + 3 * HOUR_MS),
        products=(SaleProduct(sku="TEE", quota=50, price="9.90"), SaleProduct(sku="BOX", quota=20, price="29.90")),
        forecast_per_min=60,
    )
    return replace(right, **more)


def facts(*, of_sale: Sale | None = None, state: SaleState = SaleState.READY, **more: Any) -> Facts:
    right = Facts(
        record=SaleRecord(sale=of_sale or sale(), version=3, state=state, by="anna", changed_ms=1),
        now_ms=NOW_MS,
        units={"TEE": 90, "CAP": 20},
        counted_ms={"TEE": NOW_MS - HOUR_MS, "CAP": NOW_MS - HOUR_MS},
        kits={"BOX": Kit("BOX", (Component("TEE", 2), Component("CAP", 1)))},
        used={},
        locations=frozenset({"main"}),
        customer_key=True,
        alerts="",
        channels=(shop(), ChannelFacts(name="till", asks=True, locations=("main",))),
        backends=(BackendFacts(name="erp", per_second=2.0),),
        store=StoreFacts(ok=True),
    )
    return replace(right, **more)


def trouble(one: Facts) -> list[tuple[str, str, Level]]:
    return [(each.check, each.subject, each.level) for each in judge(one).findings if each.level is not Level.OK]


def test_a_sale_that_is_right_is_a_go_without_a_word_of_trouble() -> None:
    verdict = judge(facts())
    assert (verdict.go, verdict.sale, verdict.version, trouble(facts())) == (True, "friday", 3, [])
    assert {one.check for one in verdict.findings} >= {"window", "stock", "kits", "map", "policy", "prices", "webhooks"}


@pytest.mark.parametrize("mode", ["mirror", "none"])
def test_who_asks_before_it_sells_may_show_all_that_is_free_or_nothing(mode: PublishMode) -> None:
    one = facts(channels=(shop(asks=True, oversells=True, mode=mode),))
    assert not [each for each in trouble(one) if each[0] == "publish"]
    assert ("publish", "shop", Level.FAIL) in trouble(facts(channels=(shop(asks=True, mode=mode, paused=True),)))


def on_channel(**more: Any) -> Callable[[], Facts]:
    return lambda: facts(channels=(shop(**more),))


def with_(**more: Any) -> Callable[[], Facts]:
    return lambda: facts(**more)


FAILS: dict[str, tuple[Callable[[], Facts], tuple[str, str]]] = {
    "it is over": (with_(now_ms=NOW_MS + 4 * HOUR_MS), ("window", "friday")),
    "it is stopped": (with_(state=SaleState.STOPPED), ("window", "friday")),
    "it was closed": (with_(state=SaleState.ENDED), ("window", "friday")),
    "it is too short": (with_(of_sale=sale(end=at(NOW_MS + HOUR_MS + 30_000))), ("window", "friday")),
    "nothing is durable": (with_(store=StoreFacts(ok=False, reason="disk")), ("durability", "store")),
    "durability is off": (with_(store=StoreFacts(ok=True, durability="none")), ("durability", "store")),
    "the store is full": (with_(store=StoreFacts(ok=True, used=0.85)), ("memory", "store")),
    "the store's clock is off": (with_(store=StoreFacts(ok=True, clock_off_ms=-CLOCK_MS - 1)), ("clock", "store")),
    "the shop's clock is off": (on_channel(clock_off_ms=CLOCK_MS + 1), ("clock", "shop")),
    "quotas are above stock": (with_(units={"TEE": 89, "CAP": 20}), ("stock", "TEE")),
    "a component is sold out": (with_(units={"TEE": 90, "CAP": 19}), ("stock", "CAP")),
    "it was never counted": (with_(kits={}), ("stock", "friday")),
    "nothing is left": (
        with_(units={"TEE": 0}, kits={}, of_sale=sale(products=(SaleProduct(sku="TEE"),))),
        ("stock", "friday"),
    ),
    "a kit lacks a component": (with_(units={"TEE": 90}), ("kits", "BOX")),
    "limits cannot count": (with_(of_sale=sale(limit=2), customer_key=False), ("limits", "main")),
    "it has no API that takes figures": (on_channel(has_api=False, mode="none"), ("publish", "shop")),
    "its location is unknown": (on_channel(locations=("mian",)), ("locations", "shop")),
    "a SKU is not mapped": (on_channel(mapped=frozenset({"TEE"})), ("map", "shop")),
    "a mapped product is gone": (on_channel(shown={"TEE": Shown()}), ("map", "shop")),
    "it sells below zero": (on_channel(shown={"TEE": Shown(), "BOX": Shown(oversells=True)}), ("policy", "shop")),
    "it does not count": (on_channel(shown={"TEE": Shown(), "BOX": Shown(tracked=False)}), ("policy", "shop")),
    "products cannot be read": (on_channel(shown={}, shown_error="HTTP 401"), ("policy", "shop")),
    "it is told nothing": (on_channel(mode="none"), ("publish", "shop")),
    "it asks for what escrow took away": (on_channel(asks=True, mode="escrow"), ("publish", "shop")),
    "it is paused": (on_channel(paused=True), ("publish", "shop")),
    "prices cannot be read": (on_channel(prices_error="HTTP 403"), ("prices", "shop")),
    "a price is no number": (
        on_channel(prices={"TEE": Asked(price="19.90"), "BOX": Asked(price="ask us")}),
        ("prices", "shop"),
    ),
    "a price is not there": (on_channel(prices={"TEE": Asked(price="1", reason="gone")}), ("prices", "shop")),
    "its webhooks are silent": (on_channel(silent="switched off"), ("webhooks", "shop")),
    "a webhook is dead": (on_channel(webhooks=(Webhook(topic="orders/create", alive=False),)), ("webhooks", "shop")),
    "it has no webhook": (on_channel(webhooks=()), ("webhooks", "shop")),
    "it was never polled": (on_channel(polled_ms=0, poll_error="HTTP 403"), ("polling", "shop")),
    "polling stopped": (on_channel(polled_ms=NOW_MS - 300_000), ("polling", "shop")),
    "the backend is away": (with_(backends=(BackendFacts(name="erp", per_second=2, away=True),)), ("backend", "erp")),
    "the backend is paused": (
        with_(backends=(BackendFacts(name="erp", per_second=2, paused=True),)),
        ("backend", "erp"),
    ),
}

WARNS: dict[str, tuple[Callable[[], Facts], tuple[str, str]]] = {
    "it is open already": (with_(now_ms=NOW_MS + 2 * HOUR_MS, channels=()), ("window", "friday")),
    "durability is lowered": (with_(store=StoreFacts(ok=True, durability="everysec")), ("durability", "store")),
    "the store fills": (with_(store=StoreFacts(ok=True, used=0.6)), ("memory", "store")),
    "its clock is not told": (on_channel(clock_error="HTTP 500"), ("clock", "shop")),
    "the count is old": (with_(counted_ms={"TEE": NOW_MS - COUNTED_MS - 1, "CAP": NOW_MS}), ("counted", "friday")),
    "nobody knows the count's time": (with_(counted_ms={}), ("counted", "friday")),
    "one of its locations is empty": (on_channel(locations=("main", "attic")), ("locations", "shop")),
    "it oversells by itself": (on_channel(oversells=True), ("publish", "shop")),
    "a mirror keeps nothing back": (on_channel(mode="mirror"), ("publish", "shop")),
    "its prices are not ours": (on_channel(pushes_prices=False), ("prices", "shop")),
    "the sale is dearer": (
        on_channel(prices={"TEE": Asked(price="5.00"), "BOX": Asked(price="39.90")}),
        ("prices", "shop"),
    ),
    "webhooks cannot be listed now": (on_channel(webhooks=(), webhooks_error="HTTP 500"), ("webhooks", "shop")),
    "it is not polled": (on_channel(poll_ms=0), ("polling", "shop")),
    "its catalogue is too long": (on_channel(shown_whole=False), ("policy", "shop")),
    "orders come faster than they leave": (
        with_(backends=(BackendFacts(name="erp", per_second=0.5, queued=100),)),
        ("backend", "erp"),
    ),
    "there is no forecast": (with_(of_sale=sale(forecast_per_min=0)), ("backend", "erp")),
    "nobody is told": (with_(alerts="[alerts] url is empty"), ("alerts", "alerts")),
}


def of_level(one: Facts, level: Level) -> list[Finding]:
    return [each for each in judge(one).findings if each.level is level]


@pytest.mark.parametrize(("made", "where"), FAILS.values(), ids=FAILS)
def test_what_will_go_wrong_is_a_no_go_that_says_what_to_do(made: Callable[[], Facts], where: tuple[str, str]) -> None:
    found = of_level(made(), Level.FAIL)
    assert not judge(made()).go
    assert where in {(one.check, one.subject) for one in found}
    assert all(one.mend and one.said for one in found)


@pytest.mark.parametrize(("made", "where"), WARNS.values(), ids=WARNS)
def test_what_may_go_wrong_is_told_and_still_a_go(made: Callable[[], Facts], where: tuple[str, str]) -> None:
    assert judge(made()).go
    assert [(one.check, one.subject) for one in of_level(made(), Level.WARN)] == [where]


def test_none_listed_where_none_can_be_listed_is_no_dead_webhook() -> None:
    assert trouble(facts(channels=(shop(webhooks=(), lists_webhooks=False),))) == []


def test_a_dead_webhook_beside_a_living_one_of_the_same_topic_is_no_trouble() -> None:
    hooks = (Webhook(topic="orders/create", alive=False), Webhook(topic="orders/create", alive=True))
    assert trouble(facts(channels=(shop(webhooks=hooks),))) == []


def test_a_mirror_with_a_buffer_is_fine_wherever_the_buffer_stands() -> None:
    buffer = Threshold(buffer=5)
    assert trouble(facts(channels=(shop(mode="mirror", threshold=buffer),))) == []
    assert trouble(facts(channels=(shop(mode="mirror"),), of_sale=sale(threshold=buffer))) == []


def test_what_the_sale_has_sold_already_is_not_wanted_again() -> None:
    assert trouble(facts(units={"TEE": 80, "CAP": 20}, used={"TEE": 10})) == []


def test_the_time_to_drain_is_told() -> None:
    slow = facts(backends=(BackendFacts(name="erp", per_second=0.5),))
    (found,) = of_level(slow, Level.WARN)
    assert found.said.endswith("3600 wait at the end, drained in 120 min")


def test_many_skus_are_not_all_named() -> None:
    products = tuple(SaleProduct(sku=f"S{number}") for number in range(9))
    found = of_level(facts(of_sale=sale(products=products), channels=()), Level.FAIL)
    assert found[0].said == "S0, S1, S2, S3, S4 and 4 more were never counted"
