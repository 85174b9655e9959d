"""Counting a backend's stock: what is set, what is left to a human, and whoever is away is asked again."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from flashd.actors.counter import Counter, Repair
from flashd.domain.count import Count, CountKind
from flashd.domain.delivery import BackendTraits
from flashd.domain.stock import StockLevel
from flashd.errors import BackendUnavailable
from tests.fakes.clock import FakeClock
from tests.fakes.ledger import FakeLedger
from tests.fakes.pool import FakePool
from tests.fakes.stockroom import FakeStockroom


class CountedBackend:
    name = "erp"
    traits = BackendTraits(idempotent=True, lookup=True, counts=True)

    def __init__(self) -> None:
        self.quantities = {"tee": 8, "mug": 2, "of another pool": 5}
        self.away = False

    async def counts(self, now_ms: int) -> list[Count]:
        if self.away:
            raise BackendUnavailable("away")
        kind = CountKind.AVAILABLE
        return [
            Count(sku=sku, location="", quantity=n, kind=kind, as_of_ms=now_ms) for sku, n in self.quantities.items()
        ]


class World:
    def __init__(self, repair: Repair) -> None:
        self.clock = FakeClock()
        self.pool = FakePool(clock=self.clock)
        for sku, held in (("tee", 0), ("mug", 4)):
            self.pool.levels[sku, "main"] = StockLevel(sku=sku, on_hand=10, held=held)
        self.backend = CountedBackend()
        self.moved = 0
        stockroom = FakeStockroom(self.pool)
        self.counter = Counter(
            lambda: self.backend,
            {"main": (FakeLedger(self.pool), stockroom, "main")},
            clock=self.clock,
            interval_s=60,
            repair=repair,
            moved=self.tell,
        )

    def tell(self) -> None:
        self.moved += 1

    def on_hand(self) -> dict[str, int]:
        return {sku: level.on_hand for (sku, _), level in self.pool.levels.items()}


@pytest.fixture
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    world = World(request.param)
    world.counter.start()
    yield world
    await world.counter.stop(0.5)


@pytest.mark.parametrize(
    ("world", "on_hand"),
    [("none", {"tee": 10, "mug": 10}), ("safe", {"tee": 8, "mug": 10}), ("all", {"tee": 8, "mug": 2})],
    indirect=["world"],
)
async def test_only_what_the_operator_lets_it_is_set_and_only_what_the_pool_knows(
    world: World, on_hand: dict[str, int]
) -> None:
    await world.clock.advance(61)
    assert world.on_hand() == on_hand


@pytest.mark.parametrize("world", ["safe"], indirect=True)
async def test_a_backend_that_is_away_is_asked_again(world: World) -> None:
    world.backend.away = True
    await world.clock.advance(61)
    world.backend.away = False
    world.backend.quantities["tee"] = 7
    await world.clock.advance(60)
    assert world.on_hand()["tee"] == 7
    assert world.moved > 0
