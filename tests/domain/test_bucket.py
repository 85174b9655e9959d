from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from flashd.domain.bucket import AHEAD_MAX_US, Bucket, SpacingGuard, take_drop
from flashd.domain.rate import SLACK_US, Rate


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
    count=st.integers(1, 9),
    pauses=st.lists(st.integers(0, 3_000_000), min_size=1, max_size=80),
    window=st.integers(1, 10_000_000),
    warm=st.booleans(),
)
def test_no_window_ever_holds_more_than_the_bound(
    spacing: int, burst: int, ahead: int, count: int, pauses: list[int], window: int, *, warm: bool
) -> None:
    now, used = 10**9, []
    bucket: Bucket | None = Bucket(0, spacing) if warm else None
    for pause in pauses:
        now += pause
        taking = take_drop(bucket, now, spacing, burst=burst, ahead_us=ahead, count=count)
        bucket = taking.bucket
        assert (taking.taken > 0) == (taking.wait_us == 0)
        assert taking.taken <= count
        used += [now + max(0, taking.after_us + index * spacing) for index in range(taking.taken)]
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


def depart(dues: list[int], lateness: list[int], spacing: int, *, burst: int = 1) -> list[int]:
    """When requests leave that are due at *dues* and come to the guard that much later, each waiting for its turn."""
    guard, sent, now = SpacingGuard(), [], 0
    for due in sorted(due + late for due, late in zip(dues, lateness, strict=True)):
        now = max(now, due)
        while wait := guard.pass_us(now, spacing, burst=burst, slack_us=SLACK_US):
            now += wait
        sent.append(now)
    return sent


@settings(max_examples=300)
@given(
    rate=st.sampled_from(["1/s", "3/s", "7/s", "50/s", "500/s", "3333/s", "30/10s", "120/min", "20/3s"]),
    burst=st.integers(1, 4),
    steps=st.lists(
        st.tuples(st.sampled_from([0, 0, 0, 0, 1, 2, 40]), st.integers(0, 3 * SLACK_US), st.booleans()),
        min_size=1,
        max_size=150,
    ),
    longer=st.floats(1.0, 4.0),
)
def test_with_its_slack_the_guard_admits_no_more_than_the_rate_in_any_window_of_the_rate_or_longer(
    rate: str, burst: int, steps: list[tuple[int, int, bool]], longer: float
) -> None:
    parsed = Rate.parse(rate)
    due, dues, lateness = 10**9, [], []
    for rests, late, punctual in steps:
        due += (1 + rests) * parsed.paced_us
        dues.append(due)
        lateness.append(0 if punctual else late)
    sent = depart(dues, lateness, parsed.paced_us, burst=burst)
    window = parsed.window_s * 1_000_000
    assert most_in_any_window(sent, window) <= parsed.count + burst - 1
    assert most_in_any_window(sent, int(window * longer)) <= math.ceil(parsed.count * longer) + burst - 1


def test_requests_that_are_all_due_at_once_leave_no_faster_than_the_rate() -> None:
    for text in ("5/s", "50/s", "500/s", "30/10s"):
        rate = Rate.parse(text)
        sent = depart([10**9] * 3 * rate.count, [0] * 3 * rate.count, rate.paced_us)
        window = rate.window_s * 1_000_000
        assert most_in_any_window(sent, window) == rate.count
        assert sent[-1] - sent[0] <= 3 * (window + SLACK_US)


def test_what_leaves_late_within_the_slack_takes_nothing_from_the_rate() -> None:
    rate = Rate.parse("500/s")
    dues = [10**9 + index * rate.paced_us for index in range(5000)]
    late = [(index * 7919) % SLACK_US for index in range(5000)]
    sent = depart(dues, late, rate.paced_us)
    assert sent[-1] - dues[-1] <= 2 * SLACK_US
    assert 4999 / (sent[-1] - sent[0]) * 1e6 >= 0.98 * 500


def test_one_long_pause_costs_its_own_time_and_no_more() -> None:
    rate = Rate.parse("50/s")
    dues = [10**9 + index * rate.paced_us for index in range(500)]
    late = [max(0, dues[100] + 300_000 - due) if 100 <= index < 115 else 0 for index, due in enumerate(dues)]
    sent = depart(dues, late, rate.paced_us)
    assert 290_000 - SLACK_US <= sent[-1] - dues[-1] <= 310_000
    assert most_in_any_window(sent, 1_000_000) <= 50


# What 0.96 of a limit per second leaves room for between the sender and the door: 1 s / 0.96 - 1 s - the slack.
UNEVEN_US = 31_000


def counted_at_the_door(rate: Rate, uneven_us: int) -> int:
    """The worst there is: all take that long up to one that left as late as it may, those behind it take no time."""
    turn, count = 3, 3 * rate.count
    dues = [10**9 + index * rate.paced_us for index in range(count)]
    sent = depart(dues, [SLACK_US if index == turn else 0 for index in range(count)], rate.paced_us)
    arrived = sorted(when + (uneven_us if index <= turn else 0) for index, when in enumerate(sent))
    return most_in_any_window(arrived, 1_000_000)


def test_at_096_of_its_limit_a_door_counts_no_more_than_that_although_requests_take_unevenly_long() -> None:
    for limit in range(2, 25):
        paced = Rate.parse(f"{24 * limit}/25s")
        assert counted_at_the_door(paced, UNEVEN_US) <= limit
        assert counted_at_the_door(paced, UNEVEN_US + 2_000) == limit + 1, "there is no more room than that"


def test_a_door_that_counts_at_its_limit_has_no_such_room() -> None:
    rate = Rate.parse("5/s")
    dues = [10**9 + index * rate.paced_us for index in range(6)]
    sent = depart(dues, [0] * 6, rate.paced_us)
    arrived = [sent[0] + UNEVEN_US, *sent[1:]]
    assert most_in_any_window(arrived, 1_000_000) == 6
    paced = Rate.parse("24/5s")
    dues = [10**9 + index * paced.paced_us for index in range(6)]
    sent = depart(dues, [0] * 6, paced.paced_us)
    arrived = [sent[0] + UNEVEN_US, *sent[1:]]
    assert most_in_any_window(arrived, 1_000_000) == 5
