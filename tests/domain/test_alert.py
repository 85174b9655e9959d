"""Alerts on paper: one trouble is one alert, nobody is told more often than wanted, and nothing due is left unsaid."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flashd.domain import alert as alerts
from flashd.domain.alert import (
    HOUR_MS,
    MANY,
    STANDING_AT_MOST,
    Alert,
    AlertKind,
    Quota,
    Severity,
    Standing,
    end_alert,
    is_due,
    next_message,
    raise_alert,
    told,
    with_room,
)

REPEAT_MS = 900_000


def alert(subject: str = "erp", severity: Severity = Severity.CRITICAL, **facts: Any) -> Alert:
    return Alert(kind=AlertKind.BACKEND_AWAY, subject=subject, severity=severity, text="away", mend="look", facts=facts)


def raised(subject: str = "erp", now_ms: int = 0, **more: Any) -> Standing:
    return raise_alert(None, alert(subject, **more), pool="main", now_ms=now_ms)


def taken(one: Standing, now_ms: int) -> Standing:
    after = told(one, alerts.message_id(one), now_ms)
    assert after is not None
    return after


def test_the_same_trouble_twice_is_one_alert_that_happened_twice() -> None:
    first = raised(orders=["shop:1"])
    second = raise_alert(first, alert(orders=["shop:2"]), pool="main", now_ms=50)
    assert (second.id, second.count, second.first_ms, second.last_ms) == (first.id, 2, 0, 50)
    assert second.alert.facts == {"orders": ["shop:1", "shop:2"]}


def test_facts_do_not_grow_without_bound() -> None:
    one = raised(orders=["shop:0"])
    for number in range(1, 100):
        one = raise_alert(one, alert(orders=[f"shop:{number}"]), pool="main", now_ms=number)
    assert one.alert.facts["orders"] == [f"shop:{number}" for number in range(80, 100)]


def test_what_happens_again_is_told_after_the_repeat_time_and_not_before() -> None:
    one = taken(raised(), 1)
    again = raise_alert(one, alert(), pool="main", now_ms=2)
    assert not is_due(again, REPEAT_MS, REPEAT_MS)
    assert is_due(again, 1 + REPEAT_MS, REPEAT_MS)


def test_what_merely_lasts_is_told_ever_more_rarely_and_once_a_day_at_least() -> None:
    one, now_ms, waits = taken(raised(), 1), 1, []
    for _ in range(12):
        began = now_ms
        while not is_due(one, now_ms, REPEAT_MS):
            now_ms += 60_000
        waits.append(now_ms - began)
        one = taken(one, now_ms)
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (REPEAT_MS, 24 * HOUR_MS)


def test_what_mends_itself_in_time_is_never_told() -> None:
    one = raise_alert(None, alert(), pool="main", now_ms=0, patience_ms=60_000)
    assert not is_due(one, 59_999, REPEAT_MS)
    assert is_due(one, 60_000, REPEAT_MS)
    assert end_alert(one, 30_000) is None


def test_the_worse_sign_takes_the_patience_away() -> None:
    one = raise_alert(None, alert(), pool="main", now_ms=0, patience_ms=60_000)
    assert is_due(raise_alert(one, alert(), pool="main", now_ms=5), 5, REPEAT_MS)


def test_an_end_is_told_once_to_whoever_was_told_of_the_beginning() -> None:
    one = end_alert(taken(raised(), 1), 100)
    assert one is not None
    assert is_due(one, 100, REPEAT_MS)
    assert told(one, alerts.message_id(one), 101) is None
    assert end_alert(raised(), 100) is None


def test_an_end_that_comes_while_the_beginning_is_told_is_told_as_well() -> None:
    one = raised()
    message = alerts.message_id(one)
    over = end_alert(one, 5, being_told=True)
    assert over is not None
    after = told(over, message, 6)
    assert after is not None
    assert is_due(after, 7, REPEAT_MS)


def test_what_begins_anew_while_its_end_is_told_is_told_again() -> None:
    over = end_alert(taken(raised(), 1), 5)
    assert over is not None
    message = alerts.message_id(over)
    anew = raise_alert(over, alert(), pool="main", now_ms=6)
    after = told(anew, message, 7)
    assert after is not None
    assert after.is_open
    assert is_due(after, 8, REPEAT_MS)


def test_every_telling_has_its_own_id_and_every_attempt_of_it_the_same() -> None:
    one = raised()
    ids = [alerts.message_id(one), alerts.message_id(one)]
    one = taken(one, 1)
    ids.append(alerts.message_id(one))
    over = end_alert(one, 2)
    assert over is not None
    ids.append(alerts.message_id(over))
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3
    assert raised(now_ms=7).id != raised(now_ms=8).id


def test_the_worst_is_told_first() -> None:
    standing = [raised("a", 1, severity=Severity.WARNING), raised("b", 3), raised("c", 2)]
    message = next_message(standing, Quota(), now_ms=10, repeat_ms=REPEAT_MS, per_hour=60)
    assert message is not None
    assert json.loads(message.body)["data"]["subject"] == "c"


def test_the_last_message_of_an_hour_sums_up_what_is_due() -> None:
    standing = [raised(f"b{number}", number) for number in range(70)]
    message = next_message(standing, Quota((1,)), now_ms=100, repeat_ms=REPEAT_MS, per_hour=2)
    assert message is not None
    body = json.loads(message.body)
    assert body["type"] == "alert.summed_up"
    assert body["data"]["raised"] == {"backend_away": 70}
    assert len(body["data"]["alerts"]) == 50
    assert len(message.covers) == 70
    assert next_message(standing, Quota((1, 2)), now_ms=100, repeat_ms=REPEAT_MS, per_hour=2) is None


def test_too_many_alerts_share_one_of_their_kind() -> None:
    keys = {f"backend_away:{number}" for number in range(STANDING_AT_MOST)}
    assert with_room(keys, alert("7")).subject == "7"
    assert with_room(keys, alert("new")).subject == MANY
    assert with_room(set(), alert("new")).subject == "new"


steps = st.lists(
    st.tuples(st.integers(0, 400_000), st.sampled_from("rrrre"), st.integers(0, 12)), min_size=1, max_size=60
)


@given(steps, st.integers(1, 5))
def test_no_hour_brings_more_than_the_quota_and_nothing_due_stays_unsaid(
    happenings: list[tuple[int, str, int]], per_hour: int
) -> None:
    standing: dict[str, Standing] = {}
    quota, sent, now_ms = Quota(), [], 0

    def tell() -> None:
        nonlocal quota
        while message := next_message(standing.values(), quota, now_ms=now_ms, repeat_ms=REPEAT_MS, per_hour=per_hour):
            quota = quota.used(now_ms)
            sent.append(now_ms)
            for _, key, telling in message.covers:
                after = told(standing.pop(key), telling, now_ms)
                if after is not None:
                    standing[key] = after

    for wait_ms, what, number in happenings:
        now_ms += wait_ms
        one = alert(f"b{number}")
        known = standing.get(one.key)
        if what == "r":
            standing[one.key] = raise_alert(known, one, pool="main", now_ms=now_ms)
        elif known is not None:
            after = end_alert(known, now_ms)
            standing.pop(one.key)
            if after is not None:
                standing[one.key] = after
        tell()
    assert all(len([at for at in sent if first <= at < first + HOUR_MS]) <= per_hour for first in sent)
    assert len(quota.sent) <= per_hour
    now_ms += HOUR_MS
    tell()
    assert all(one.told_ms and one.is_open for one in standing.values())


@given(st.lists(st.integers(-HOUR_MS, HOUR_MS), max_size=30), st.integers(1, 5))
def test_a_clock_that_goes_back_opens_no_second_quota_and_closes_none_for_long(moves: list[int], per_hour: int) -> None:
    quota, now_ms = Quota(), 10 * HOUR_MS
    for move in moves:
        now_ms += move
        if quota.left(now_ms, per_hour):
            quota = quota.used(now_ms)
        assert len(quota.sent) <= per_hour
    assert quota.left(max(now_ms, *quota.sent, 0) + HOUR_MS, per_hour) == per_hour
