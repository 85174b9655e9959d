"""What the channels of a pool may sell, for callers that ask often: kits and sales are read once in a while only."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from flashd.domain.catalogue import Kit
from flashd.domain.listing import Listing
from flashd.domain.offer import Stock, free_at, offered
from flashd.domain.sale import SaleRecord
from flashd.domain.standing import NO_SALE, Standing, standings
from flashd.domain.stock import StockLevel
from flashd.web.doors import ChannelDoor, Doors, PoolDoor
from flashd.web.view import StockView

KITS_S = 1.0
SALES_S = 0.2


class Offers:
    """The offers of one pool."""

    def __init__(self, doors: Doors, pool: str) -> None:
        self._doors = doors
        self._name = pool
        self._pool: PoolDoor = doors.pools[pool]
        self._kits: Mapping[str, Kit] = {}
        self._records: list[SaleRecord] = []
        self._standings: dict[str, dict[str, Standing]] = {}  # channel -> SKU
        self._kits_s = self._sales_s = float("-inf")

    async def views(self, skus: Sequence[str]) -> dict[str, StockView]:
        """Return what may be sold of each SKU that the pool knows, in the order given."""
        await self._refresh()
        channels = [door for door in self._doors.channels.values() if door.pool == self._name]
        parts = {part.sku for sku in skus if sku in self._kits for part in self._kits[sku].components}
        levels, rows, used = await asyncio.gather(
            self._pool.ledger.levels(list(dict.fromkeys((*skus, *sorted(parts))))),
            self._granted(channels, skus),
            self._used(channels, skus),
        )
        stock: dict[str, dict[str, StockLevel]] = {}
        for level in levels:
            stock.setdefault(level.sku, {})[level.location] = level
        return {
            sku: StockView(
                sku=sku,
                available=sum(places.values()),
                locations=places,
                channels={door.name: self._offer(sku, door, stock, rows, used) for door in channels},
            )
            for sku in skus
            if sku in stock or sku in self._kits
            for places in [self._places(sku, stock)]
        }

    def _offer(
        self,
        sku: str,
        door: ChannelDoor,
        stock: Stock,
        rows: Mapping[str, Mapping[str, Listing]],
        used: Mapping[tuple[str, str], int],
    ) -> int:
        standing = self._standing(door.name, sku)
        return offered(
            sku,
            door.terms(),
            stock,
            self._kits,
            standing=standing,
            used=used.get((standing.sale, sku), 0),
            row=rows.get(door.name, {}).get(sku),
        )

    def _places(self, sku: str, stock: Stock) -> dict[str, int]:
        kit = self._kits.get(sku)
        names = [sku] if kit is None else [part.sku for part in kit.components]
        places = dict.fromkeys(place for name in names for place in stock.get(name, {}))
        return {place: free_at(sku, (place,), stock, self._kits) for place in places}

    def _standing(self, channel: str, sku: str) -> Standing:
        if channel not in self._standings:
            self._standings[channel] = standings(self._records, channel, self._doors.clock.now_ms())
        return self._standings[channel].get(sku, NO_SALE)

    async def _granted(self, channels: Sequence[ChannelDoor], skus: Sequence[str]) -> dict[str, dict[str, Listing]]:
        names = [door.name for door in channels if door.terms().mode == "escrow"]
        found = await asyncio.gather(*(self._pool.listings.get(name, skus) for name in names))
        return {name: {row.sku: row for row in rows} for name, rows in zip(names, found, strict=True)}

    async def _used(self, channels: Sequence[ChannelDoor], skus: Sequence[str]) -> dict[tuple[str, str], int]:
        by_sale: dict[str, set[str]] = {}
        for door in channels:
            for sku in skus:
                standing = self._standing(door.name, sku)
                if standing.quota:
                    by_sale.setdefault(standing.sale, set()).add(sku)
        return {
            (sale, sku): units
            for sale, wanted in by_sale.items()
            for sku, units in (await self._pool.sales.used(sale, sorted(wanted))).items()
        }

    async def _refresh(self) -> None:
        now_s = self._doors.clock.monotonic_s()
        if now_s - self._kits_s >= KITS_S:
            self._kits, self._kits_s = await self._pool.listings.kits(), now_s
        if now_s - self._sales_s >= SALES_S:
            self._records, self._sales_s = await self._pool.sales.all(), now_s
            self._standings.clear()
