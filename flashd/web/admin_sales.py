"""Sales as an operator writes, stops and closes them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from aiohttp import hdrs, web
from msgspec.structs import replace

from flashd.config.sale import parse_sale, read_sale
from flashd.domain.sale import Sale, SaleRecord, SaleState, overlap
from flashd.errors import Conflict, NotFound
from flashd.ports import Listings
from flashd.web.admin_desk import IMPORT_BYTES, AdminDesk
from flashd.web.doors import ChannelDoor, PoolDoor
from flashd.web.endpoint import Endpoint, flag, number
from flashd.web.problem import Malformed, encode
from flashd.web.sale_view import ChannelZero, SaleList, SaleRow, SaleView, SaleZero
from flashd.web.tokens import Scope

TOML = "application/toml"
_VERSIONS = 10**9
_WORDS = {SaleState.STOPPED: "stopped", SaleState.READY: "resumed", SaleState.ENDED: "closed"}


class AdminSales:
    """``/admin/v1/sales``."""

    def __init__(self, desk: AdminDesk) -> None:
        self._desk = desk

    def endpoints(self) -> list[Endpoint]:
        """List the routes."""
        return [*self._reading(), *self._writing()]

    def _reading(self) -> list[Endpoint]:
        one, pool = "/admin/v1/sales/{name}", {"pool": "which pool"}
        return [
            Endpoint(
                method="GET",
                path="/admin/v1/sales",
                name="list_sales",
                summary="All sales, by start",
                handler=self.list_,
                answers={200: SaleList},
                query=pool,
            ),
            Endpoint(
                method="GET",
                path=one,
                name="show_sale",
                summary="One sale: its document, what is used of its quotas, how its prices stand",
                handler=self.show,
                answers={200: SaleView},
                query={**pool, "version": "that version, instead of the newest"},
            ),
            Endpoint(
                method="GET",
                path=f"{one}/versions",
                name="list_sale_versions",
                summary="The versions of a sale, newest first",
                handler=self.versions,
                answers={200: SaleList},
                query=pool,
            ),
            Endpoint(
                method="GET",
                path=f"{one}/zero",
                name="show_sale_zero",
                summary="How far a stopped sale is on its way to zero, channel by channel",
                handler=self.zero,
                answers={200: SaleZero},
                query=pool,
            ),
        ]

    def _writing(self) -> list[Endpoint]:
        one, pool = "/admin/v1/sales/{name}", {"pool": "which pool"}
        verbs = (
            ("stop", "Sell nothing more of it at once, and show zero on every channel", self.stop),
            ("resume", "Let a stopped sale go on", self.resume),
            ("close", "End it for good: its rules go, its prices go back", self.close),
        )
        return [
            Endpoint(
                method="PUT",
                path=one,
                name="put_sale",
                summary="Write a version of a sale, as JSON or (application/toml) TOML",
                handler=self.put,
                scope=Scope.OPERATE,
                takes=Sale,
                answers={200: SaleView},
                query={
                    **pool,
                    "version": "the version that it replaces, else 409; also as If-Match",
                    "dry_run": "only say what would change",
                },
            ),
            *(
                Endpoint(
                    method="POST",
                    path=f"{one}/{verb}",
                    name=f"{verb}_sale",
                    summary=summary,
                    handler=handler,
                    scope=Scope.OPERATE,
                    answers={200: SaleRow},
                    query=pool,
                )
                for verb, summary, handler in verbs
            ),
        ]

    # ------------------------------------------------------------------------------------------------------ reading

    async def list_(self, request: web.Request) -> web.Response:
        """Show all sales."""
        name, pool = self._desk.pool(request)
        records, now_ms = await asyncio.gather(pool.sales.all(), pool.sales.clock_ms())
        return encode(200, SaleList(pool=name, sales=tuple(SaleRow.of(one, now_ms) for one in records)))

    async def show(self, request: web.Request) -> web.Response:
        """Show one sale."""
        _, pool = self._desk.pool(request)
        version = number(request, "version", 0, least=1, most=_VERSIONS)
        record = await self._record(request, pool, version=version)
        return await self._shown(pool, record)

    async def versions(self, request: web.Request) -> web.Response:
        """Show the versions of one sale."""
        name, pool = self._desk.pool(request)
        record = await self._record(request, pool)
        now_ms = await pool.sales.clock_ms()
        found = await pool.sales.history(record.sale.name)
        return encode(200, SaleList(pool=name, sales=tuple(SaleRow.of(one, now_ms) for one in found)))

    async def zero(self, request: web.Request) -> web.Response:
        """Show how far every channel is on its way to zero."""
        name, pool = self._desk.pool(request)
        record = await self._record(request, pool)
        skus = [one.sku for one in record.sale.products]
        doors = [door for door in self._desk.doors.channels.values() if door.pool == name]
        channels = await asyncio.gather(*(self._channel_zero(pool.listings, door, skus) for door in doors))
        since_ms = await pool.sales.clock_ms() - record.changed_ms
        found = SaleZero(
            name=record.sale.name,
            state=str(record.state),
            since_s=max(0, since_ms) / 1000,
            zero=all(one.open == 0 for one in channels),
            skus=len(skus),
            channels=tuple(sorted(channels, key=lambda one: one.channel)),
        )
        return encode(200, found)

    @staticmethod
    async def _channel_zero(listings: Listings, door: ChannelDoor, skus: Collection[str]) -> ChannelZero:
        terms = door.terms()
        shows = door.outlet() is not None and terms.mode != "none"
        if not shows:
            return ChannelZero.of(door.name, (), (), shows=False, asks=terms.asks)
        asked = list(skus)
        mapped, rows = await asyncio.gather(listings.entries(door.name, asked), listings.get(door.name, asked))
        return ChannelZero.of(door.name, rows, mapped, shows=True, asks=terms.asks)

    async def _record(self, request: web.Request, pool: PoolDoor, *, version: int = 0) -> SaleRecord:
        name = request.match_info["name"]
        record = await pool.sales.get(name, version=version)
        if record is None:
            raise NotFound(f"there is no {f'version {version} of ' if version else ''}sale {name}")
        return record

    async def _shown(self, pool: PoolDoor, record: SaleRecord, *, changed: bool = False) -> web.Response:
        sale = record.sale
        skus = [one.sku for one in sale.products]
        own = [door.name for door in self._desk.doors.channels.values() if door.pool == sale.pool]
        used, now_ms, levels, kits = await asyncio.gather(
            pool.sales.used(sale.name, skus), pool.sales.clock_ms(), pool.ledger.levels(skus), pool.listings.kits()
        )
        rows = await asyncio.gather(*(pool.prices.rows(channel) for channel in own))
        view = SaleView.build(
            record,
            now_ms,
            used,
            prices=dict(zip(own, rows, strict=True)),
            unknown={*skus} - {level.sku for level in levels} - {*kits},
            changed=changed,
        )
        return encode(200, view, headers={hdrs.ETAG: f'"{record.version}"'})

    # ------------------------------------------------------------------------------------------------------ writing

    async def put(self, request: web.Request) -> web.Response:
        """Write a document; the same one again changes nothing."""
        body = await self._desk.body(request, limit=IMPORT_BYTES)
        if "pool" in request.query:
            self._desk.pool(request)
        sale = self._sale(request, body)
        pool = self._desk.doors.pools[sale.pool]
        version = _replaced(request)
        before = await pool.sales.get(sale.name)
        if flag(request, "dry_run"):
            record = await _would_be(pool, sale, before, version, by=self._desk.caller(request).name)
        else:
            record = await pool.sales.put(sale, by=self._desk.caller(request).name, version=version)
        changed = before is None or before.version != record.version
        if changed and not flag(request, "dry_run"):
            await self._desk.changed(
                request,
                "sale.written",
                sale.name,
                pool=sale.pool,
                before=None if before is None else before.version,
                after=record.version,
            )
            self._wake(sale.pool)
        return await self._shown(pool, record, changed=changed)

    def _sale(self, request: web.Request, body: bytes) -> Sale:
        document = parse_sale(body, "toml" if request.content_type == TOML else "json")
        for key, said in (("name", request.match_info["name"]), ("pool", request.query.get("pool"))):
            if said is not None and document.setdefault(key, said) != said:
                raise Malformed(f"the document's {key} is {document[key]!r}, and the address says {said!r}")
        doors = self._desk.doors
        pools = {name: {one.name for one in doors.channels.values() if one.pool == name} for name in doors.pools}
        return read_sale(document, pools)

    async def stop(self, request: web.Request) -> web.Response:
        """Sell nothing more of it, from this instant."""
        return await self._set(request, SaleState.STOPPED)

    async def resume(self, request: web.Request) -> web.Response:
        """Let it go on."""
        return await self._set(request, SaleState.READY)

    async def close(self, request: web.Request) -> web.Response:
        """End it for good."""
        return await self._set(request, SaleState.ENDED)

    async def _set(self, request: web.Request, state: SaleState) -> web.Response:
        name, pool = self._desk.pool(request)
        before = await self._record(request, pool)
        record = await pool.sales.set_state(before.sale.name, state, by=self._desk.caller(request).name)
        if record.state is not before.state:
            self._wake(name)
            await self._desk.changed(
                request,
                f"sale.{_WORDS[state]}",
                record.sale.name,
                pool=name,
                before=str(before.state),
                after=str(state),
            )
        return encode(200, SaleRow.of(record, await pool.sales.clock_ms()))

    def _wake(self, pool: str) -> None:
        """Tell whoever shows figures or moves prices of this pool; a lost word only delays."""
        self._desk.doors.pools[pool].wake_sales()
        for door in self._desk.doors.channels.values():
            outlet = door.outlet() if door.pool == pool else None
            if outlet is not None:
                outlet.wake()


def _replaced(request: web.Request) -> int:
    """
    Return the version that the caller has read, 0 for none.

    Raises:
        Malformed: It is no version.
    """
    version = number(request, "version", 0, least=1, most=_VERSIONS)
    tag = request.headers.get(hdrs.IF_MATCH, "").strip()
    if not tag or tag == "*":
        return version
    text = tag.removeprefix('"').removesuffix('"')
    if not (text.isascii() and text.isdigit() and 1 <= len(text) <= 9):
        raise Malformed('If-Match is the version as the ETag writes it, such as "3"')
    return int(text)


async def _would_be(pool: PoolDoor, sale: Sale, before: SaleRecord | None, version: int, *, by: str) -> SaleRecord:
    """
    Return the record that writing *sale* would leave.

    Raises:
        Conflict: It would be refused.
    """
    if before is not None and before.state is SaleState.ENDED:
        raise Conflict(f"sale {sale.name} has ended: write a new one under another name", state=before.state)
    if before is not None and version and before.version != version:
        raise Conflict(f"sale {sale.name} is at version {before.version} by now", version=before.version)
    if found := overlap(sale, await pool.sales.all()):
        sku, other = found
        raise Conflict(f"{sku} is in sale {other} at the same time: change one of the windows", sale=other, sku=sku)
    if before is None:
        now_ms = await pool.sales.clock_ms()
        return SaleRecord(sale=sale, version=1, state=SaleState.READY, by=by, changed_ms=now_ms)
    return before if before.sale == sale else replace(before, sale=sale, version=before.version + 1, by=by)
