"""The map of a channel: under which ids each SKU is known there; shown, and set by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from flashd.domain.catalogue import Entry
from flashd.domain.listing import UNKNOWN, Listing
from flashd.domain.mapping import Gaps, Known, map_gaps, plan_entries, shows
from flashd.errors import Conflict, NotFound
from flashd.web.admin_desk import AdminDesk
from flashd.web.doors import ChannelDoor, PoolDoor
from flashd.web.endpoint import Endpoint, flag, number
from flashd.web.native import checked_id
from flashd.web.problem import encode
from flashd.web.tokens import Scope

PAGE = 1000
Id = Annotated[str, Meta(max_length=500)]


class NewEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The ids of one SKU on the channel, as its adapter names them (docs/channels/)."""

    ids: dict[Id, Id]
    title: Annotated[str, Meta(max_length=500)] = ""


class EntryView(msgspec.Struct, frozen=True, kw_only=True):
    """One SKU of a channel's map, and what the channel shows of it."""

    sku: str
    ids: dict[str, str]
    title: str
    source: str  # import, csv or hand
    known: bool  # the pool sells it; one that it does not know is shown as 0
    figure: int | None  # as far as is known; None: nobody knows
    exposed: int
    state: str

    @classmethod
    def of(cls, entry: Entry, row: Listing | None, *, known: bool) -> EntryView:
        """Show one entry."""
        row = row or Listing(sku=entry.sku)
        return cls(
            sku=entry.sku,
            ids=entry.ids,
            title=entry.title,
            source=entry.source,
            known=known,
            figure=None if row.figure == UNKNOWN else row.figure,
            exposed=row.exposed,
            state=str(row.state),
        )


class MapPage(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a channel's map, by SKU, and what the whole map lacks."""

    channel: str
    pool: str
    total: int
    entries: tuple[EntryView, ...]
    gaps: Gaps
    next_offset: int | None = None


class Mapped(msgspec.Struct, frozen=True, kw_only=True):
    """What a change of one entry did."""

    sku: str
    before: Entry | None
    after: Entry | None
    warning: str = ""


class AdminMap:
    """``/admin/v1/channels/{name}/map``."""

    def __init__(self, desk: AdminDesk) -> None:
        self._desk = desk

    def endpoints(self) -> list[Endpoint]:
        """List the routes."""
        root, force = "/admin/v1/channels/{name}/map", {"force": "also where the platform still sells under former ids"}
        return [
            Endpoint(
                method="GET",
                path=root,
                name="show_map",
                summary="The channel's map, by SKU, and its gaps",
                handler=self.show,
                answers={200: MapPage},
                query={"sku": "only this SKU; several times for several", "offset": "", "limit": "how many at most"},
            ),
            Endpoint(
                method="PUT",
                path=f"{root}/{{sku}}",
                name="map_sku",
                summary="Say under which ids the channel knows a SKU: from then on its figure is published",
                handler=self.put,
                scope=Scope.OPERATE,
                takes=NewEntry,
                answers={200: Mapped},
                query=force,
            ),
            Endpoint(
                method="DELETE",
                path=f"{root}/{{sku}}",
                name="unmap_sku",
                summary="Take a SKU out of the map: its figure is left as it is, so take it to zero first",
                handler=self.delete,
                scope=Scope.OPERATE,
                answers={200: Mapped},
                query=force,
            ),
        ]

    async def show(self, request: web.Request) -> web.Response:
        """Show a page, or the SKUs that are named."""
        door, pool = self._desk.seat(request)
        offset = number(request, "offset", 0, most=10**9)
        limit = number(request, "limit", 100, least=1, most=PAGE)
        entries = await pool.listings.entries(door.name)
        sold = await _sold(pool)
        wanted = [checked_id(sku, "the SKU") for sku in request.query.getall("sku", [])]
        skus = [sku for sku in wanted if sku in entries] if wanted else sorted(entries)[offset : offset + limit]
        rows = {row.sku: row for row in await pool.listings.get(door.name, skus)} if skus else {}
        page = MapPage(
            channel=door.name,
            pool=door.pool,
            total=len(entries),
            entries=tuple(EntryView.of(entries[sku], rows.get(sku), known=sku in sold) for sku in skus),
            gaps=map_gaps(entries, sold),
            next_offset=offset + limit if not wanted and offset + limit < len(entries) else None,
        )
        return encode(200, page)

    async def put(self, request: web.Request) -> web.Response:
        """Set one entry by hand."""
        wish = await self._desk.read(request, NewEntry)
        door, pool = self._desk.seat(request)
        sku = checked_id(request.match_info["sku"], "the SKU")
        known = await known_of(door, pool, [sku])
        entry = Entry(sku=sku, ids=wish.ids, title=wish.title, source="hand")
        plan = plan_entries([entry], known, force=flag(request, "force"))
        if sku in plan.kept:
            raise Conflict(f"{sku}: {plan.kept[sku]}, or write ?force")
        before = known.entries.get(sku)
        if plan.places:
            await pool.listings.place(door.name, plan.places, by=self._desk.caller(request).name)
            await self._desk.changed(
                request, "channel.mapped", f"{door.name} {sku}", pool=door.pool, before=before, after=entry
            )
        warning = "" if sku in known.sold_here else f"pool {door.pool} does not know {sku}: it is shown as 0"
        after = entry if plan.places else before
        return encode(200, Mapped(sku=sku, before=before, after=after, warning=warning))

    async def delete(self, request: web.Request) -> web.Response:
        """Take one entry out."""
        door, pool = self._desk.seat(request)
        sku = checked_id(request.match_info["sku"], "the SKU")
        known = await known_of(door, pool, [sku])
        before, row = known.entries.get(sku), known.listings.get(sku)
        if before is None:
            raise NotFound(f"the map of {door.name} does not have {sku}")
        if row is not None and shows(row) and not flag(request, "force"):
            raise Conflict(
                f"{sku}: {door.name} still sells {max(row.figure, row.exposed)} of it. Take it to zero first with"
                f' publish.skus."{sku}" = {{ percent = 0 }}, or write ?force'
            )
        await pool.listings.displace(door.name, [sku], by=self._desk.caller(request).name)
        await self._desk.changed(request, "channel.unmapped", f"{door.name} {sku}", pool=door.pool, before=before)
        return encode(200, Mapped(sku=sku, before=before, after=None))


async def _sold(pool: PoolDoor) -> set[str]:
    return {level.sku for level in await pool.ledger.levels()} | set(await pool.listings.kits())


async def known_of(door: ChannelDoor, pool: PoolDoor, skus: Sequence[str] = ()) -> Known:
    """Return what is known of some SKUs, or of all: their entries, their stock, what the channel shows of them."""
    levels = await pool.ledger.levels(skus)
    return Known(
        entries=await pool.listings.entries(door.name, skus),
        listings={row.sku: row for row in await pool.listings.get(door.name, skus)},
        stocked={level.sku for level in levels},
        busy={level.sku for level in levels if level.held or level.sold},
        kits=set(await pool.listings.kits()),
    )
