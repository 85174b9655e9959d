"""What the warehouse says, told by a human or a feed: counts, shipments, receipts."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from aiohttp import web
from msgspec import Meta

from flashd.domain.count import Count, CountCode, Counted, CountKind, Receipt
from flashd.domain.instant import parse_ms
from flashd.web.admin_desk import IMPORT_BYTES, AdminDesk
from flashd.web.admin_orders import shown_ref
from flashd.web.admin_stock import LevelView, Location
from flashd.web.csv_rows import ROWS, fitted, read_rows
from flashd.web.doors import PoolDoor
from flashd.web.endpoint import Endpoint
from flashd.web.native import checked_id
from flashd.web.problem import Malformed, encode
from flashd.web.tokens import Scope
from flashd.web.view import OrderSummary, Reason, Sku, Units

REPAIRS = ("none", "safe", "all")
Quantity = Annotated[int, Meta(ge=-(10**12), le=10**12)]


class CountRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One SKU that was counted while selling went on; kind and as_of may stand in the query for all rows."""

    sku: Sku
    quantity: Quantity
    location: Location | None = None
    kind: CountKind | None = None
    as_of: str = ""  # RFC 3339, or "now"
    seq: Units = 0
    safety: Units | None = None
    source: str = ""


class CountedView(msgspec.Struct, frozen=True, kw_only=True):
    """
    What a count did, or would do.

    *action*: ``set`` (it is, or would be), ``stale`` (a later one is known), ``left`` (it makes a deficit, so a human
    must say ``repair=all``). *contained* names the first orders whose units the count lacks already.
    """

    sku: str
    location: str
    kind: str
    as_of_ms: int
    counted: int
    expected: int
    difference: int
    orders: int
    units: int
    action: Literal["set", "stale", "left"]
    deficit: int
    contained: tuple[str, ...]
    before: LevelView | None
    after: LevelView


