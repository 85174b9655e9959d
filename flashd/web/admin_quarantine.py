"""Quarantine: proven bodies that were not understood, until a human mends or discards them."""

from __future__ import annotations

import msgspec
from aiohttp import web

from flashd.domain.order import Incoming
from flashd.domain.privacy import Demand
from flashd.errors import NotFound, Refused
from flashd.ports import Quarantined, Unreadable, Unrelated
from flashd.web.admin_desk import AdminDesk
from flashd.web.admin_orders import PAGE, Why
from flashd.web.doors import PoolDoor
from flashd.web.endpoint import Endpoint, number
from flashd.web.problem import encode
from flashd.web.tokens import Scope
from flashd.web.view import OrderReceipt, at

MOST = 10_000


class StillUnreadable(Refused):
    """The corrected body is not understood either."""

    status = 422
    title = "unreadable"


class QuarantineEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry without its content, which may be customer data."""

    id: str
    channel: str
    received_at: str
    reason: str
    size: int

    @classmethod
    def of(cls, kept: Quarantined) -> QuarantineEntry:
        """Show one line of the list."""
        return cls(
            id=kept.id,
            channel=kept.channel,
            received_at=at(kept.received_ms),
            reason=kept.reason,
            size=len(kept.body),
        )


class QuarantinePage(msgspec.Struct, frozen=True, kw_only=True):
    """What was not understood in one pool, oldest first."""

    pool: str
    entries: tuple[QuarantineEntry, ...]
    next_offset: int | None = None


class QuarantineDetail(msgspec.Struct, frozen=True, kw_only=True):
    """One entry as it came."""

    entry: QuarantineEntry
    headers: dict[str, str]
    body: str


class Discarded(msgspec.Struct, frozen=True):
    """The entry is gone."""

    id: str


class AdminQuarantine:
    """``/admin/v1/quarantine``."""

    def __init__(self, desk: AdminDesk) -> None:
        self._desk = desk

    def endpoints(self) -> list[Endpoint]:
        """List the routes."""
        pool = {"pool": "which pool"}
        one = "/admin/v1/quarantine/{id}"
        return [
            Endpoint(
                method="GET",
                path="/admin/v1/quarantine",
                name="list_quarantine",
                summary="What was proven and not understood, oldest first",
                handler=self.list_,
                answers={200: QuarantinePage},
                query={**pool, "offset": "how many to leave out", "limit": f"how many at most, up to {PAGE}"},
            ),
            Endpoint(
                method="GET",
                path=one,
                name="show_quarantine",
                summary="One entry with headers and body",
                handler=self.show,
                scope=Scope.ADMIN,
                answers={200: QuarantineDetail},
                query=pool,
            ),
            Endpoint(
                method="POST",
                path=f"{one}/mend",
                name="mend_quarantine",
                summary="Send the corrected body: its channel reads it, it is accepted, and the entry goes",
                handler=self.mend,
                scope=Scope.ADMIN,
                takes=bytes,
                takes_media="*/*",
                answers={200: OrderReceipt},
                query=pool,
            ),
            Endpoint(
                method="POST",
                path=f"{one}/discard",
                name="discard_quarantine",
                summary="Drop one entry",
                handler=self.discard,
                scope=Scope.OPERATE,
                takes=Why,
                answers={200: Discarded},
                query=pool,
            ),
        ]

    async def list_(self, request: web.Request) -> web.Response:
        """Show one page."""
        name, pool = self._desk.pool(request)
        offset = number(request, "offset", 0, most=10**9)
        limit = number(request, "limit", 100, least=1, most=PAGE)
        kept = await pool.book.quarantined(offset=offset, limit=limit)
        more = offset + limit if len(kept) == limit else None
        entries = tuple(map(QuarantineEntry.of, kept))
        return encode(200, QuarantinePage(pool=name, entries=entries, next_offset=more))

    async def show(self, request: web.Request) -> web.Response:
        """Show one entry as it came."""
        _, _, kept = await self._kept(request)
        detail = QuarantineDetail(
            entry=QuarantineEntry.of(kept), headers=kept.headers, body=kept.body.decode(errors="replace")
        )
        return encode(200, detail)

    async def mend(self, request: web.Request) -> web.Response:
        """Accept the corrected body in the entry's place."""
        body = await self._desk.body(request)
        name, pool, kept = await self._kept(request)
        channel = self._desk.channel(kept.channel)
        decoded = channel.adapter.decode(kept.headers, body)
        if not isinstance(decoded, Incoming):
            reason = decoded.reason if isinstance(decoded, Unreadable) else _about(decoded)
            raise StillUnreadable(f"the corrected body is no order: {reason}")
        [accepted] = await channel.intake.admit([decoded])
        await pool.ledger.unquarantine(kept.id, by=self._desk.caller(request).name)
        await self._desk.changed(
            request, "quarantine.mended", kept.id, pool=name, before=kept.reason, after=str(accepted.state)
        )
        return encode(200, OrderReceipt.of(decoded, accepted))

    async def discard(self, request: web.Request) -> web.Response:
        """Drop one entry for good."""
        why = await self._desk.read(request, Why)
        name, pool, kept = await self._kept(request)
        await pool.ledger.unquarantine(kept.id, by=self._desk.caller(request).name)
        await self._desk.changed(
            request, "quarantine.discarded", kept.id, pool=name, before=kept.reason, after=why.reason
        )
        return encode(200, Discarded(kept.id))

    async def _kept(self, request: web.Request) -> tuple[str, PoolDoor, Quarantined]:
        name, pool = self._desk.pool(request)
        wanted = request.match_info["id"]
        for offset in range(0, MOST, PAGE):
            page = await pool.book.quarantined(offset=offset, limit=PAGE)
            for kept in page:
                if kept.id == wanted:
                    return name, pool, kept
            if len(page) < PAGE:
                break
        raise NotFound("there is no such entry")


def _about(decoded: Unrelated | Demand) -> str:
    return f"it is about {decoded.subject}" if isinstance(decoded, Unrelated) else "it is a demand: flashd forget"
