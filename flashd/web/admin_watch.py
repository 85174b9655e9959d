"""Watching: status, metrics, the feed, the audit, the effective configuration, and the index page."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import msgspec
from aiohttp import web

from flashd import __version__
from flashd.domain.event import Event
from flashd.errors import Transient
from flashd.ports import StoreHealth
from flashd.web.admin_backends import AdminBackends, BackendView
from flashd.web.admin_channels import AdminChannels, ChannelBrief
from flashd.web.admin_desk import AdminDesk
from flashd.web.admin_exposure import ExposureGauge
from flashd.web.endpoint import Endpoint, number
from flashd.web.health import Healthy
from flashd.web.problem import Malformed, encode
from flashd.web.sse import Streams, message, stream_id
from flashd.web.tokens import Scope

EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"
SCRAPE_S = 3.0

_INDEX = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>flashd</title></head><body>
<h1>flashd {version}</h1>
<p>The live page comes in a later version. Until then:</p>
<ul>
<li><a href="readyz?verbose">ready?</a>, <a href="healthz">health</a>, <a href="metrics">metrics</a></li>
<li><a href="admin/v1/status">status</a>, <a href="admin/v1/backends">backends</a>,
<a href="admin/v1/channels">channels</a>, <a href="openapi.json">all endpoints</a></li>
</ul></body></html>
"""


class PoolStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One pool in numbers; units are summed over all SKUs and locations."""

    orders: dict[str, int]
    skus: int
    on_hand: int
    held: int
    sold: int
    free: int
    deficit: int  # promised units that are not there, after a recount


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator asks first."""

    version: str
    ready: bool
    draining: bool
    store: StoreHealth
    pools: dict[str, PoolStatus]
    backends: tuple[BackendView, ...]
    channels: tuple[ChannelBrief, ...]  # those that are published to or polled
    more: dict[str, Any]  # what the daemon adds: uptime, sale ...


class EventPage(msgspec.Struct, frozen=True, kw_only=True):
    """Events of one pool; go on with ``after=<next>``."""

    pool: str
    events: tuple[dict[str, Any], ...]
    next: str


class AdminWatch:
    """What only looks."""

    def __init__(
        self, desk: AdminDesk, healthy: Healthy, backends: AdminBackends, channels: AdminChannels, streams: Streams
    ) -> None:
        self._desk = desk
        self._healthy = healthy
        self._backends = backends
        self._streams = streams
        self._channels = channels
        self._gauge = ExposureGauge(desk.doors)
        desk.doors.metrics.channels.flows = channels.flows

    def endpoints(self) -> list[Endpoint]:
        """List the routes."""
        pool = {"pool": "which pool"}
        return [
            Endpoint(
                method="GET",
                path="/",
                name="index",
                summary="Where to look",
                handler=self.index,
                scope=None,
                answers={200: str},
                media="text/html",
            ),
            Endpoint(
                method="GET",
                path="/metrics",
                name="metrics",
                summary="Prometheus text format",
                handler=self.metrics,
                answers={200: str},
                media="text/plain",
            ),
            Endpoint(
                method="GET",
                path="/events",
                name="follow_events",
                summary="The feed as server-sent events; resumes after Last-Event-ID",
                handler=self.follow,
                answers={200: str},
                media="text/event-stream",
                query={**pool, "after": "an event id, 0 or $", "topic": "only this topic; several times for several"},
            ),
            Endpoint(
                method="GET",
                path="/admin/v1/status",
                name="status",
                summary="Stock, backlog, backends, channels, health",
                handler=self.status,
                answers={200: Status},
            ),
            Endpoint(
                method="GET",
                path="/admin/v1/events",
                name="list_events",
                summary="A page of the feed",
                handler=self.events,
                answers={200: EventPage},
                query={**pool, "after": "an event id, or 0 for all that is kept", "limit": "how many at most"},
            ),
            Endpoint(
                method="POST",
                path="/admin/v1/audit",
                name="audit",
                summary="Fold the journal and compare; 409 where a promise does not hold",
                handler=self.audit,
                answers={200: dict[str, Any], 409: dict[str, Any]},
            ),
            Endpoint(
                method="GET",
                path="/admin/v1/config",
                name="config",
                summary="The effective configuration, secrets as ***",
                handler=self.config,
                scope=Scope.ADMIN,
                answers={200: dict[str, Any]},
            ),
        ]

    async def index(self, _: web.Request) -> web.Response:
        """Show a small page without a script."""
        return web.Response(text=_INDEX.format(version=__version__), content_type="text/html")

    async def metrics(self, _: web.Request) -> web.Response:
        """Refresh what is counted in the store, and write all of it; with the store away the rest still comes."""
        doors, now_ms = self._desk.doors, self._desk.doors.clock.now_ms()
        metrics = doors.metrics
        metrics.durability_ok.set(doors.store_health().ok)
        for snapshot in doors.backends.values():
            metrics.backend_seen(snapshot(), now_ms=now_ms)
        for name, pool in doors.pools.items():
            metrics.forgotten_seen(name, pool.forgotten())
        if doors.store_health().ok:
            try:
                async with asyncio.timeout(SCRAPE_S):
                    for name, pool in doors.pools.items():
                        metrics.orders_seen(name, await pool.book.counts())
                    await self._gauge.refresh()
            except (TimeoutError, Transient):
                metrics.durability_ok.set(0)
        return web.Response(body=metrics.text(), headers={"Content-Type": EXPOSITION})

    async def follow(self, request: web.Request) -> web.StreamResponse:
        """Send the feed of one pool."""
        _, pool = self._desk.pool(request)
        return await self._streams.serve(request, pool.feed)

    async def status(self, _: web.Request) -> web.Response:
        """Say what an operator asks first."""
        doors = self._desk.doors
        pools: dict[str, PoolStatus] = {}
        queued: Counter[str] = Counter()  # by backend, over all pools
        for name, pool in doors.pools.items():
            levels = await pool.ledger.levels()
            headcount = await pool.book.headcount()
            queued.update(headcount.queued)
            pools[name] = PoolStatus(
                orders=headcount.orders,
                skus=len({level.sku for level in levels}),
                on_hand=sum(level.on_hand for level in levels),
                held=sum(level.held for level in levels),
                sold=sum(level.sold for level in levels),
                free=sum(level.free for level in levels),
                deficit=sum(max(0, -level.atp) for level in levels),
            )
        ready, _checks = self._healthy.readiness()
        status = Status(
            version=__version__,
            ready=ready,
            draining=doors.draining.is_set(),
            store=doors.store_health(),
            pools=pools,
            backends=await self._backends.views(queued),
            channels=await self._channels.briefs(),
            more=dict(await doors.status()),
        )
        return encode(200, status)

    async def events(self, request: web.Request) -> web.Response:
        """Show a page of the feed."""
        name, pool = self._desk.pool(request)
        after = stream_id(request.query.get("after", "0"))
        if after == "$":
            raise Malformed("a page begins after an event id, or after 0")
        entries = await pool.feed.read(after, limit=number(request, "limit", 100, least=1, most=1000))
        last = next((entry.id for entry in reversed(entries) if isinstance(entry, Event)), after)
        return encode(200, EventPage(pool=name, events=tuple(map(message, entries)), next=last))

    async def audit(self, _: web.Request) -> web.Response:
        """Run the audit; its answer is 409 unless it says ok."""
        found = await self._desk.doors.audit()
        return encode(200 if found.get("ok") else 409, dict(found))

    async def config(self, _: web.Request) -> web.Response:
        """Show what is in force."""
        return encode(200, dict(self._desk.doors.config()))
