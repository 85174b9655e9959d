"""Backends, as an operator steers them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from flashd.domain.flow import BackendSnapshot
from flashd.domain.rate import Rate
from flashd.errors import NotFound
from flashd.ports import BackendGate, GateStatus
from flashd.web.admin_desk import AdminDesk
from flashd.web.endpoint import Endpoint
from flashd.web.problem import Malformed, encode
from flashd.web.tokens import Scope
from flashd.web.view import Reason


class Pause(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Why, and for how long; without *for_s* until it is resumed."""

    reason: Reason
    for_s: Annotated[float, Meta(gt=0, le=604_800)] | None = None

    def until_ms(self, now_ms: int) -> int:
        """Return when it ends by itself; 0: never."""
        return 0 if self.for_s is None else now_ms + round(self.for_s * 1000)


class NewRate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rate such as 5/s or 120/min; "" takes the override away."""

    rate: str


class AskFirst(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why the backend is asked for each order before that is sent; "" ends it."""

    reason: Annotated[str, Meta(max_length=200)]


class BackendView(msgspec.Struct, frozen=True, kw_only=True):
    """How one backend does, and what all processes agreed on about it."""

    name: str
    flow: BackendSnapshot
    gate: GateStatus
    drain_eta_s: float | None


class BackendList(msgspec.Struct, frozen=True):
    """All backends."""

    backends: tuple[BackendView, ...]


class AdminBackends:
    """``/admin/v1/backends``."""

    def __init__(self, desk: AdminDesk) -> None:
        self._desk = desk

    def endpoints(self) -> list[Endpoint]:
        """List the routes."""
        one = "/admin/v1/backends/{name}"

        def verb(word: str, summary: str, takes: type | None) -> Endpoint:
            return Endpoint(
                method="POST",
                path=f"{one}/{word}",
                name=f"{word}_backend",
                summary=summary,
                handler=getattr(self, word),
                scope=Scope.OPERATE,
                takes=takes,
                answers={200: BackendView},
            )

        return [
            Endpoint(
                method="GET",
                path="/admin/v1/backends",
                name="list_backends",
                summary="All backends: queue, rate, pause, ETA",
                handler=self.list_,
                answers={200: BackendList},
            ),
            Endpoint(
                method="GET",
                path=one,
                name="show_backend",
                summary="One backend",
                handler=self.show,
                answers={200: BackendView},
            ),
            verb("pause", "Let nothing out", Pause),
            verb("resume", "Let it flow again", None),
            verb("rate", "Override the configured rate for all processes", NewRate),
            Endpoint(
                method="POST",
                path=f"{one}/ask-first",
                name="ask_backend_first",
                summary="Look every order up before it is sent: the store may have forgotten that it was",
                handler=self.ask_first,
                scope=Scope.OPERATE,
                takes=AskFirst,
                answers={200: BackendView},
            ),
        ]

    async def list_(self, _: web.Request) -> web.Response:
        """Show all."""
        return encode(200, BackendList(await self.views()))

    async def views(self, queued: Mapping[str, int] | None = None) -> tuple[BackendView, ...]:
        """
        Return how all backends do.

        Args:
            queued: Their queues, where these were counted with other figures that they are to fit; each actor's last
                look is up to some seconds older.
        """
        return tuple([await self._view(name, queued) for name in sorted(self._desk.doors.backends)])

    async def show(self, request: web.Request) -> web.Response:
        """Show one."""
        name, _ = self._gate(request)
        return encode(200, await self._view(name))

    async def pause(self, request: web.Request) -> web.Response:
        """Let nothing out; the backlog stays."""
        wish = await self._desk.read(request, Pause)
        name, gate = self._gate(request)
        until_ms = wish.until_ms(self._desk.doors.clock.now_ms())
        before = await gate.status()
        await gate.pause(until_ms=until_ms, reason=wish.reason, by=self._desk.caller(request).name)
        return await self._changed(request, "backend.paused", name, gate, before)

    async def resume(self, request: web.Request) -> web.Response:
        """Let it flow again."""
        name, gate = self._gate(request)
        before = await gate.status()
        await gate.resume(by=self._desk.caller(request).name)
        return await self._changed(request, "backend.resumed", name, gate, before)

    async def rate(self, request: web.Request) -> web.Response:
        """Override the rate, or take the override away."""
        wish = await self._desk.read(request, NewRate)
        name, gate = self._gate(request)
        if wish.rate:
            try:
                Rate.parse(wish.rate)
            except ValueError as error:
                raise Malformed(str(error)) from error
        before = await gate.status()
        await gate.set_rate(wish.rate, by=self._desk.caller(request).name)
        return await self._changed(request, "backend.rate_set", name, gate, before)

    async def ask_first(self, request: web.Request) -> web.Response:
        """Have it asked before anything is sent, or no longer."""
        wish = await self._desk.read(request, AskFirst)
        name, gate = self._gate(request)
        before = await gate.status()
        await gate.ask_first(wish.reason, by=self._desk.caller(request).name)
        return await self._changed(request, "backend.asked_first", name, gate, before)

    def _gate(self, request: web.Request) -> tuple[str, BackendGate]:
        name = request.match_info["name"]
        doors = self._desk.doors
        if name not in doors.gates or name not in doors.backends:
            raise NotFound(f"there is no backend {name!r}")
        return name, doors.gates[name]

    async def _view(self, name: str, queued: Mapping[str, int] | None = None) -> BackendView:
        flow = self._desk.doors.backends[name]()
        if queued is not None:
            flow = msgspec.structs.replace(flow, queued=queued.get(name, 0))
        gate = await self._desk.doors.gates[name].status()
        return BackendView(name=name, flow=flow, gate=gate, drain_eta_s=await self._desk.doors.eta_s(name, flow.queued))

    async def _changed(
        self, request: web.Request, what: str, name: str, gate: BackendGate, before: GateStatus
    ) -> web.Response:
        await self._desk.changed(request, what, name, before=before, after=await gate.status())
        return encode(200, await self._view(name))
