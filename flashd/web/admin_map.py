"""The map of a channel: under which ids each SKU is known there, imported from the platform or CSV, or set by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from aiohttp import web
from msgspec import Meta

from flashd.domain.catalogue import Entry, Product
from flashd.domain.instant import parse_ms
from flashd.domain.listing import UNKNOWN, Listing
from flashd.domain.mapping import (
    Counting,
    CutOver,
    Gaps,
    Known,
    MapPlan,
    judge_cut_over,
    map_gaps,
    plan_entries,
    plan_import,
    shows,
)
from flashd.domain.stock import StockLevel
from flashd.errors import ChannelUnavailable, Conflict, NotFound, Refused, Transient
from flashd.ports import ChannelApi
from flashd.web.admin_desk import IMPORT_BYTES, AdminDesk
from flashd.web.connection import write_or_cut
from flashd.web.csv_rows import read_map
from flashd.web.doors import ChannelDoor, PoolDoor
from flashd.web.endpoint import Endpoint, flag, number
from flashd.web.native import checked_id
from flashd.web.problem import Malformed, encode, understand
from flashd.web.tokens import Scope

PAGE = 1000
AT_ONCE = 50  # counts that share one fsync
STEP = 250  # products read, or entries written, between two words on progress
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


class Progress(msgspec.Struct, frozen=True):
    """A line that stands before the report of an import: how far it is."""

    step: str  # reading, counting, mapping
    done: int


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    """The last line of an import: what it wrote, or would write in a dry run."""

    channel: str
    pool: str
    source: str  # platform or csv
    dry_run: bool
    products: int  # that the platform lists, or rows of the CSV
    plan: MapPlan
    cut_over: CutOver | None = None  # of an import from the platform
    oversells: bool = False  # the platform may sell below its own figure under load, and does not ask for holds


class ChannelAway(Refused):
    """The channel's own API did not answer, or refused the login: nothing was written."""

    status = 502
    title = "channel_away"


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
            Endpoint(
                method="POST",
                path=f"{root}/import",
                name="import_map",
                summary="Fill the map from the platform (no body), or from CSV (sku and a column an id)",
                handler=self.import_,
                scope=Scope.OPERATE,
                takes=str,
                takes_media="text/csv",
                answers={200: ImportReport},
                media="application/x-ndjson",
                query={
                    "dry_run": "only say what would be written",
                    "stock": "take the platform's figures as first counts",
                    "overwrite": "also what was counted, or mapped by hand",
                    "since": "the cut-over to verify: now, or an instant with an offset",
                },
            ),
        ]

    def _seat(self, request: web.Request) -> tuple[ChannelDoor, PoolDoor]:
        door = self._desk.channel(request.match_info["name"])
        return door, self._desk.doors.pools[door.pool]

    async def show(self, request: web.Request) -> web.Response:
        """Show a page, or the SKUs that are named."""
        door, pool = self._seat(request)
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
        door, pool = self._seat(request)
        sku = checked_id(request.match_info["sku"], "the SKU")
        known = await _known(door, pool, [sku])
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
        door, pool = self._seat(request)
        sku = checked_id(request.match_info["sku"], "the SKU")
        known = await _known(door, pool, [sku])
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

    # ----------------------------------------------------------------------------------------------------- the import

    async def import_(self, request: web.Request) -> web.StreamResponse:
        """Fill the map: progress first, a line each, and the report as the last line, or what went wrong."""
        told = _Stream(request)
        try:
            return await told.end(await self._import(request, told))
        except (ChannelAway, Transient) as error:
            found = understand(error)
            if not told.begun or found is None:
                raise
            return await told.end(found.body)

    async def _import(self, request: web.Request, told: _Stream) -> ImportReport:
        door, pool = self._seat(request)
        dry_run, overwrite, stock = (flag(request, name) for name in ("dry_run", "overwrite", "stock"))
        body = await self._desk.body(request, limit=IMPORT_BYTES)
        if request.content_type == "text/csv":
            if stock:
                raise Malformed("a CSV of ids holds no counts: POST those to /admin/v1/stock/import")
            entries = read_map(body)
            plan = plan_entries(entries, await _known(door, pool), force=overwrite)
            source, products, cut_over, oversells = "csv", len(entries), None, False
        else:
            api = _api_of(door)
            wanted_ms = _since(request)
            found, asked_ms = await self._read(api, told)
            plan = plan_import(found, await _known(door, pool), stock=stock, overwrite=overwrite)
            counted = bool(plan.counts)
            cut_over = judge_cut_over(door.since_ms(), asked_ms if wanted_ms is None else wanted_ms, counted=counted)
            source, products, oversells = "platform", len(found), api.traits.oversells and not door.terms().asks
        if not dry_run:
            await self._write(request, door, pool, plan, told)
        return ImportReport(
            channel=door.name,
            pool=door.pool,
            source=source,
            dry_run=dry_run,
            products=products,
            plan=plan,
            cut_over=cut_over,
            oversells=oversells,
        )

    async def _read(self, api: ChannelApi, told: _Stream) -> tuple[list[Product], int]:
        """Return the platform's catalogue, and its clock just before."""
        found: list[Product] = []
        try:
            asked_ms = await api.now_ms()
            async for product in api.products():
                found.append(product)
                if len(found) % STEP == 0:
                    await told.tell(Progress("reading", len(found)))
        except ChannelUnavailable as error:
            raise ChannelAway(f"{api.name}: {error}; nothing was written") from error
        return found, asked_ms

    async def _write(
        self, request: web.Request, door: ChannelDoor, pool: PoolDoor, plan: MapPlan, told: _Stream
    ) -> None:
        """Write counts, then entries: what is mapped is published, and must not be shown as 0 for lack of a count."""
        by = self._desk.caller(request).name
        place = next(iter(door.terms().locations), pool.location)
        levels = {level.sku: level for level in await pool.ledger.levels() if level.location == place}

        async def count(one: Counting) -> None:
            before = levels.get(one.sku)
            safety = before.safety if before is not None else pool.safety_stock
            level = StockLevel(sku=one.sku, location=place, on_hand=one.units, safety=safety)
            await pool.ledger.recount(level, by=by)

        for start in range(0, len(plan.counts), AT_ONCE):
            await told.tell(Progress("counting", start))
            await asyncio.gather(*map(count, plan.counts[start : start + AT_ONCE]))
        for start in range(0, len(plan.places), STEP):
            await told.tell(Progress("mapping", start))
            await pool.listings.place(door.name, plan.places[start : start + STEP], by=by)
        if plan.counts or plan.places:
            after = {"entries": len(plan.places), "counts": len(plan.counts)}
            await self._desk.changed(request, "channel.map_imported", door.name, pool=door.pool, after=after)


