"""Sales channels, as an operator sees and steers them: how publishing and polling go, and their pause."""

from __future__ import annotations

import msgspec
from aiohttp import web

from flashd.domain.flow import ChannelFlow, PollFlow
from flashd.errors import Conflict
from flashd.ports import GateStatus
from flashd.web.admin_backends import Pause
from flashd.web.admin_desk import AdminDesk
from flashd.web.channel_metrics import Flows
from flashd.web.doors import ChannelDoor, OutletDoor
from flashd.web.endpoint import Endpoint
from flashd.web.problem import encode
from flashd.web.tokens import Scope
from flashd.web.view import at


class ChannelView(msgspec.Struct, frozen=True, kw_only=True):
    """One sales channel: its way in, and how publishing to it and polling of it go in the process that answers."""

    name: str
    kind: str
    pool: str
    webhook: str
    mode: str  # none, mirror or escrow
    since: str  # the cut-over, "" where none is configured
    last_event_at: str  # the last proven webhook, "" for none since the start
    webhooks: str  # "alive", why they are taken for dead, or "" where nobody asks
    mapped: int  # SKUs in its map
    unmapped: int  # SKUs that the pool sells and the map lacks
    paused: bool  # by a human
    flow: ChannelFlow | None = None  # None: flashd calls no API of it
    polling: PollFlow | None = None
    gate: GateStatus | None = None


class ChannelBrief(msgspec.Struct, frozen=True, kw_only=True):
    """How one channel does, in a line; what only the leader knows is None elsewhere."""

    name: str
    mode: str
    paused: bool
    away: bool
    leading: bool
    leader: str
    lag_p99_s: float | None  # from a change of stock to the platform, lately
    dirty: int | None
    in_doubt: int | None
    webhooks: str
    last_error: str


class ChannelList(msgspec.Struct, frozen=True):
    """All sales channels."""

    channels: tuple[ChannelView, ...]


def webhooks_of(polling: PollFlow | None) -> str:
    """Say whether the webhooks come, as far as polls know it."""
    return "" if polling is None or not polling.polls else polling.silent or "alive"


