"""The exposure meter: what channels may have sold unseen, and how many units could be sold twice."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from aiohttp import web

from flashd.domain.catalogue import Kit
from flashd.domain.listing import UNKNOWN, Listing
from flashd.domain.meter import Exposure, Meter, read_meter
from flashd.domain.stock import StockLevel
from flashd.errors import NotFound
from flashd.web.admin_desk import AdminDesk
from flashd.web.doors import Doors, PoolDoor
from flashd.web.endpoint import Endpoint, number
from flashd.web.native import checked_id
from flashd.web.problem import encode

PAGE = 1000
FRESH_S = 10.0  # the metrics of the meter are read again after so long
PART = 50  # and if that takes long, it may take one part in so many of the time


class ChannelShare(msgspec.Struct, frozen=True, kw_only=True):
    """What one channel shows of a SKU, and may have sold of it unseen or may still sell; kits count as their parts."""

    figure: int | None = None  # of the SKU itself; None: nobody knows, or only kits of it are shown there
    exposed: int = 0
    backed: bool = False  # these units are its own (escrow); else they are counted on by others as well (mirror)
    state: str = ""


class ExposureView(msgspec.Struct, frozen=True, kw_only=True):
    """One SKU, summed over its locations."""

    sku: str
    kit: bool
    on_hand: int
    held: int
    sold: int
    safety: int
    free: int
    backed: int
    unbacked: int
    twice: int  # units that could be sold twice, were all sold at once that mirror channels show
    channels: dict[str, ChannelShare]


class ExposureTotal(msgspec.Struct, frozen=True, kw_only=True):
    """The whole pool, on whatever page."""

    skus: int  # that are exposed
    backed: int
    unbacked: int
    twice: int


class ExposurePage(msgspec.Struct, frozen=True, kw_only=True):
    """The meter's reading of a pool: the SKUs that could be sold twice first."""

    pool: str
    total: ExposureTotal
    skus: tuple[ExposureView, ...]
    next_offset: int | None = None


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """All that was read of one pool for its meter."""

    meter: Meter
    levels: Mapping[str, list[StockLevel]]
    listings: Mapping[str, Mapping[str, Listing]]  # channel -> SKU
    kits: Mapping[str, Kit]


async def read_pool(doors: Doors, name: str, pool: PoolDoor) -> Reading:
    """Read stock, listings and kits of one pool, one after the other: what moves meanwhile may count on both sides."""
    listings = {
        door.name: {row.sku: row for row in await pool.listings.get(door.name)}
        for door in doors.channels.values()
        if door.pool == name and door.outlet() is not None
    }
    kits = await pool.listings.kits()
    found = await pool.ledger.levels()
    levels: dict[str, list[StockLevel]] = {}
    for level in found:
        levels.setdefault(level.sku, []).append(level)
    meter = read_meter(found, {channel: list(rows.values()) for channel, rows in listings.items()}, kits)
    return Reading(meter=meter, levels=levels, listings=listings, kits=kits)


class ExposureGauge:
    """Keeps the metrics of the meter fresh, without reading all listings at each scrape."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._again_s = float("-inf")

    async def refresh(self) -> None:
        """Read the meters of all pools again, if that is some time ago."""
        now_s = self._doors.clock.monotonic_s()
        if now_s < self._again_s:
            return
        exposed = {door.name: 0 for door in self._doors.channels.values() if door.outlet() is not None}
        twice: dict[str, int] = {}
        for name, pool in self._doors.pools.items():
            seen = await read_pool(self._doors, name, pool)
            twice[name] = seen.meter.twice
            for one in seen.meter.skus:
                for share in one.channels:
                    exposed[share.channel] = exposed.get(share.channel, 0) + share.units
        metrics = self._doors.metrics.channels
        metrics.exposed, metrics.twice = exposed, twice
        took_s = self._doors.clock.monotonic_s() - now_s
        self._again_s = now_s + max(FRESH_S, PART * took_s)


class AdminExposure:
    """``/admin/v1/stock/exposure``."""

    def __init__(self, desk: AdminDesk) -> None:
        self._desk = desk

    def endpoints(self) -> list[Endpoint]:
        """List the routes."""
        return [
            Endpoint(
                method="GET",
                path="/admin/v1/stock/exposure",
                name="show_exposure",
                summary="The exposure meter: what each channel may sell of each SKU, and what could be sold twice",
                handler=self.show,
                answers={200: ExposurePage},
                query={
                    "pool": "which pool",
                    "sku": "only this SKU; several times for several",
                    "offset": "",
                    "limit": "how many at most",
                },
            )
        ]

    async def show(self, request: web.Request) -> web.Response:
        """Show a page, or the SKUs that are named."""
        name, pool = self._desk.pool(request)
        offset = number(request, "offset", 0, most=10**9)
        limit = number(request, "limit", 100, least=1, most=PAGE)
        wanted = [checked_id(sku, "the SKU") for sku in request.query.getall("sku", [])]
        seen = await read_pool(self._desk.doors, name, pool)
        exposed = {one.sku: one for one in seen.meter.skus}
        known = {*seen.levels, *seen.kits, *exposed, *(sku for rows in seen.listings.values() for sku in rows)}
        if wanted and not known & set(wanted):
            raise NotFound(f"pool {name!r} does not have {', '.join(wanted)}")
        order = sorted(known, key=lambda sku: (-exposed.get(sku, Exposure(sku=sku)).twice, sku))
        skus = [sku for sku in wanted if sku in known] if wanted else order[offset : offset + limit]
        page = ExposurePage(
            pool=name,
            total=ExposureTotal(
                skus=len(exposed), backed=seen.meter.backed, unbacked=seen.meter.unbacked, twice=seen.meter.twice
            ),
            skus=tuple(_view(sku, exposed.get(sku), seen) for sku in skus),
            next_offset=offset + limit if not wanted and offset + limit < len(known) else None,
        )
        return encode(200, page)


def _view(sku: str, found: Exposure | None, seen: Reading) -> ExposureView:
    levels = seen.levels.get(sku, [])
    found = found or Exposure(sku=sku)
    shares: dict[str, ChannelShare] = {}
    for channel, rows in seen.listings.items():
        row = rows.get(sku)
        if row is not None:
            figure = None if row.figure == UNKNOWN else row.figure
            shares[channel] = ChannelShare(figure=figure, exposed=row.exposed, backed=row.backed, state=str(row.state))
    if sku not in seen.kits:  # what kits of it may have sold counts here, too
        for name in dict.fromkeys(one.channel for one in found.channels):
            units = sum(one.units for one in found.channels if one.channel == name)
            backed = any(one.backed for one in found.channels if one.channel == name)
            shares[name] = msgspec.structs.replace(shares.get(name, ChannelShare(backed=backed)), exposed=units)
    return ExposureView(
        sku=sku,
        kit=sku in seen.kits,
        on_hand=sum(level.on_hand for level in levels),
        held=sum(level.held for level in levels),
        sold=sum(level.sold for level in levels),
        safety=sum(level.safety for level in levels),
        free=sum(level.free for level in levels),
        backed=found.backed,
        unbacked=found.unbacked,
        twice=found.twice,
        channels=shares,
    )