class _Stream:
    """An answer of several lines; what is refused before the first is a problem like any other."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._response: web.StreamResponse | None = None

    @property
    def begun(self) -> bool:
        """Whether a line was sent: then the answer's status can no longer say that it failed."""
        return self._response is not None

    async def tell(self, line: msgspec.Struct | Mapping[str, Any]) -> web.StreamResponse:
        if self._response is None:
            self._response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
            await self._response.prepare(self._request)
        await write_or_cut(self._request, self._response, msgspec.json.encode(line) + b"\n")
        return self._response

    async def end(self, line: msgspec.Struct | Mapping[str, Any]) -> web.StreamResponse:
        response = await self.tell(line)
        await response.write_eof()
        return response


def _api_of(door: ChannelDoor) -> ChannelApi:
    outlet = door.outlet()
    if outlet is None:
        raise Conflict(f"flashd calls no API of {door.name}: give its address (docs/channels/), or import a CSV")
    return outlet.api


def _since(request: web.Request) -> int | None:
    """
    Return the cut-over that a human wants; None: the instant before the platform is asked.

    Raises:
        Malformed: It is no instant.
    """
    text = request.query.get("since", "now")
    if text == "now":
        return None
    try:
        return parse_ms(text)
    except ValueError as error:
        raise Malformed(f"since {error}, or now") from error


async def _sold(pool: PoolDoor) -> set[str]:
    return {level.sku for level in await pool.ledger.levels()} | set(await pool.listings.kits())


async def _known(door: ChannelDoor, pool: PoolDoor, skus: Sequence[str] = ()) -> Known:
    levels = await pool.ledger.levels(skus)
    return Known(
        entries=await pool.listings.entries(door.name, skus),
        listings={row.sku: row for row in await pool.listings.get(door.name, skus)},
        stocked={level.sku for level in levels},
        busy={level.sku for level in levels if level.held or level.sold},
        kits=set(await pool.listings.kits()),
    )
