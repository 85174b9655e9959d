"""Kits: SKUs that are put together from others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from flashd.domain.catalogue import Component, Kit, kit_units
from flashd.domain.stock import StockLevel
from flashd.errors import NotFound
from flashd.web.admin_desk import IMPORT_BYTES, AdminDesk
from flashd.web.csv_rows import read_kits
from flashd.web.doors import PoolDoor
from flashd.web.endpoint import Endpoint, flag
from flashd.web.native import checked_id
from flashd.web.problem import Malformed, encode
from flashd.web.tokens import Scope
from flashd.web.view import Sku

COMPONENTS = 100


class NewKit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a kit is put together from: units by SKU."""

    components: Annotated[dict[Sku, Annotated[int, Meta(ge=1, le=10**6)]], Meta(min_length=1, max_length=COMPONENTS)]


class KitView(msgspec.Struct, frozen=True, kw_only=True):
    """One kit, and how many of it can be put together at the places where all of its components lie."""

    sku: str
    components: dict[str, int]
    available: int
    unknown: tuple[str, ...] = ()  # components that the pool does not know: none can be put together

    @classmethod
    def of(cls, kit: Kit, levels: Mapping[str, Mapping[str, StockLevel]]) -> KitView:
        """Show a kit; *levels* by location and SKU."""
        known = {sku for place in levels.values() for sku in place}
        return cls(
            sku=kit.sku,
            components={part.sku: part.quantity for part in kit.components},
            available=sum(kit_units(kit, {sku: level.free for sku, level in at.items()}) for at in levels.values()),
            unknown=tuple(sorted({part.sku for part in kit.components} - known)),
        )


class KitList(msgspec.Struct, frozen=True, kw_only=True):
    """The kits of a pool."""

    pool: str
    kits: tuple[KitView, ...]


class KitChange(msgspec.Struct, frozen=True, kw_only=True):
    """What a kit was put together from before, and what it is now; {}: it was, or is, no kit."""

    sku: str
    before: dict[str, int]
    after: dict[str, int]
    unknown: tuple[str, ...] = ()


class KitsChanged(msgspec.Struct, frozen=True, kw_only=True):
    """What an import changed, or would change in a dry run."""

    pool: str
    dry_run: bool
    unchanged: int
    changes: tuple[KitChange, ...]


class AdminKits:
    """``/admin/v1/kits``."""

    def __init__(self, desk: AdminDesk) -> None:
        self._desk = desk

    def endpoints(self) -> list[Endpoint]:
        """List the routes."""
        pool = {"pool": "which pool"}
        return [
            Endpoint(
                method="GET",
                path="/admin/v1/kits",
                name="list_kits",
                summary="All kits, their components, and how many can be put together",
                handler=self.list_,
                answers={200: KitList},
                query=pool,
            ),
            Endpoint(
                method="PUT",
                path="/admin/v1/kits/{sku}",
                name="set_kit",
                summary="Say what a SKU is put together from; orders that were taken keep what they had",
                handler=self.set,
                scope=Scope.OPERATE,
                takes=NewKit,
                answers={200: KitChange},
                query=pool,
            ),
            Endpoint(
                method="DELETE",
                path="/admin/v1/kits/{sku}",
                name="remove_kit",
                summary="Make a SKU no kit any more",
                handler=self.remove,
                scope=Scope.OPERATE,
                answers={200: KitChange},
                query=pool,
            ),
            Endpoint(
                method="POST",
                path="/admin/v1/kits/import",
                name="import_kits",
                summary="Kits as CSV (kit,component,quantity): all of them or none; others stay as they are",
                handler=self.import_,
                scope=Scope.OPERATE,
                takes=str,
                takes_media="text/csv",
                answers={200: KitsChanged},
                query={**pool, "dry_run": "only say what would change"},
            ),
        ]

    async def list_(self, request: web.Request) -> web.Response:
        """Show all."""
        name, pool = self._desk.pool(request)
        kits = await pool.listings.kits()
        parts = sorted({part.sku for kit in kits.values() for part in kit.components})
        levels: dict[str, dict[str, StockLevel]] = {}
        for level in await pool.ledger.levels(parts) if parts else ():
            levels.setdefault(level.location, {})[level.sku] = level
        return encode(200, KitList(pool=name, kits=tuple(KitView.of(kit, levels) for kit in kits.values())))

    async def set(self, request: web.Request) -> web.Response:
        """Define one kit."""
        wish = await self._desk.read(request, NewKit)
        name, pool = self._desk.pool(request)
        sku = checked_id(request.match_info["sku"], "the SKU")
        parts = tuple(Component(checked_id(part, "a component"), units) for part, units in wish.components.items())
        return encode(200, await self._put(request, name, pool, Kit(sku, parts)))

    async def remove(self, request: web.Request) -> web.Response:
        """Make it a plain SKU."""
        name, pool = self._desk.pool(request)
        sku = checked_id(request.match_info["sku"], "the SKU")
        if sku not in await pool.listings.kits():
            raise NotFound(f"pool {name!r} has no kit {sku}")
        return encode(200, await self._put(request, name, pool, Kit(sku, ())))

    async def import_(self, request: web.Request) -> web.Response:
        """Define many, in one step."""
        name, pool = self._desk.pool(request)
        dry_run = flag(request, "dry_run")
        kits = read_kits(await self._desk.body(request, limit=IMPORT_BYTES))
        if any(len(kit.components) > COMPONENTS for kit in kits):
            raise Malformed(f"a kit has at most {COMPONENTS} components")
        before = await pool.listings.kits()
        fresh = [kit for kit in kits if _parts(before.get(kit.sku)) != _parts(kit)]
        changes = await _changes(pool, fresh, before)
        if not dry_run and fresh:
            await pool.listings.put_kits(fresh, by=self._desk.caller(request).name)
            for change in changes:
                await self._tell(request, name, change)
        unchanged = len(kits) - len(fresh)
        return encode(200, KitsChanged(pool=name, dry_run=dry_run, unchanged=unchanged, changes=tuple(changes)))

    async def _put(self, request: web.Request, name: str, pool: PoolDoor, kit: Kit) -> KitChange:
        (change,) = await _changes(pool, [kit], await pool.listings.kits())
        if change.before != change.after:
            await pool.listings.put_kits([kit], by=self._desk.caller(request).name)
            await self._tell(request, name, change)
        return change

    async def _tell(self, request: web.Request, pool: str, change: KitChange) -> None:
        await self._desk.changed(
            request, "stock.kit_set", change.sku, pool=pool, before=change.before, after=change.after
        )


def _parts(kit: Kit | None) -> dict[str, int]:
    return {part.sku: part.quantity for part in kit.components} if kit is not None else {}


async def _changes(pool: PoolDoor, kits: Sequence[Kit], before: Mapping[str, Kit]) -> list[KitChange]:
    parts = sorted({part.sku for kit in kits for part in kit.components})
    known = {level.sku for level in await pool.ledger.levels(parts)} if parts else set()
    return [
        KitChange(
            sku=kit.sku,
            before=_parts(before.get(kit.sku)),
            after=_parts(kit),
            unknown=tuple(sorted({part.sku for part in kit.components} - known)),
        )
        for kit in kits
    ]
