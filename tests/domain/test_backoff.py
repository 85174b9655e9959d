from __future__ import annotations

from flashd.domain.backoff import SlowStart, clamp_retry_after, drain_eta_s, outage_delay_s


def test_what_is_no_number_waits_the_least() -> None:
    assert clamp_retry_after(float("nan")) == 1.0
    assert clamp_retry_after(float("inf")) == 900.0


def test_an_outage_is_probed_ever_more_rarely_up_to_thirty_seconds() -> None:
    assert [outage_delay_s(count) for count in (1, 2, 3, 5, 6, 50)] == [1.0, 2.0, 4.0, 16.0, 30.0, 30.0]


def test_the_flow_begins_at_a_tenth_and_doubles() -> None:
    slow = SlowStart(since_s=100.0, step_s=10.0)
    assert [round(slow.factor(when), 3) for when in (100, 109.9, 110, 120, 130, 140, 1e9)] == [
        0.1, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0,
    ]  # fmt: skip
    assert SlowStart().factor(0) == 1.0
    assert slow.spacing_us(20_000, 100) == 200_000
    assert slow.spacing_us(20_000, 1000) == 20_000


def test_the_time_to_drain_follows_from_depth_and_rate() -> None:
    assert drain_eta_s(0, 0) == 0.0
    assert drain_eta_s(100, 5) == 20.0
    assert drain_eta_s(100, 0) is None
