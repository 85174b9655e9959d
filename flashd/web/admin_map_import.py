"""Filling the map of a channel: from its platform, which takes a while, or from a CSV."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from flashd.domain.catalogue import Product
from flashd.domain.instant import parse_ms
from flashd.domain.mapping import Counting, CutOver, MapPlan, judge_cut_over, plan_entries, plan_import
from flashd.domain.stock import StockLevel
from flashd.errors import ChannelUnavailable, Conflict, Refused, Transient
from flashd.ports import ChannelApi
from flashd.web.admin_desk import IMPORT_BYTES, AdminDesk
from flashd.web.admin_map import known_of
from flashd.web.connection import write_or_cut
from flashd.web.csv_rows import read_map
from flashd.web.doors import ChannelDoor, PoolDoor
from flashd.web.endpoint import Endpoint, flag
from flashd.web.problem import Malformed, understand
from flashd.web.tokens import Scope

AT_ONCE = 50  # counts that share one fsync
STEP = 250  # products read, or entries written, between two words on progress


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


class AdminMapImport:
    """``/admin/v1/channels/{name}/map/import``."""

    def __init__(self, desk: AdminDesk) -> None:
        self._desk = desk

    def endpoints(self) -> list[Endpoint]:
        """List the routes."""
        return [
            Endpoint(
                method="POST",
                path="/admin/v1/channels/{name}/map/import",
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
        door, pool = self._desk.seat(request)
        dry_run, overwrite, stock = (flag(request, name) for name in ("dry_run", "overwrite", "stock"))
        body = await self._desk.body(request, limit=IMPORT_BYTES)
        if request.content_type == "text/csv":
            if stock:
                raise Malformed("a CSV of ids holds no counts: POST those to /admin/v1/stock/import")
            entries = read_map(body)
            plan = plan_entries(entries, await known_of(door, pool), force=overwrite)
            source, products, cut_over, oversells = "csv", len(entries), None, False
        else:
            api = _api_of(door)
            wanted_ms = _since(request)
            found, asked_ms = await self._read(api, told)
            plan = plan_import(found, await known_of(door, pool), stock=stock, overwrite=overwrite)
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
