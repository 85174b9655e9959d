"""Sales in memory, with the laws of the port."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from msgspec.structs import replace

from flashd.domain.instant import to_ms
from flashd.domain.price import PriceRow
from flashd.domain.sale import Sale, SaleRecord, SaleState
from flashd.errors import Conflict, NotFound, StoreUnavailable


@dataclass
class FakeSales:
    pool: str = "main"
    now_ms: Callable[[], int] = lambda: 1
    versions: dict[str, list[SaleRecord]] = field(default_factory=dict)
    counted: dict[tuple[str, str], int] = field(default_factory=dict)  # (sale, SKU) -> units
    dirty: set[str] = field(default_factory=set)
    told: dict[tuple[str, str, int], int] = field(default_factory=dict)
    said: list[tuple[str, str]] = field(default_factory=list)  # (kind, sale), as announced

    async def put(self, sale: Sale, *, by: str, version: int = 0) -> SaleRecord:
        old = self.versions.get(sale.name, [])
        if old and old[-1].state is SaleState.ENDED:
            raise Conflict(f"sale {sale.name} has ended", state="ended")
        if old and version and old[-1].version != version:
            raise Conflict(f"sale {sale.name} is at version {old[-1].version}", version=old[-1].version)
        if old and old[-1].sale == sale:
            return old[-1]
        for other in await self.all():
            theirs = other.sale
            if theirs.name == sale.name or other.state is SaleState.ENDED:
                continue
            shared = {one.sku for one in theirs.products} & {one.sku for one in sale.products}
            if shared and sale.start < theirs.end and theirs.start < sale.end:
                raise Conflict(f"{min(shared)} is in sale {theirs.name} at the same time", sale=theirs.name)
        state = old[-1].state if old else SaleState.READY
        record = SaleRecord(sale=sale, version=len(old) + 1, state=state, by=by, changed_ms=self.now_ms())
        self.versions.setdefault(sale.name, []).append(record)
        self._mark(*(one.sale for one in old[-1:]), sale)
        return record

    async def set_state(self, name: str, state: SaleState, *, by: str) -> SaleRecord:
        if name not in self.versions:
            raise NotFound(f"there is no sale {name}")
        record = self.versions[name][-1]
        if record.state is state:
            return record
        if record.state is SaleState.ENDED:
            raise Conflict(f"sale {name} has ended", state="ended")
        self.versions[name][-1] = replace(record, state=state, by=by, changed_ms=self.now_ms())
        self._mark(record.sale)
        return self.versions[name][-1]

    async def get(self, name: str, *, version: int = 0) -> SaleRecord | None:
        kept = self.versions.get(name, [])
        return next((one for one in reversed(kept) if version in (0, one.version)), None)

    async def all(self) -> list[SaleRecord]:
        return sorted((kept[-1] for kept in self.versions.values()), key=lambda one: (one.sale.start, one.sale.name))

    async def used(self, name: str, skus: Sequence[str] = ()) -> dict[str, int]:
        record = await self.get(name)
        wanted = skus or ([one.sku for one in record.sale.products] if record else ())
        return {sku: self.counted.get((name, sku), 0) for sku in wanted}

    def _mark(self, *sales: Sale) -> None:
        for sale in sales:
            self.dirty |= {one.sku for one in sale.products}

    async def history(self, name: str, *, limit: int = 50) -> list[SaleRecord]:
        return list(reversed(self.versions.get(name, [])))[:limit]

    async def clock_ms(self) -> int:
        return self.now_ms()

    async def boundary(self, record: SaleRecord, kind: Literal["opened", "over"]) -> bool:
        now_ms, sale = self.now_ms(), record.sale
        newest = await self.get(sale.name)
        if newest is None or newest.version != record.version or newest.state is SaleState.ENDED:
            return False
        start_ms, end_ms = to_ms(sale.start), to_ms(sale.end)
        at_ms = start_ms if kind == "opened" else end_ms
        if now_ms < at_ms or (kind == "opened" and now_ms >= end_ms) or (sale.name, kind, at_ms) in self.told:
            return False
        self.told[sale.name, kind, at_ms] = now_ms
        self.said.append((f"sale.{kind}", sale.name))
        self._mark(sale)
        return True


@dataclass
class FakePriceBook:
    """Prices in memory; *faults* loses the reply of the next call (True: it was done) or does not do it (False)."""

    pool: str = "main"
    kept: dict[str, dict[tuple[str, str], PriceRow]] = field(default_factory=dict)
    faults: list[bool | None] = field(default_factory=list)
    history: list[PriceRow] = field(default_factory=list)

    async def rows(self, channel: str) -> list[PriceRow]:
        own = self.kept.get(channel, {})
        return [own[key] for key in sorted(own)]

    async def change(self, channel: str, changes: Sequence[tuple[PriceRow | None, PriceRow]]) -> list[bool]:
        fault = self.faults.pop(0) if self.faults else None
        if fault is False:
            raise StoreUnavailable("not done")
        own = self.kept.setdefault(channel, {})
        put: list[bool] = []
        for before, after in changes:
            key = (after.sale, after.sku)
            put.append(own.get(key) in (before, after))
            if put[-1]:
                own[key] = after
                self.history.append(after)
        if fault is True:
            raise StoreUnavailable("done, and the reply is lost")
        return put
