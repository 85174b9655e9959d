"""Paid orders that cannot be covered: what may become of each, ranked with reasons, and the decision."""

from __future__ import annotations

from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from flashd.domain.order import OrderRecord, OrderRef, OrderState
from flashd.domain.triage import Option, Way, asks_a_human, options, short_of, substituted
from flashd.errors import Conflict
from flashd.web.admin_desk import AdminDesk
from flashd.web.admin_orders import shown_ref
from flashd.web.doors import PoolDoor
from flashd.web.endpoint import Endpoint, number
from flashd.web.problem import encode
from flashd.web.tokens import Scope
from flashd.web.view import OrderSummary, Reason, Sku

MOST = 500


class Shortage(msgspec.Struct, frozen=True, kw_only=True):
    """An order that fell short, or waits for goods: what it lacks, and the ways that are open, the cheapest first."""

    order: OrderSummary
    short: dict[str, int]
    fills_itself: bool  # goods that come are its own and complete it; else a human must decide first
    options: tuple[Option, ...]


class ShortageList(msgspec.Struct, frozen=True, kw_only=True):
    """What cannot be covered in a pool: what must be decided first, then who waits, in the order of the row."""

    pool: str
    shortages: tuple[Shortage, ...]


class Decision(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is to be done; *substitutes* are the first of the suggestion where they are left out."""

    do: Way
    reason: Reason = "goods are short"
    substitutes: Annotated[dict[Sku, Sku], Meta(max_length=200)] = {}


class AdminTriage:
    """``/admin/v1/triage`` and ``/admin/v1/orders/.../triage``."""

    def __init__(self, desk: AdminDesk) -> None:
        self._desk = desk

    def endpoints(self) -> list[Endpoint]:
        """List the routes."""
        one = "/admin/v1/orders/{channel}/{id}/triage"
        return [
            Endpoint(
                method="GET",
                path="/admin/v1/triage",
                name="list_shortages",
                summary="Paid orders that cannot be covered, and what may be done about each",
                handler=self.list_,
                answers={200: ShortageList},
                query={"pool": "which pool", "limit": f"how many at most, up to {MOST}"},
            ),
            Endpoint(
                method="GET",
                path=one,
                name="show_shortage",
                summary="What may be done about one order",
                handler=self.show,
                answers={200: Shortage},
            ),
            Endpoint(
                method="POST",
                path=one,
                name="decide_shortage",
                summary="Let it wait for goods, split it, reduce it, substitute or cancel",
                handler=self.decide,
                scope=Scope.OPERATE,
                takes=Decision,
                answers={200: OrderSummary},
            ),
        ]

    async def list_(self, request: web.Request) -> web.Response:
        """Show what must be decided, and who waits."""
        name, pool = self._desk.pool(request)
        limit = number(request, "limit", 100, least=1, most=MOST)
        found: list[Shortage] = []
        for state in (OrderState.SHORTFALL, OrderState.BACKORDER):
            async for record in pool.book.every([state]):
                if len(found) >= limit:
                    break
                found.append(await self._shortage(name, pool, record))
        return encode(200, ShortageList(pool=name, shortages=tuple(found)))

    async def show(self, request: web.Request) -> web.Response:
        """Show one."""
        name, pool, ref = self._desk.order_ref(request)
        return encode(200, await self._shortage(name, pool, await self._desk.record(pool, ref)))

    async def _shortage(self, name: str, pool: PoolDoor, record: OrderRecord) -> Shortage:
        substitutes, short = self._desk.doors.substitutes, short_of(record)
        skus = sorted({new for sku in short for new in substitutes.get(sku, ())})
        free: dict[str, int] = {}
        for level in await pool.ledger.levels(skus) if skus else ():
            free[level.sku] = free.get(level.sku, 0) + level.free
        open_ = {OrderState.SHORTFALL, OrderState.BACKORDER}
        ways = options(record, now_ms=self._desk.doors.clock.now_ms(), free=free, substitutes=substitutes)
        ways = [way for way in ways if record.state is OrderState.SHORTFALL or way.way is not Way.BACKORDER]
        shown = tuple(ways) if record.state in open_ else ()
        fills = record.state in open_ and not asks_a_human(record)
        return Shortage(order=OrderSummary.of(name, record), short=short, fills_itself=fills, options=shown)

    async def decide(self, request: web.Request) -> web.Response:
        """Do what was decided."""
        decision = await self._desk.read(request, Decision)
        name, pool, ref = self._desk.order_ref(request)
        record = await self._desk.record(pool, ref)
        state = await self._act(name, pool, ref, record, decision, self._desk.caller(request).name)
        what = f"order.{decision.do}"
        await self._desk.changed(request, what, shown_ref(ref), pool=name, before=str(record.state), after=str(state))
        return encode(200, OrderSummary.of(name, await self._desk.record(pool, ref)))

    async def _act(
        self, name: str, pool: PoolDoor, ref: OrderRef, record: OrderRecord, decision: Decision, who: str
    ) -> OrderState:
        match decision.do:
            case Way.BACKORDER:
                return await pool.stockroom.backorder(ref, by=who)
            case Way.SPLIT | Way.REDUCE:
                return await pool.stockroom.split(ref, by=who, wait=decision.do is Way.SPLIT)
            case Way.CANCEL:
                return await pool.ledger.cancel(ref, by=who, reason=decision.reason)
            case Way.SUBSTITUTE:
                shortage = await self._shortage(name, pool, record)
                offered = next((way.substitutes for way in shortage.options if way.way is Way.SUBSTITUTE), {})
                chosen = decision.substitutes or offered
                if record.state not in {OrderState.SHORTFALL, OrderState.BACKORDER} or not chosen or not record.order:
                    raise Conflict(
                        f"{shown_ref(ref)}: nothing to put in place of what is short", state=str(record.state)
                    )
                return await pool.ledger.requeue(ref, by=who, order=substituted(record.order, chosen))
