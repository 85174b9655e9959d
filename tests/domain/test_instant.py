from __future__ import annotations

import pytest

from flashd.domain.instant import parse_http_ms, parse_ms, version_of
from flashd.domain.order import Effect


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2026-11-27T07:00:00Z", 1795762800000),
        ("2026-11-27T08:00:00+01:00", 1795762800000),
        ("2026-11-27T02:00:00-05:00", 1795762800000),
        ("2026-11-27 07:00:00.123Z", 1795762800123),
        ("2026-11-27T07:00:00.123999Z", 1795762800123),
    ],
)
def test_an_instant_is_read_with_its_offset(text: str, ms: int) -> None:
    assert parse_ms(text) == ms


def test_text_without_an_offset_is_utc_only_where_that_is_known() -> None:
    assert parse_ms("2026-11-27T07:00:00", utc=True) == 1795762800000
    with pytest.raises(ValueError, match="has no offset"):
        parse_ms("2026-11-27T07:00:00")


@pytest.mark.parametrize(
    "text", ["", "now", "1795762800", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"]
)
def test_what_is_no_instant_of_our_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a time|is out of range"):
        parse_ms(text)


def test_within_one_timestamp_versions_rise_with_an_orders_life_and_never_reach_the_next() -> None:
    steps = [
        version_of(1000, Effect.IGNORE),
        version_of(1000, Effect.WAIT),
        version_of(1000, Effect.DELIVER),
        version_of(1000, Effect.DELIVER, steps=1),
        version_of(1000, Effect.DELIVER, steps=99),
        version_of(1000, Effect.CANCEL),
        version_of(1001, Effect.IGNORE),
    ]
    assert steps == sorted(set(steps))


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("Fri, 27 Nov 2026 07:00:00 GMT", 1795762800000),
        ("Fri, 27 Nov 2026 08:00:00 +0100", 1795762800000),
        ("", None),
        ("120", None),
        ("Sat, 99 Nov 2026 20:10:00 GMT", None),
    ],
)
def test_the_date_of_a_header_is_read_or_it_is_none(text: str, ms: int | None) -> None:
    assert parse_http_ms(text) == ms
