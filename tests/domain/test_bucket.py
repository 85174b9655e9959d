from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from flashd.domain.bucket import AHEAD_MAX_US, Bucket, SpacingGuard, take_drop
from flashd.domain.rate import Rate


def most_in_any_window(times: list[int], window: int) -> int:
    """The most events in any half-open window; the fullest window begins at an event."""
    most = 0
    for index, start in enumerate(times):
        most = max(most, sum(1 for when in times[index:] if when < start + window))
    return most


@given(
    spacing=st.integers(1, 2_000_000),
    burst=st.integers(1, 6),
    ahead=st.integers(0, AHEAD_MAX_US),
    pauses=st.lists(st.integers(0, 3_000_000), min_size=1, max_size=80),
    window=st.integers(1, 10_000_000),
    warm=st.booleans(),
)
def test_no_window_ever_holds_more_than_the_bound(
    spacing: int, burst: int, ahead: int, pauses: list[int], window: int, *, warm: bool
) -> None:
    now, used = 10**9, []
    bucket: Bucket | None = Bucket(0, spacing) if warm else None
    for pause in pauses:
        now += pause
        taking = take_drop(bucket, now, spacing, burst=burst, ahead_us=ahead)
        bucket = taking.bucket
        if taking.wait_us == 0:
            used.append(now + taking.after_us)
    assert used == sorted(used)
    assert most_in_any_window(used, window) <= math.ceil(window / spacing) + burst - 1


@given(
    steps=st.lists(st.tuples(st.integers(0, 500_000), st.sampled_from([20_000, 100_000, 200_000])), max_size=80),
)
def test_a_drop_keeps_its_distance_from_the_one_before_whatever_the_rate_was_then(steps: list[tuple[int, int]]) -> None:
    now, last = 10**9, None
    bucket: Bucket | None = None
    for pause, spacing in steps:
        now += pause
        taking = take_drop(bucket, now, spacing, ahead_us=20_000)
        bucket = taking.bucket
        if taking.wait_us == 0:
            use = now + taking.after_us
            assert last is None or use - last >= spacing
            last = use


def test_asking_at_the_times_told_loses_nothing() -> None:
    spacing = Rate.parse("50/s").spacing_us
    now, bucket, used = 10**9, None, 0
    taking = take_drop(bucket, now, spacing, ahead_us=spacing)
    end = now + 10_000_000
    while now < end:
        bucket = taking.bucket
        if taking.wait_us == 0:
            used += 1
            now += taking.after_us + 700  # a round trip after each use
        else:
            now += taking.wait_ms * 1000
        taking = take_drop(bucket, now, spacing, ahead_us=spacing)
    assert 0.98 * 500 <= used <= 500


def test_a_cold_bucket_gives_nothing_at_once() -> None:
    taking = take_drop(None, 10**9, 1000, burst=10)
    assert taking.wait_us > 0
    assert taking.bucket is not None


def test_a_clock_that_stepped_back_an_hour_does_not_stop_the_flow() -> None:
    ahead = Bucket(10**9 + 3_600_000_000, 1000)
    taking = take_drop(ahead, 10**9, 1000)
    assert 0 < taking.wait_us <= 1000 + AHEAD_MAX_US
    again = take_drop(taking.bucket, 10**9 + taking.wait_us, 1000)
    assert again.wait_us == 0


def test_after_rest_a_burst_leaves_at_once_and_not_one_more() -> None:
    bucket: Bucket | None = Bucket(0, 1000)
    took = 0
    while (taking := take_drop(bucket, 10**9, 1000, burst=4)).wait_us == 0:
        bucket = taking.bucket
        took += 1
    assert took == 4


@given(
    arrivals=st.lists(st.integers(0, 50_000), min_size=1, max_size=60),
    burst=st.integers(1, 4),
    window=st.integers(1, 400_000),
)
def test_the_guard_holds_the_bound_also_for_drops_that_piled_up(arrivals: list[int], burst: int, window: int) -> None:
    spacing, now, sent = 20_000, 10**9, []
    guard = SpacingGuard()
    for pause in arrivals:
        now += pause
        while wait := guard.pass_us(now, spacing, burst=burst):
            now += wait
        sent.append(now)
    assert most_in_any_window(sent, window) <= math.ceil(window / spacing) + burst - 1
