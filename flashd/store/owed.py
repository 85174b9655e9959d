"""
Does what paid orders lack and claim add up? Counters, the row of who waits and the records, read in one transaction.

Claims are no moves of the journal, so they are compared as of one instant of their own: who waits is read, and then
once more together with everything else; if somebody came or went in between, it is read again.
"""

from __future__ import annotations

from typing import Any

from flashd.domain.order import OrderRef, OrderState
from flashd.store.census import Difference, Units
from flashd.store.keys import order_key, pool_key
from flashd.store.packing import unpack_items, unpack_level

_ATTEMPTS = 20
_RETRY = "count it again: flashd stock recount; who waits is served with it"


async def check_owed(client: Any, pool: str) -> list[Difference]:
    """Return what does not add up; nothing where it changes faster than it is read."""
    owing, stock = pool_key(pool, "owing"), pool_key(pool, "stock")
    for _ in range(_ATTEMPTS):
        row = await client.zrange(owing, 0, -1)
        orders = sorted({member.decode().split("\x1f", 3)[3] for member in row})
        async with client.pipeline(transaction=True) as pipe:
            pipe.zrange(owing, 0, -1)
            pipe.hgetall(stock)
            for member in orders:
                pipe.hmget(order_key(pool, OrderRef.parse(member)), "s", "w")
            again, levels, *records = await pipe.execute()
        if again == row:
            return _compare(orders, row, levels, records)
    return []


def _compare(orders: list[str], row: list[bytes], levels: dict[bytes, bytes], records: list[Any]) -> list[Difference]:
    found: list[Difference] = []
    claimed: Units = {}
    waiting: set[tuple[str, str, str]] = set()
    for name, (head, packed) in zip(orders, records, strict=True):
        said = (head or b"none").split(b" ")[0].decode()
        if said not in {OrderState.SHORTFALL, OrderState.BACKORDER}:
            found.append(_difference("it waits for goods and is not short", name, "shortfall or backorder", said))
        for item in unpack_items(packed or b""):
            waiting.add((item.sku, item.location, name))
            claimed[item.sku, item.location] = claimed.get((item.sku, item.location), 0) + item.quantity
    for sku, location, _, name in (member.decode().split("\x1f", 3) for member in row):
        if (sku, location, name) not in waiting:
            found.append(
                _difference("it stands in the row and claims nothing", name, "a claim", f"{sku} at {location}")
            )
    owed: Units = {}
    for field, counters in levels.items():
        sku, _, location = field.decode().partition("\x1f")
        owed[sku, location] = unpack_level(sku, location, counters.split(b" ")).owed
    for place in sorted(claimed.keys() | {place for place, units in owed.items() if units}):
        if claimed.get(place, 0) != owed.get(place, 0):
            where, wanted = f"{place[0]} at {place[1]}", str(claimed.get(place, 0))
            found.append(_difference("owed is not what paid orders lack", where, wanted, str(owed.get(place, 0))))
    return found


def _difference(what: str, where: str, expected: str, found: str) -> Difference:
    return Difference(what=what, where=where, expected=expected, found=found, mend=_RETRY)
