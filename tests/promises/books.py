"""What flashd knows, twice: by the executable specification alone, and in a real store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace
from redis.asyncio import Redis

from flashd.domain.listing import Listing, restock, sell, unsell
from flashd.domain.order import Effect, Incoming, Line, Order
from flashd.domain.reservation import HoldCode, HoldRequest
from flashd.domain.stock import Move, StockLevel
from flashd.domain.terms import SellingTerms
from flashd.store.ledger import RedisLedger
from flashd.store.listings import RedisListings
from flashd.store.stockroom import RedisStockroom
from tests.fakes.listings import FakeListings
from tests.fakes.pool import FakePool
from tests.promises.law import SKU
from tests.promises.shops import Shop, Told

PLACE = (SKU, "main")


@dataclass
class Known:
    told: Told
    taken: int


class DomainBooks:
    """Pure functions over Listing and StockLevel; orders are kept as simply as the law allows."""

    def __init__(self) -> None:
        self.pool = FakePool()
        self.listings = FakeListings(self.pool)
        self.known: dict[str, Known] = {}
        self.holds: dict[str, int] = {}

    @property
    def _level(self) -> StockLevel:
        return self.pool.levels[PLACE]

    def _move(self, **counters: int) -> None:
        self.pool.levels[PLACE] = self._level.moved(Move(SKU, "main", **counters))

    async def accept(self, shop: Shop, versions: Sequence[Told]) -> None:
        for told in versions:
            known = self.known.get(told.order)
            if known is not None and told.version <= known.told.version:
                continue
            row = self.pool.listings.get((shop.name, SKU), Listing(sku=SKU))
            taken = known.taken if known is not None else 0
            if known is None and not told.cancelled:
                row, taken = self._sell(row, told)
            elif known is None and shop.restocks:
                row = unsell(row, told.units)
            elif known is not None and told.cancelled:
                row, taken = self._cancel(row, told.units, taken, shop), 0
            self.pool.listings[shop.name, SKU] = row
            self.known[told.order] = Known(told, taken)
        self._serve()

    def _serve(self) -> None:
        """What is free goes first to paid orders that fell short, and what they still miss is nobody else's."""
        level = replace(self._level, owed=0)
        owing = [known for known in self.known.values() if not known.told.cancelled]
        for known in owing:
            units = min(known.told.units - known.taken, level.free)
            known.taken += units
            level = level.moved(Move(SKU, "main", sold=units))
        self.pool.levels[PLACE] = replace(level, owed=sum(known.told.units - known.taken for known in owing))

    def _sell(self, row: Listing, told: Told) -> tuple[Listing, int]:
        backed = row.backed
        row, exposed = sell(row, told.units, placed_ms=told.placed_ms)
        if backed:
            self._move(exposed=-exposed, sold=exposed)
        had = exposed if backed else 0
        free = max(0, min(told.units - had, self._level.free))
        self._move(sold=free)
        return row, had + free

    def _cancel(self, row: Listing, units: int, taken: int, shop: Shop) -> Listing:
        back = min(taken, self._level.sold)
        self._move(sold=-back)
        if not shop.restocks:
            return row
        if row.backed:
            self._move(exposed=back)
        return restock(row, units, risen=back if row.backed else units)

    async def recount(self, on_hand: int, safety: int) -> None:
        was = self.pool.levels.get(PLACE, StockLevel(sku=SKU))
        self.pool.levels[PLACE] = replace(was, on_hand=on_hand, safety=safety)
        self._serve()

    async def level(self) -> StockLevel:
        self._serve()
        return self._level

    async def short(self) -> int:
        return sum(known.told.units - known.taken for known in self.known.values() if not known.told.cancelled)

    async def hold(self, hold: str, units: int) -> bool:
        if self._level.free < units:
            return False
        self._move(held=units)
        self.holds[hold] = units
        return True

    async def release(self, hold: str) -> None:
        self._move(held=-self.holds.pop(hold, 0))

    async def counted(self, shop: Shop) -> dict[str, int]:
        """Units of each order of the shop that is known and not cancelled."""
        mine = (known.told for known in self.known.values() if known.told.order in shop.purchases)
        return {told.order: told.units for told in mine if not told.cancelled}


class StoreBooks:
    """The ledger and the listings of a pool in Redis or Valkey."""

    def __init__(self, client: Redis, shops: Sequence[Shop], *, backed: bool) -> None:
        mode = "escrow" if backed else "mirror"
        terms = {shop.name: SellingTerms(mode=mode, restocks=shop.restocks) for shop in shops}  # type: ignore[arg-type]
        self.ledger = RedisLedger(client, "main", terms=terms)
        self.listings = RedisListings(client, "main", terms=terms)
        self.stockroom = RedisStockroom(client, "main")

    async def accept(self, shop: Shop, versions: Sequence[Told]) -> None:
        incoming = [_incoming(shop.name, told) for told in versions]
        await self.ledger.accept(incoming, ["erp"] * len(incoming), since_ms=0)

    async def recount(self, on_hand: int, safety: int) -> None:
        await self.ledger.recount(StockLevel(sku=SKU, on_hand=on_hand, safety=safety))

    async def level(self) -> StockLevel:
        [level] = await self.ledger.levels([SKU])
        if level.owed and level.atp > level.exposed:
            await self.stockroom.serve()
            [level] = await self.ledger.levels([SKU])
        return level

    async def short(self) -> int:
        return (await self.level()).owed

    async def hold(self, hold: str, units: int) -> bool:
        request = HoldRequest(id=hold, lines=(Line(SKU, units),), ttl_ms=3_600_000, digest=str(units), channel="till")
        return (await self.ledger.hold([request]))[0].code is HoldCode.HELD

    async def release(self, hold: str) -> None:
        await self.ledger.release(hold, "changed their mind")


def _incoming(channel: str, told: Told) -> Incoming:
    lines = (Line(SKU, told.units, 100),)
    order = Order(
        channel=channel, id=told.order, placed_ms=told.placed_ms, currency="EUR", lines=lines, total=100 * told.units
    )
    return Incoming(order=order, version=told.version, effect=Effect.CANCEL if told.cancelled else Effect.DELIVER)
