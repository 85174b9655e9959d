"""Stock, as an operator counts it."""

from __future__ import annotations

from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import UNSET, Meta, UnsetType

from flashd.domain.stock import StockLevel
from flashd.errors import NotFound
from flashd.web.admin_desk import IMPORT_BYTES, AdminDesk
from flashd.web.csv_rows import ROWS, fitted, read_rows
from flashd.web.doors import PoolDoor
from flashd.web.endpoint import Endpoint, flag
from flashd.web.native import checked_id
from flashd.web.problem import Malformed, encode
from flashd.web.tokens import Scope
from flashd.web.view import Sku, Units

Location = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]


class Count(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A count of one SKU; what is left out stays as it is."""

    on_hand: Units
    location: Location | None = None
    safety: Units | UnsetType = UNSET
    seq: Units = 0  # a count with a sequence number that is not higher than the last changes nothing
    lacks: Units = 0  # sold units that this count already lacks


class Row(Count, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One row of an import."""

    sku: Sku


class LevelView(msgspec.Struct, frozen=True, kw_only=True):
    """The counters of one SKU at one location."""

    sku: str
    location: str
    on_hand: int
    held: int
    sold: int
    exposed: int
    safety: int
    atp: int
    free: int
    seq: int
    owed: int

    @classmethod
    def of(cls, level: StockLevel) -> LevelView:
        """Show a level and what follows from it."""
        return cls(atp=level.atp, free=level.free, **msgspec.structs.asdict(level))


class LevelList(msgspec.Struct, frozen=True, kw_only=True):
    """The stock of a pool."""

    pool: str
    levels: tuple[LevelView, ...]


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """What a count changed, or would change in a dry run; *deficit* says how many promised units are not there."""

    before: LevelView | None
    after: LevelView
    applied: bool
    deficit: int = 0


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """What an import changed, row by row."""

    pool: str
    dry_run: bool
    rows: tuple[Counted, ...]


class AdminStock:
    """``/admin/v1/stock``."""

    def __init__(self, desk: AdminDesk) -> None:
        self._desk = desk

    def endpoints(self) -> list[Endpoint]:
        """List the routes."""
        pool = {"pool": "which pool"}
        return [
            Endpoint(
                method="GET",
                path="/admin/v1/stock",
                name="list_stock",
                summary="All counters, or those of some SKUs",
                handler=self.list_,
                answers={200: LevelList},
                query={**pool, "sku": "only this SKU; several times for several"},
            ),
            Endpoint(
                method="GET",
                path="/admin/v1/stock/{sku}",
                name="show_stock",
                summary="The counters of one SKU",
                handler=self.show,
                answers={200: LevelList},
                query=pool,
            ),
            Endpoint(
                method="PUT",
                path="/admin/v1/stock/{sku}",
                name="set_stock",
                summary="Set on hand to a count",
                handler=self.set,
                scope=Scope.OPERATE,
                takes=Count,
                answers={200: Counted},
                query={**pool, "dry_run": "only say what would change"},
            ),
            Endpoint(
                method="POST",
                path="/admin/v1/stock/import",
                name="import_stock",
                summary="Counts as CSV (sku,on_hand[,location,safety,seq,lacks]) or as a JSON array of rows",
                handler=self.import_,
                scope=Scope.OPERATE,
                takes=list[Row],
                answers={200: Imported},
                query={**pool, "dry_run": "only say what would change"},
            ),
        ]

    async def list_(self, request: web.Request) -> web.Response:
        """Show counters."""
        name, pool = self._desk.pool(request)
        levels = await pool.ledger.levels(request.query.getall("sku", []))
        shown = tuple(LevelView.of(level) for level in sorted(levels, key=lambda level: (level.sku, level.location)))
        return encode(200, LevelList(pool=name, levels=shown))

    async def show(self, request: web.Request) -> web.Response:
        """Show one SKU at all its locations."""
        name, pool = self._desk.pool(request)
        sku = checked_id(request.match_info["sku"], "the SKU")
        levels = await pool.ledger.levels([sku])
        if not levels:
            raise NotFound(f"pool {name!r} does not have {sku}")
        return encode(200, LevelList(pool=name, levels=tuple(map(LevelView.of, levels))))

    async def set(self, request: web.Request) -> web.Response:
        """Count one SKU."""
        count = await self._desk.read(request, Count)
        name, pool = self._desk.pool(request)
        row = Row(sku=checked_id(request.match_info["sku"], "the SKU"), **msgspec.structs.asdict(count))
        _check_rows([row], pool.location)
        return encode(200, await self._count(request, name, pool, row, dry_run=flag(request, "dry_run")))

    async def import_(self, request: web.Request) -> web.Response:
        """Count many SKUs: every row is checked before the first is written."""
        name, pool = self._desk.pool(request)
        dry_run = flag(request, "dry_run")
        body = await self._desk.body(request, limit=IMPORT_BYTES)
        rows = _read_csv(body) if request.content_type == "text/csv" else msgspec.json.decode(body, type=list[Row])
        _check_rows(rows, pool.location)
        counted = [await self._count(request, name, pool, row, dry_run=dry_run) for row in rows]
        return encode(200, Imported(pool=name, dry_run=dry_run, rows=tuple(counted)))

    async def _count(self, request: web.Request, name: str, pool: PoolDoor, row: Row, *, dry_run: bool) -> Counted:
        location = row.location or pool.location
        known = {level.location: level for level in await pool.ledger.levels([row.sku])}
        before = known.get(location)
        safety = row.safety if row.safety is not UNSET else (before.safety if before else pool.safety_stock)
        wish = StockLevel(sku=row.sku, location=location, on_hand=row.on_hand, safety=safety, seq=row.seq)
        applied = row.seq == 0 or before is None or row.seq > before.seq
        if dry_run:
            old = before or StockLevel(sku=row.sku, location=location)
            after = old
            if applied:
                after = msgspec.structs.replace(
                    old,
                    on_hand=row.on_hand,
                    safety=safety,
                    sold=max(0, old.sold - row.lacks),
                    seq=max(row.seq, old.seq),
                )
        else:
            after = await pool.ledger.recount(wish, lacks=row.lacks, by=self._desk.caller(request).name)
            if after.owed:
                await pool.stockroom.serve()
        counted = Counted(
            before=LevelView.of(before) if before is not None else None,
            after=LevelView.of(after),
            applied=applied,
            deficit=max(0, -after.atp),
        )
        if not dry_run and applied:
            await self._desk.changed(
                request, "stock.counted", f"{row.sku}@{location}", pool=name, before=counted.before, after=counted.after
            )
        return counted


def _read_csv(body: bytes) -> list[Row]:
    known = set(Row.__struct_fields__)
    rows = read_rows(
        body,
        fits=lambda names: {"sku", "on_hand"} <= names <= known,
        header="sku,on_hand and, where wanted, location,safety,seq,lacks",
    )
    return [fitted(line, fields, Row) for line, fields in rows]


def _check_rows(rows: list[Row], default_location: str) -> None:
    if not 1 <= len(rows) <= ROWS:
        raise Malformed(f"an import has 1 to {ROWS} rows; this one has {len(rows)}")
    seen: set[tuple[str, str]] = set()
    for row in rows:
        if row.lacks and not row.seq:
            raise Malformed(f"{row.sku}: lacks needs seq, the number of the count: else a repeat would take them twice")
        key = (checked_id(row.sku, "the SKU"), row.location or default_location)
        if key in seen:
            raise Malformed(f"{row.sku} at {key[1]} stands there twice")
        seen.add(key)