class AdminChannels:
    """``/admin/v1/channels``."""

    def __init__(self, desk: AdminDesk) -> None:
        self._desk = desk

    def endpoints(self) -> list[Endpoint]:
        """List the routes."""
        one = "/admin/v1/channels/{name}"

        def verb(word: str, summary: str, takes: type | None) -> Endpoint:
            return Endpoint(
                method="POST",
                path=f"{one}/{word}",
                name=f"{word}_channel",
                summary=summary,
                handler=getattr(self, word),
                scope=Scope.OPERATE,
                takes=takes,
                answers={200: ChannelView},
            )

        return [
            Endpoint(
                method="GET",
                path="/admin/v1/channels",
                name="list_channels",
                summary="All sales channels: mode, map, publishing, polling, webhooks",
                handler=self.list_,
                answers={200: ChannelList},
            ),
            Endpoint(
                method="GET",
                path=one,
                name="show_channel",
                summary="One sales channel",
                handler=self.show,
                answers={200: ChannelView},
            ),
            verb("pause", "Send its platform nothing, neither figures nor polls; webhooks still come in", Pause),
            verb("resume", "Publish to it and poll it again", None),
        ]

    async def list_(self, _: web.Request) -> web.Response:
        """Show all."""
        return encode(200, ChannelList(await self.views()))

    async def views(self) -> tuple[ChannelView, ...]:
        """Return how all channels do."""
        doors = self._desk.doors.channels
        sold = {pool: await self._sold(pool) for pool in {door.pool for door in doors.values()}}
        return tuple([await self._view(doors[name], sold[doors[name].pool]) for name in sorted(doors)])

    def flows(self) -> Flows:
        """Return how publishing to all channels, and polling of them, goes; costs no I/O."""
        doors = sorted(self._desk.doors.channels.values(), key=lambda door: door.name)
        outlets = ((door.name, door.outlet()) for door in doors)
        return {name: (outlet.flow(), outlet.polling()) for name, outlet in outlets if outlet is not None}

    async def briefs(self) -> tuple[ChannelBrief, ...]:
        """Return how all channels do that are published to or polled."""
        doors = sorted(self._desk.doors.channels.values(), key=lambda door: door.name)
        outlets = [(door, door.outlet()) for door in doors]
        return tuple([await _brief(door, outlet) for door, outlet in outlets if outlet is not None])

    async def show(self, request: web.Request) -> web.Response:
        """Show one."""
        door = self._desk.channel(request.match_info["name"])
        return encode(200, await self._view(door, await self._sold(door.pool)))

    async def pause(self, request: web.Request) -> web.Response:
        """Let no request out to the platform: what changes meanwhile stays dirty, and is published afterwards."""
        wish = await self._desk.read(request, Pause)
        door, outlet = self._outlet(request)
        until_ms = wish.until_ms(self._desk.doors.clock.now_ms())
        before = await outlet.gate.status()
        await outlet.gate.pause(until_ms=until_ms, reason=wish.reason, by=self._desk.caller(request).name)
        return await self._changed(request, "channel.paused", door, outlet, before)

    async def resume(self, request: web.Request) -> web.Response:
        """Let requests out again."""
        door, outlet = self._outlet(request)
        before = await outlet.gate.status()
        await outlet.gate.resume(by=self._desk.caller(request).name)
        outlet.wake()
        return await self._changed(request, "channel.resumed", door, outlet, before)

    def _outlet(self, request: web.Request) -> tuple[ChannelDoor, OutletDoor]:
        door = self._desk.channel(request.match_info["name"])
        outlet = door.outlet()
        if outlet is None:
            raise Conflict(f"flashd calls no API of {door.name}, so there is nothing to pause")
        return door, outlet

    async def _sold(self, name: str) -> set[str]:
        """Return all that a pool sells."""
        pool = self._desk.doors.pools[name]
        return {level.sku for level in await pool.ledger.levels()} | set(await pool.listings.kits())

    async def _view(self, door: ChannelDoor, sold: set[str]) -> ChannelView:
        outlet, pool = door.outlet(), self._desk.doors.pools[door.pool]
        entries = await pool.listings.entries(door.name)
        gate = await outlet.gate.status() if outlet is not None else None
        polling = outlet.polling() if outlet is not None else None
        return ChannelView(
            name=door.name,
            kind=door.kind,
            pool=door.pool,
            webhook=f"/webhooks/{door.name}",
            mode=door.terms().mode,
            since=at(door.since_ms()),
            last_event_at=at(door.last_event_ms()),
            webhooks=webhooks_of(polling),
            mapped=len(entries),
            unmapped=len(sold - entries.keys()) if outlet is not None else 0,
            paused=gate is not None and gate.paused,
            flow=outlet.flow() if outlet is not None else None,
            polling=polling,
            gate=gate,
        )

    async def _changed(
        self, request: web.Request, what: str, door: ChannelDoor, outlet: OutletDoor, before: GateStatus
    ) -> web.Response:
        after = await outlet.gate.status()
        await self._desk.changed(request, what, door.name, pool=door.pool, before=before, after=after)
        return encode(200, await self._view(door, await self._sold(door.pool)))


async def _brief(door: ChannelDoor, outlet: OutletDoor) -> ChannelBrief:
    flow, gate = outlet.flow(), await outlet.gate.status()
    return ChannelBrief(
        name=door.name,
        mode=door.terms().mode,
        paused=gate.paused,
        away=flow.away,
        leading=flow.leading,
        leader=gate.leader,
        lag_p99_s=flow.lag.p99_s if flow.leading and flow.lag.count else None,
        dirty=flow.dirty if flow.leading else None,
        in_doubt=flow.in_doubt if flow.leading else None,
        webhooks=webhooks_of(outlet.polling()),
        last_error=gate.reason or flow.last_error,
    )
