"""How many orders the benchmark of a real Tryton sends each way."""

from __future__ import annotations

import pytest

from benchmarks.tryton import share


@pytest.mark.parametrize(
    ("orders", "batch", "rounds", "each"),
    [(1000, 50, 2, 500), (1000, 100, 2, 600), (1000, 100, 1, 1000), (450, 50, 1, 500), (20, 200, 1, 400)],
)
def test_both_requests_under_way_get_whole_batches(orders: int, batch: int, rounds: int, each: int) -> None:
    assert share(orders, batch=batch, rounds=rounds) == each
