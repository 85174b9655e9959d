"""The slopes of a soak: what is flat passes, what leaks is seen, and noise is no leak."""

from __future__ import annotations

import random

import pytest

from tests.chaos.soak import BOUNDS, Sample, slope_of, slopes

MINUTES = 30
FLAT = dict.fromkeys(BOUNDS, 100.0)


def run(growth: dict[str, float], *, minutes: float = MINUTES, noise: float = 0.0) -> list[Sample]:
    """Return samples of which some figures grow by so much a minute, after a start that grows by itself."""
    dice = random.Random(1)
    samples = []
    for at in range(180):
        minute = at * minutes / 180
        warming = min(minute, minutes / 4) * 1000  # a process that takes what it needs at first
        seen = {
            name: base + warming + growth.get(name, 0) * minute + dice.uniform(-noise, noise)
            for name, base in FLAT.items()
        }
        samples.append(Sample(minute * 60, seen))
    return samples


def failed(samples: list[Sample]) -> set[str]:
    return {one.name for one in slopes(samples) if not one.passed}


def test_a_line_has_its_slope() -> None:
    assert slope_of([(0, 1), (1, 3), (2, 5)]) == 2
    assert slope_of([(1, 1), (1, 3)]) == 0


def test_what_is_flat_behind_its_warming_up_passes() -> None:
    assert failed(run({})) == set()
    assert failed(run({}, minutes=3)) == set()
    assert failed(run({}, noise=2)) == set()


@pytest.mark.parametrize("name", BOUNDS)
def test_what_grows_without_end_is_seen(name: str) -> None:
    most, noise = BOUNDS[name]
    leak = 2 * most + 2 * noise / (MINUTES * 2 / 3) + 0.01
    assert failed(run({name: leak})) == {name}


def test_two_hundred_bytes_that_stay_of_each_order_are_seen_in_half_an_hour() -> None:
    """Such as a dict that keeps the ids of orders: 50 a second are 600 kB a minute."""
    assert failed(run({"daemon memory, kB": 50 * 60 * 0.2})) == {"daemon memory, kB"}
