"""Who keeps the stock right beside the orders: shortfalls decided by rule, and counts that backends tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from flashd.actors.counter import Counter
from flashd.actors.triage import Triage
from flashd.ports import CountingBackend

if TYPE_CHECKING:
    from flashd.daemon.assembly import Assembly


def triage_of(house: Assembly, pool: str) -> Triage:
    """Return who decides by rule about a pool's shortfalls, not started."""
    opened, rules = house.store.pools[pool], house.loaded.config.triage
    return Triage(
        opened.ledger,
        opened.book,
        opened.stockroom,
        clock=house.clock,
        rules=rules.rules,
        substitutes=rules.substitutes,
        moved=house.wake_all,
    )


def counts_stock(house: Assembly, backend: str) -> bool:
    """Say whether a backend tells its stock, and is to be asked."""
    return house.adapters[backend].traits.counts and house.loaded.config.backends[backend].counts_s > 0


def counter_of(house: Assembly, backend: str) -> Counter:
    """Return who asks a backend for its stock, not started; a reload may exchange the adapter behind it."""
    section = house.loaded.config.backends[backend]

    def moved() -> None:
        house.wake_all()
        for pool in house.store.pools:
            house.wake_outlets(pool)

    return Counter(
        lambda: cast("CountingBackend", house.adapters[backend]),
        {name: (pool.ledger, pool.stockroom, pool.config.location) for name, pool in house.store.pools.items()},
        clock=house.clock,
        interval_s=section.counts_s,
        repair=section.counts_repair,
        moved=moved,
    )
