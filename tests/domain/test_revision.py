"""The daily budget of revisions: never more in any 24 hours, and the right value in the end."""

from __future__ import annotations

import random
from bisect import bisect_left

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flashd.domain.revision import HOUR_MS, Revisions, wait_ms

DAY_MS = 24 * HOUR_MS
START_MS = 1_790_000_000_000


def at_rest(used: Revisions, budget: int, *, shows: int, wants: int, now_ms: int) -> int:
    return wait_ms(used, budget, shows=shows, wants=wants, quiet_ms=DAY_MS, now_ms=now_ms)


def spent(count: int, now_ms: int = START_MS) -> Revisions:
    used = Revisions()
    for _ in range(count):
        used = used.spent(now_ms)
    return used


def test_without_a_budget_nothing_waits() -> None:
    assert wait_ms(spent(10_000), 0, shows=4, wants=5, quiet_ms=0, now_ms=START_MS) == 0


def test_the_first_half_goes_at_once_and_then_it_is_spread() -> None:
    now = {"quiet_ms": 0, "now_ms": START_MS + 1}
    assert wait_ms(spent(124), 250, shows=4, wants=5, **now) == 0
    assert wait_ms(spent(125), 250, shows=4, wants=5, **now) > 0


def test_a_crossing_of_zero_never_waits_while_any_is_left() -> None:
    now = {"quiet_ms": 0, "now_ms": START_MS}
    assert wait_ms(spent(249), 250, shows=4, wants=0, **now) == 0
    assert wait_ms(spent(248), 250, shows=0, wants=4, **now) == 0
    assert wait_ms(spent(249), 250, shows=0, wants=4, **now) > 0, "the last one is for the way to zero"
    assert wait_ms(spent(250), 250, shows=4, wants=0, **now) > 0


def test_a_figure_that_came_to_rest_may_use_what_is_kept() -> None:
    assert wait_ms(spent(205), 250, shows=4, wants=5, quiet_ms=0, now_ms=START_MS) > 0
    assert at_rest(spent(205), 250, shows=4, wants=5, now_ms=START_MS) == 0
    assert at_rest(spent(245), 250, shows=4, wants=5, now_ms=START_MS) > 0


def test_what_is_older_than_a_day_is_forgotten() -> None:
    assert spent(250).used(START_MS + DAY_MS) == 250
    assert spent(250).used(START_MS + DAY_MS + HOUR_MS) == 0


def test_it_is_told_and_read_again() -> None:
    used = spent(3).spent(START_MS + 5 * HOUR_MS)
    assert Revisions.unpacked(used.packed()) == used
    assert Revisions.unpacked("") == Revisions()


def test_a_clock_that_stepped_back_gives_nothing_away() -> None:
    used = spent(2, START_MS + 30 * HOUR_MS).spent(START_MS)
    assert used.used(START_MS + 30 * HOUR_MS) == 3


@given(st.integers(0, 2**32), st.sampled_from([2, 5, 40, 250]), st.sampled_from([500, 20_000, 900_000]))
@settings(max_examples=25, deadline=None)
def test_never_more_in_any_day_and_always_right_in_the_end(seed: int, budget: int, gap_ms: int) -> None:
    chance = random.Random(seed)
    used, now, shows, wants, changed = Revisions(), START_MS, 0, 0, START_MS
    written: list[int] = []

    def look() -> int:
        nonlocal used, shows
        if shows == wants:
            return 0
        wait = wait_ms(used, budget, shows=shows, wants=wants, quiet_ms=now - changed, now_ms=now)
        if not wait:
            used, shows = used.spent(now), wants
            written.append(now)
        return wait

    for _ in range(1500):
        now += chance.randrange(1, 2 * gap_ms)
        value = chance.choice([0, chance.randrange(1, 30), wants])
        if value != wants:
            wants, changed = value, now
        look()
    for _ in range(40_000):  # and then nothing changes any more
        wait = look()
        if shows == wants:
            break
        now += max(1, min(wait, 60_000))
    assert shows == wants
    for index, moment in enumerate(written):
        assert index - bisect_left(written, moment - DAY_MS) < budget, "more than the budget in 24 hours"


@pytest.mark.parametrize("budget", [2, 10, 250])
def test_what_shows_something_can_always_be_emptied(budget: int) -> None:
    used, shows, now = Revisions(), 0, START_MS
    for _ in range(3 * budget):
        wants = 5 if shows == 0 else 0
        if wait_ms(used, budget, shows=shows, wants=wants, quiet_ms=0, now_ms=now):
            break
        used, shows = used.spent(now), wants
    assert shows == 0
