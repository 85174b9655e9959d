"""Orders, as an operator sees and mends them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from flashd.domain.order import Order, OrderRecord, OrderRef, OrderState
from flashd.domain.privacy import Person
from flashd.errors import Conflict, NotFound
from flashd.web.admin_desk import AdminDesk
from flashd.web.connection import write_or_cut
from flashd.web.doors import PoolDoor
from flashd.web.endpoint import Endpoint, flag, number
from flashd.web.problem import Malformed, encode
from flashd.web.tokens import Scope
from flashd.web.view import Moment, OrderDetail, OrderPage, OrderSummary, Reason, at, without_customer

PAGE = 500


class Why(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The reason of a decision; it stands in the order's timeline."""

    reason: Reason


class Mend(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """
    An order as it should be.

    *absent* is a human's word that the backend does not have the order: it gets a new idempotency key.
    """

    order: Order
    absent: bool = False


class Settle(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A human's word that the backend has the order, under this reference."""

    backend_ref: Reason


def wanted_states(request: web.Request) -> list[OrderState]:
    """
    Read `?state=`, given once or several times; none means all.

    Raises:
        Malformed: It is none.
    """
    try:
        return [OrderState(name) for name in request.query.getall("state", [])]
    except ValueError as error:
        raise Malformed("state is one of " + ", ".join(OrderState)) from error


class AdminOrders:
    """``/admin/v1/orders``."""

    def __init__(self, desk: AdminDesk) -> None:
        self._desk = desk

    def endpoints(self) -> list[Endpoint]:
        """List the routes."""
        one = "/admin/v1/orders/{channel}/{id}"
        filters = {
            "pool": "which pool",
            "state": "an order state; several times for several",
            "channel": "only of this sales channel",
            "backend": "only for this backend",
        }
        paging = {"offset": "how many to leave out", "limit": f"how many at most, up to {PAGE}"}
        return [
            Endpoint(
                method="GET",
                path="/admin/v1/orders",
                name="list_orders",
                summary="Orders, oldest first",
                handler=self.list_,
                answers={200: OrderPage},
                query={**filters, **paging},
            ),
            Endpoint(
                method="GET",
                path="/admin/v1/orders/export",
                name="export_orders",
                summary="Every order that matches, as NDJSON; with customer data only for admin and ?customers",
                handler=self.export,
                answers={200: OrderRecord},
                media="application/x-ndjson",
                query={**filters, "customers": "with customer data (scope admin)"},
            ),
            Endpoint(
                method="GET",
                path=one,
                name="show_order",
                summary="One order: timeline, routing explained, position, ETA",
                handler=self.show,
                answers={200: OrderDetail},
                query={"kind": "create, cancel or amend"},
            ),
            self._verb("retry", "Send a parked, waiting, short, manual or dead order (again)", self.retry),
            self._verb("cancel", "Cancel an order and give its stock back; final", self.cancel, takes=Why),
            self._verb("mend", "Replace an order's content and send it", self.mend, takes=Mend, scope=Scope.ADMIN),
            self._verb("settle", "Say that the backend has this manual or dead order", self.settle, takes=Settle),
        ]

    def _verb(
        self,
        verb: str,
        summary: str,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
        *,
        takes: type | None = None,
        scope: Scope = Scope.OPERATE,
    ) -> Endpoint:
        return Endpoint(
            method="POST",
            path=f"/admin/v1/orders/{{channel}}/{{id}}/{verb}",
            name=f"{verb}_order",
            summary=summary,
            handler=handler,
            scope=scope,
            takes=takes,
            answers={200: OrderSummary},
            query={"kind": "create, cancel or amend"},
        )

    async def list_(self, request: web.Request) -> web.Response:
        """Show one page."""
        name, pool = self._desk.pool(request)
        offset = number(request, "offset", 0, most=10**9)
        limit = number(request, "limit", 100, least=1, most=PAGE)
        records = await pool.book.page(
            wanted_states(request), backend=request.query.get("backend", ""), offset=offset, limit=limit
        )
        channel = request.query.get("channel", "")
        shown = tuple(OrderSummary.of(name, record) for record in records if channel in {"", record.ref.channel})
        more = offset + limit if len(records) == limit else None
        return encode(200, OrderPage(pool=name, orders=shown, next_offset=more))

    async def export(self, request: web.Request) -> web.StreamResponse:
        """Stream all that matches, one a line."""
        name, pool = self._desk.pool(request)
        states, backend = wanted_states(request), request.query.get("backend", "")
        channel = request.query.get("channel", "")
        customers = flag(request, "customers")
        if customers:
            self._desk.demand(request, Scope.ADMIN)
            await self._desk.changed(request, "orders.exported", "orders with customer data", pool=name)
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        async for record in pool.book.every(states, backend=backend):
            if channel not in {"", record.ref.channel}:
                continue
            shown = record
            if not customers and record.order is not None:
                shown = msgspec.structs.replace(record, order=without_customer(record.order))
            await write_or_cut(request, response, msgspec.json.encode(shown) + b"\n")
        await response.write_eof()
        return response

    async def show(self, request: web.Request) -> web.Response:
        """Show one order as a whole."""
        name, pool, ref = self._desk.order_ref(request)
        record = await self._desk.record(pool, ref)
        return encode(200, await self._detail(request, name, pool, record))

    async def _detail(self, request: web.Request, name: str, pool: PoolDoor, record: OrderRecord) -> OrderDetail:
        position, eta = await self._desk.place(pool, record)
        order, raw = record.order, None
        if self._desk.may_see_customers(request):
            body = await pool.book.raw(record.ref)
            raw = body.decode(errors="replace") if body is not None else None
        elif order is not None:
            order = without_customer(order)
        routing = self._desk.doors.explain_route(record.order) if record.order is not None else None
        return OrderDetail(
            summary=OrderSummary.of(name, record),
            version=record.version,
            revision=record.revision,
            position=position,
            eta_s=eta,
            timeline=tuple(Moment(at(ms), what) for ms, what in record.timeline),
            items=record.items,
            routing=routing,
            has_next=record.has_next,
            hold_id=record.hold_id,
            order=order,
            raw=raw,
        )

    async def retry(self, request: web.Request) -> web.Response:
        """Let an order go (again), under the same key."""
        _, pool, ref = self._desk.order_ref(request)
        who = self._desk.caller(request).name
        return await self._decide(request, "order.retried", lambda: pool.ledger.requeue(ref, by=who))

    async def cancel(self, request: web.Request) -> web.Response:
        """Cancel for good."""
        why = await self._desk.read(request, Why)
        _, pool, ref = self._desk.order_ref(request)
        _check_reason(why.reason, await self._desk.record(pool, ref))
        who = self._desk.caller(request).name
        return await self._decide(
            request, "order.cancelled", lambda: pool.ledger.cancel(ref, by=who, reason=why.reason)
        )

    async def mend(self, request: web.Request) -> web.Response:
        """Replace the content and send it; a manual order needs the word that the backend lacks it."""
        mend = await self._desk.read(request, Mend)
        _, pool, ref = self._desk.order_ref(request)
        if (mend.order.channel, mend.order.id) != (ref.channel, ref.id):
            raise Malformed("the order's channel and id must be those of the path")
        record = await self._desk.record(pool, ref)
        if record.state is OrderState.MANUAL and not mend.absent:
            raise Conflict(
                "look into the backend first: a mended order is sent under a new key, so one that is there already "
                'would be there twice; say "absent": true',
                state=str(record.state),
            )
        who = self._desk.caller(request).name
        return await self._decide(request, "order.mended", lambda: pool.ledger.requeue(ref, by=who, order=mend.order))

    async def settle(self, request: web.Request) -> web.Response:
        """Record that the backend has it."""
        settle = await self._desk.read(request, Settle)
        _, pool, ref = self._desk.order_ref(request)
        who = self._desk.caller(request).name
        return await self._decide(request, "order.settled", lambda: pool.ledger.settle(ref, settle.backend_ref, by=who))

    async def _decide(self, request: web.Request, what: str, act: Callable[[], Awaitable[OrderState]]) -> web.Response:
        name, pool, ref = self._desk.order_ref(request)
        before = await self._desk.record(pool, ref)
        state = await act()
        await self._desk.changed(request, what, shown_ref(ref), pool=name, before=str(before.state), after=str(state))
        after = await pool.book.get(ref)
        if after is None:
            raise NotFound("the order is gone")
        return encode(200, OrderSummary.of(name, after))


def _check_reason(reason: str, record: OrderRecord) -> None:
    """
    Let no customer data into what everybody hears and nobody can take back.

    Raises:
        Malformed: The reason has the customer's address or number in it.
    """
    if record.order is not None:
        customer = record.order.customer
        if Person(email=customer.email, phone=customer.phone).is_named_in(reason):
            raise Malformed("the reason names the customer, and it stays in the journal: write it without")


def shown_ref(ref: OrderRef) -> str:
    """Write a reference for people: no control character in it."""
    return str(ref).replace("\x1f", "/")
