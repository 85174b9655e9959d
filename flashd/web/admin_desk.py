"""What every admin endpoint begins and ends with: which pool, which body, and the word in the audit trail."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
import structlog
from aiohttp import web

from flashd.domain.order import Kind, OrderRecord, OrderRef
from flashd.errors import NotFound
from flashd.web.doors import Change, ChannelDoor, Doors, PoolDoor
from flashd.web.endpoint import CALLER, decode
from flashd.web.limits import Budget, read_body, refuse_encoded
from flashd.web.native import checked_id
from flashd.web.problem import Malformed
from flashd.web.tokens import Caller, Scope, demand

T = TypeVar("T")

log = structlog.get_logger()

BODY_BYTES = 262_144
IMPORT_BYTES = 4_194_304
BODY_S = 5.0


class AdminDesk:
    """The admin API's front desk."""

    def __init__(self, doors: Doors) -> None:
        self.doors = doors
        self.budget = Budget(16 * IMPORT_BYTES)

    @staticmethod
    def caller(request: web.Request) -> Caller:
        """Return who calls; the listener has proven it."""
        return request[CALLER]

    def may_see_customers(self, request: web.Request) -> bool:
        """Say whether personal data may be shown."""
        return self.caller(request).scope >= Scope.ADMIN

    def pool(self, request: web.Request) -> tuple[str, PoolDoor]:
        """
        Return the pool that `?pool=` names, or the only one.

        Raises:
            NotFound: There is none of that name.
            Malformed: There are several, and none is named.
        """
        pools = self.doors.pools
        name = request.query.get("pool")
        if name is None:
            if len(pools) != 1:
                raise Malformed("name the pool: ?pool=" + "|".join(sorted(pools)))
            name = next(iter(pools))
        if name not in pools:
            raise NotFound(f"there is no pool {name!r}")
        return name, pools[name]

    def channel(self, name: str) -> ChannelDoor:
        """
        Return a sales channel.

        Raises:
            NotFound: There is none of that name.
        """
        if name not in self.doors.channels:
            raise NotFound(f"there is no channel {name!r}")
        return self.doors.channels[name]

    def seat(self, request: web.Request) -> tuple[ChannelDoor, PoolDoor]:
        """
        Return the sales channel that the path names, and its pool.

        Raises:
            NotFound: There is none of that name.
        """
        door = self.channel(request.match_info["name"])
        return door, self.doors.pools[door.pool]

    def order_ref(self, request: web.Request) -> tuple[str, PoolDoor, OrderRef]:
        """
        Return which order the path names and its pool: the channel's own, or `?pool=` for a channel that is gone.

        Raises:
            NotFound: There is no such channel.
            Malformed: `?kind=` is none.
        """
        name = request.match_info["channel"]
        order_id = checked_id(request.match_info["id"], "the order's id")
        try:
            kind = Kind(request.query.get("kind", Kind.CREATE))
        except ValueError as error:
            raise Malformed("kind is one of " + ", ".join(Kind)) from error
        if name not in self.doors.channels and "pool" in request.query:
            pool_name, pool = self.pool(request)
        else:
            pool_name = self.channel(name).pool
            pool = self.doors.pools[pool_name]
        return pool_name, pool, OrderRef(name, order_id, kind)

    async def record(self, pool: PoolDoor, ref: OrderRef) -> OrderRecord:
        """
        Return all that is kept of an order.

        Raises:
            NotFound: There is no such order.
        """
        record = await pool.book.get(ref)
        if record is None:
            raise NotFound("there is no such order")
        return record

    async def place(self, pool: PoolDoor, record: OrderRecord) -> tuple[int | None, float | None]:
        """Return how many orders leave before this one, and in how many seconds it leaves."""
        position = await pool.book.position(record.ref)
        return position, await self.doors.eta_s(record.backend, None if position is None else position + 1)

    async def body(self, request: web.Request, *, limit: int = BODY_BYTES) -> bytes:
        """Read the body within the listener's limits."""
        refuse_encoded(request.headers)
        with self.budget.share() as share:
            return await read_body(request, share, limit=limit, timeout_s=BODY_S)

    async def read(self, request: web.Request, shape: type[T]) -> T:
        """Read a JSON body of this shape; an empty body is an empty object."""
        return decode(await self.body(request), shape)

    async def changed(
        self, request: web.Request, what: str, subject: str, *, pool: str = "", before: Any = None, after: Any = None
    ) -> None:
        """Write a change into the audit trail: who, what, before, after. No customer data may be among it."""
        change = Change(
            who=self.caller(request).name, what=what, subject=subject, pool=pool, before=before, after=after
        )
        log.info(
            "admin.changed",
            who=change.who,
            what=change.what,
            subject=subject,
            pool=pool,
            before=_told(before),
            after=_told(after),
        )
        await self.doors.changed(change)

    def demand(self, request: web.Request, scope: Scope) -> None:
        """Refuse a caller whose scope is too small, with Forbidden."""
        demand(self.caller(request), scope)


def _told(value: Any) -> str | int | float | None:
    """Write a counted or steered thing as one line of text: the log shows plain values only."""
    return value if value is None or isinstance(value, str | int | float) else msgspec.json.encode(value).decode()