class CountedList(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a recount, row by row; *written* says how many counts were set."""

    pool: str
    repair: str
    written: int
    rows: tuple[CountedView, ...]


class NewReceipt(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Goods that came in; the same receipt twice is one."""

    receipt: Annotated[str, Meta(min_length=1, max_length=200)]
    units: Annotated[int, Meta(ge=1, le=10**9)]
    location: Location | None = None


class ReceivedView(msgspec.Struct, frozen=True, kw_only=True):
    """What a receipt did; *served* names the orders that waited for it and go on now."""

    repeat: bool
    served: tuple[str, ...]
    level: LevelView


class Shipment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The goods of an order are gone."""

    at: str = ""  # RFC 3339; "": now
    by: Reason = "the warehouse"


class AdminStockroom:
    """``/admin/v1/stock/recount``, ``.../receive`` and ``/admin/v1/orders/.../ship``."""

    def __init__(self, desk: AdminDesk) -> None:
        self._desk = desk

    def endpoints(self) -> list[Endpoint]:
        """List the routes."""
        pool = {"pool": "which pool"}
        return [
            Endpoint(
                method="POST",
                path="/admin/v1/stock/recount",
                name="recount_stock",
                summary="Counts made while selling, netted against the orders they contain; a dry run by default",
                handler=self.recount,
                scope=Scope.OPERATE,
                takes=list[CountRow],
                answers={200: CountedList},
                query={
                    **pool,
                    "repair": "none (say what would happen), safe (set what makes no deficit) or all",
                    "kind": "physical or available, of rows that do not say",
                    "as_of": "RFC 3339 or now, of rows that do not say",
                },
            ),
            Endpoint(
                method="POST",
                path="/admin/v1/stock/{sku}/receive",
                name="receive_stock",
                summary="Goods came in: those who wait are served first",
                handler=self.receive,
                scope=Scope.OPERATE,
                takes=NewReceipt,
                answers={200: ReceivedView},
                query=pool,
            ),
            Endpoint(
                method="POST",
                path="/admin/v1/orders/{channel}/{id}/ship",
                name="ship_order",
                summary="The goods of a delivered order are gone",
                handler=self.ship,
                scope=Scope.OPERATE,
                takes=Shipment,
                answers={200: OrderSummary},
            ),
        ]

    async def recount(self, request: web.Request) -> web.Response:
        """Count many SKUs: every row is checked before the first is written."""
        name, pool = self._desk.pool(request)
        repair = request.query.get("repair", "none")
        if repair not in REPAIRS:
            raise Malformed("repair is one of " + ", ".join(REPAIRS))
        body = await self._desk.body(request, limit=IMPORT_BYTES)
        rows = _read_csv(body) if request.content_type == "text/csv" else msgspec.json.decode(body, type=list[CountRow])
        counts = self._counts(request, pool, rows)
        foreseen = await pool.stockroom.forecast(counts)
        wanted = [one for one in foreseen if _action(one, repair) == "set" and repair != "none"]
        who = self._desk.caller(request).name
        done = await pool.stockroom.count([one.count for one in wanted], by=who) if wanted else []
        by_place = {(one.count.sku, one.count.location): one for one in done}
        shown: list[CountedView] = []
        for one in foreseen:
            after = by_place.get((one.count.sku, one.count.location))
            shown.append(_shown(after or one, one, _action(one, repair)))
            if after is not None and after.code is CountCode.COUNTED:
                subject = f"{one.count.sku}@{one.count.location}"
                await self._desk.changed(
                    request, "stock.recounted", subject, pool=name, before=shown[-1].before, after=shown[-1].after
                )
        written = sum(one.code is CountCode.COUNTED for one in done)
        return encode(200, CountedList(pool=name, repair=repair, written=written, rows=tuple(shown)))

    def _counts(self, request: web.Request, pool: PoolDoor, rows: list[CountRow]) -> list[Count]:
        if not 1 <= len(rows) <= ROWS:
            raise Malformed(f"a recount has 1 to {ROWS} rows; this one has {len(rows)}")
        now_ms = self._desk.doors.clock.now_ms()
        seen: set[tuple[str, str]] = set()
        counts: list[Count] = []
        for row in rows:
            place = (checked_id(row.sku, "the SKU"), row.location or pool.location)
            if place in seen:
                raise Malformed(f"{row.sku} at {place[1]} stands there twice")
            seen.add(place)
            kind = row.kind or request.query.get("kind", "")
            if kind not in set(CountKind):
                raise Malformed(f"{row.sku}: say kind=physical (what lies there) or kind=available (not promised yet)")
            as_of_ms = _instant(row.sku, row.as_of or request.query.get("as_of", ""), now_ms)
            counts.append(
                Count(
                    sku=place[0],
                    location=place[1],
                    quantity=row.quantity,
                    kind=CountKind(kind),
                    as_of_ms=as_of_ms,
                    seq=row.seq,
                    safety=row.safety,
                    source=row.source or self._desk.caller(request).name,
                )
            )
        return counts

    async def receive(self, request: web.Request) -> web.Response:
        """Put goods on hand, and serve who waits for them."""
        new = await self._desk.read(request, NewReceipt)
        name, pool = self._desk.pool(request)
        sku = checked_id(request.match_info["sku"], "the SKU")
        receipt = Receipt(
            id=checked_id(new.receipt, "the receipt"), sku=sku, location=new.location or pool.location, units=new.units
        )
        received = await pool.stockroom.receive(receipt, by=self._desk.caller(request).name)
        view = ReceivedView(repeat=received.repeat, served=received.served, level=LevelView.of(received.level))
        if not received.repeat:
            subject = f"{sku}@{receipt.location}"
            await self._desk.changed(request, "stock.received", subject, pool=name, after=view)
        return encode(200, view)

    async def ship(self, request: web.Request) -> web.Response:
        """Note since when the goods are gone."""
        shipment = await self._desk.read(request, Shipment)
        name, pool, ref = self._desk.order_ref(request)
        now_ms = self._desk.doors.clock.now_ms()
        at_ms = _instant("at", shipment.at, now_ms) if shipment.at else 0
        await self._desk.record(pool, ref)
        await pool.stockroom.ship(ref, at_ms, by=shipment.by)
        await self._desk.changed(request, "order.shipped", shown_ref(ref), pool=name, after=shipment.at or "now")
        return encode(200, OrderSummary.of(name, await self._desk.record(pool, ref)))


def _action(foreseen: Counted, repair: str) -> Literal["set", "stale", "left"]:
    if foreseen.code is CountCode.STALE:
        return "stale"
    deficit = max(0, -foreseen.before.atp) if foreseen.before is not None else 0
    return "left" if repair != "all" and foreseen.deficit > deficit else "set"


def _shown(counted: Counted, foreseen: Counted, action: Literal["set", "stale", "left"]) -> CountedView:
    count = counted.count
    return CountedView(
        sku=count.sku,
        location=count.location,
        kind=str(count.kind),
        as_of_ms=count.as_of_ms,
        counted=count.quantity,
        expected=counted.expected,
        difference=counted.difference,
        orders=counted.orders,
        units=counted.units,
        action=action if counted.code is CountCode.COUNTED else "stale",
        deficit=counted.deficit,
        contained=foreseen.contained,
        before=LevelView.of(counted.before) if counted.before is not None else None,
        after=LevelView.of(counted.after),
    )


def _instant(what: str, text: str, now_ms: int) -> int:
    if text == "now":
        return now_ms
    try:
        at_ms = parse_ms(text)
    except ValueError as error:
        raise Malformed(
            f"{what}: {text!r} {error}, or now" if text else f"{what}: say as_of, when it was counted"
        ) from error
    if at_ms > now_ms:
        raise Malformed(f"{what}: {text} is yet to come")
    return at_ms


def _read_csv(body: bytes) -> list[CountRow]:
    """Read counts under a header line. Raises Malformed, with the line."""
    columns = set(CountRow.__struct_fields__)
    header = "sku,quantity and, where wanted, location,kind,as_of,seq,safety,source"
    rows = read_rows(body, fits=lambda names: {"sku", "quantity"} <= names <= columns, header=header)
    return [fitted(line, fields, CountRow) for line, fields in rows]
