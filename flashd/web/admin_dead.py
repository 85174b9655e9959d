"""Dead letters: orders that a backend refused for good, kept until a human decides."""

from __future__ import annotations

from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from flashd.domain.order import OrderRecord, OrderState
from flashd.errors import Conflict, NotFound
from flashd.web.admin_desk import AdminDesk
from flashd.web.admin_orders import PAGE, AdminOrders, Why, shown_ref
from flashd.web.doors import PoolDoor
from flashd.web.endpoint import Endpoint, number
from flashd.web.problem import encode
from flashd.web.tokens import Scope
from flashd.web.view import OrderDetail, OrderPage, OrderSummary

MOST = 10_000
DEAD = [OrderState.DEAD]


class Replay(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which dead letters to send again; *confirm* is the number that a dry run said."""

    backend: str = ""
    reason: str = ""
    dry_run: bool = False
    confirm: Annotated[int, Meta(ge=0)] | None = None


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """How many matched, how many go again, and how many had changed meanwhile."""

    matching: int
    replayed: int = 0
    changed_meanwhile: int = 0
    reasons: dict[str, int] = {}


class AdminDead:
    """``/admin/v1/dead``."""

    def __init__(self, desk: AdminDesk, orders: AdminOrders) -> None:
        self._desk = desk
        self._orders = orders

    def endpoints(self) -> list[Endpoint]:
        """List the routes."""
        one = "/admin/v1/dead/{channel}/{id}"
        kind = {"kind": "create, cancel or amend"}
        return [
            Endpoint(
                method="GET",
                path="/admin/v1/dead",
                name="list_dead",
                summary="Dead letters, oldest first",
                handler=self.list_,
                answers={200: OrderPage},
                query={"pool": "which pool", "backend": "only of this backend", "offset": "", "limit": ""},
            ),
            Endpoint(
                method="GET",
                path=one,
                name="show_dead",
                summary="One dead letter",
                handler=self.show,
                answers={200: OrderDetail},
                query=kind,
            ),
            Endpoint(
                method="POST",
                path="/admin/v1/dead/replay",
                name="replay_all_dead",
                summary="Send all that match again; needs the count that a dry run said",
                handler=self.replay_all,
                scope=Scope.OPERATE,
                takes=Replay,
                answers={200: Replayed},
                query={"pool": "which pool"},
            ),
            Endpoint(
                method="POST",
                path=f"{one}/replay",
                name="replay_dead",
                summary="Send one again",
                handler=self.replay,
                scope=Scope.OPERATE,
                answers={200: OrderSummary},
                query=kind,
            ),
            Endpoint(
                method="POST",
                path=f"{one}/discard",
                name="discard_dead",
                summary="Give one up: cancelled, its stock back",
                handler=self.discard,
                scope=Scope.OPERATE,
                takes=Why,
                answers={200: OrderSummary},
                query=kind,
            ),
        ]

    async def list_(self, request: web.Request) -> web.Response:
        """Show one page."""
        name, pool = self._desk.pool(request)
        offset = number(request, "offset", 0, most=10**9)
        limit = number(request, "limit", 100, least=1, most=PAGE)
        backend = request.query.get("backend", "")
        records = await pool.book.page(DEAD, backend=backend, offset=offset, limit=limit)
        more = offset + limit if len(records) == limit else None
        shown = tuple(OrderSummary.of(name, record) for record in records)
        return encode(200, OrderPage(pool=name, orders=shown, next_offset=more))

    async def show(self, request: web.Request) -> web.Response:
        """Show one as a whole."""
        await self._must_be_dead(request)
        return await self._orders.show(request)

    async def replay(self, request: web.Request) -> web.Response:
        """Send one again, under the same key."""
        await self._must_be_dead(request)
        return await self._orders.retry(request)

    async def discard(self, request: web.Request) -> web.Response:
        """Cancel one for good."""
        await self._must_be_dead(request)
        return await self._orders.cancel(request)

    async def replay_all(self, request: web.Request) -> web.Response:
        """Send all that match again, if their number is the one that was confirmed."""
        wish = await self._desk.read(request, Replay)
        name, pool = self._desk.pool(request)
        matching = await self._matching(pool, wish)
        if wish.dry_run:
            reasons: dict[str, int] = {}
            for record in matching:
                reasons[record.reason] = reasons.get(record.reason, 0) + 1
            return encode(200, Replayed(matching=len(matching), reasons=reasons))
        if wish.confirm != len(matching):
            raise Conflict(f"{len(matching)} dead letters match: confirm that number", matching=len(matching))
        who = self._desk.caller(request).name
        done = 0
        for record in matching:
            try:
                await pool.ledger.requeue(record.ref, by=who)
            except (Conflict, NotFound):
                continue  # somebody else decided meanwhile
            done += 1
            await self._desk.changed(
                request, "order.retried", shown_ref(record.ref), pool=name, before="dead", after="queued"
            )
        return encode(200, Replayed(matching=len(matching), replayed=done, changed_meanwhile=len(matching) - done))

    async def _matching(self, pool: PoolDoor, wish: Replay) -> list[OrderRecord]:
        # Only what is needed later is kept: up to 10,000 orders with their lines would be large.
        looked, found = 0, []
        async for record in pool.book.every(DEAD, backend=wish.backend):
            looked += 1
            if wish.reason in {"", record.reason}:
                found.append(msgspec.structs.replace(record, order=None, timeline=()))
            if looked >= MOST:
                break
        return found

    async def _must_be_dead(self, request: web.Request) -> None:
        _, pool, ref = self._desk.order_ref(request)
        record = await self._desk.record(pool, ref)
        if record.state is not OrderState.DEAD:
            raise Conflict("this order is no dead letter", state=str(record.state))
